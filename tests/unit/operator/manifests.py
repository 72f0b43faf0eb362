"""Small manifests whose meaning shows in one number."""

from __future__ import annotations

from mizzen.model.kube import Service
from mizzen.names import DEFAULT_REGISTRY, ObjectKey

BROKEN = "kind: [Service\n"
"""A document that is not YAML."""


def service(name: str, port: int = 80, namespace: str = "shop") -> str:
    """Return the manifest of a Service with one port."""
    return (
        "apiVersion: v1\n"
        "kind: Service\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{clusterIP: 10.0.0.1, ports: [{{name: http, port: {port}}}]}}\n"
    )


def invalid_service(name: str) -> str:
    """Return a Service whose port is out of range: readable, but not to be taken into force."""
    return service(name, port=99_999)


def documents(*texts: str) -> str:
    """Return one file of several documents."""
    return "---\n".join(texts)


def service_key(name: str, namespace: str = "shop") -> ObjectKey:
    """Return the key of a Service."""
    return ObjectKey(DEFAULT_REGISTRY, "Service", namespace, name)


def port_of(item: object) -> int | None:
    """Return the one port of a Service, ``None`` of nothing."""
    if item is None:
        return None
    assert isinstance(item, Service)
    return item.ports[0].number

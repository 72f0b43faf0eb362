"""Writes the shop for a cluster, ``samples/kubernetes/shop.yaml``, from the pods that the demo runs (``make samples``).

A cluster finds addresses and endpoints itself, so pods become Deployments and lose what they have of both; the
program comes in a ConfigMap. Gateways are what injection makes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

Manifest = dict[str, Any]

FILE: Final = ROOT / "samples" / "kubernetes" / "shop.yaml"
_SHOP: Final = ROOT / "samples" / "shop"
_FILES_OF_A_CLUSTER: Final = ("EndpointSlice", "Node")
_PROGRAM: Final = ("shop.py", "rpc.py", "talk.py", "courier.pem", "keys.jwks")
_HEAD: Final = """\
# The shop of samples/shop/ on a cluster. It is written by `make samples` from samples/shop/workloads and
# samples/shop/app: edit those.
"""


def shop() -> str:
    """Return the manifests of the shop for a cluster."""
    documents = list(_documents())
    made = [
        _namespaced(one) for one in documents if one["kind"] not in (*_FILES_OF_A_CLUSTER, "Pod")
    ]
    pods = [one for one in documents if one["kind"] == "Pod"]
    spaces = sorted({pod["metadata"]["namespace"] for pod in pods if not _is_router(pod)})
    made += [_program(namespace) for namespace in spaces]
    made += _deployments(pods)
    made.sort(key=lambda one: one["kind"] != "Namespace")
    return _HEAD + yaml.dump_all(
        made, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True
    )


def _documents() -> Iterator[Manifest]:
    for file in sorted((_SHOP / "workloads").glob("*.yaml")):
        yield from yaml.safe_load_all(file.read_text(encoding="utf-8"))


def _namespaced(document: Manifest) -> Manifest:
    """Return an object without what a cluster decides itself."""
    if document["kind"] == "Service":
        spec = {
            key: value
            for key, value in document["spec"].items()
            if key not in ("clusterIP", "clusterIPs") or value == "None"
        }
        return document | {"spec": spec}
    return document


def _program(namespace: str) -> Manifest:
    files = {name: (_SHOP / "app" / name).read_text(encoding="utf-8") for name in _PROGRAM}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "shop", "namespace": namespace},
        "data": files,
    }


def _deployments(pods: list[Manifest]) -> list[Manifest]:
    """Return a Deployment for each app and version, of as many pods as there are."""
    found: dict[tuple[str, str, str], list[Manifest]] = {}
    for pod in pods:
        labels = pod["metadata"]["labels"]
        of = (pod["metadata"]["namespace"], labels["app"], labels.get("version", ""))
        found.setdefault(of, []).append(pod)
    return [
        _deployment(namespace, f"{app}-{version}" if version else app, same)
        for (namespace, app, version), same in found.items()
    ]


def _deployment(namespace: str, name: str, pods: list[Manifest]) -> Manifest:
    labels = dict(pods[0]["metadata"]["labels"])
    labels.pop("security.istio.io/tlsMode", None)  # injection writes it
    metadata: Manifest = {"labels": labels}
    annotations = dict(pods[0]["metadata"].get("annotations", {}))
    if _is_router(pods[0]):
        annotations["inject.istio.io/templates"] = "gateway"
        labels["sidecar.istio.io/inject"] = "true"
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": len(pods),
            "selector": {"matchLabels": _selected(labels)},
            "template": {"metadata": metadata, "spec": _pod_spec(pods[0])},
        },
    }


def _selected(labels: dict[str, str]) -> dict[str, str]:
    return {key: labels[key] for key in ("app", "version") if key in labels}


def _pod_spec(pod: Manifest) -> Manifest:
    spec = pod["spec"]
    container = dict(spec["containers"][0])
    account = {"serviceAccountName": spec["serviceAccountName"]}
    if _is_router(pod):
        container = {"name": "istio-proxy", "image": "auto", "ports": container["ports"]}
        return account | {"containers": [container]}
    container["volumeMounts"] = [{"name": "app", "mountPath": "/app"}]
    container["readinessProbe"] = {"tcpSocket": {"port": 9080}}
    volume = {"name": "app", "configMap": {"name": "shop"}}
    return account | {"containers": [container], "volumes": [volume]}


def _is_router(pod: Manifest) -> bool:
    return "router" in pod["spec"]["containers"][0].get("args", ())


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are, and repeats what is the same."""

    def ignore_aliases(self, data: object) -> bool:  # of PyYAML
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def main() -> None:
    """Write it anew."""
    FILE.write_text(shop(), encoding="utf-8")


if __name__ == "__main__":
    main()

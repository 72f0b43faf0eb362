"""From a Sidecar's manifest to the value that the compiler reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api import sidecar_checks
from mizzen.api.destination_rule_values import connection_pool
from mizzen.api.gateway_values import server_tls
from mizzen.api.protocols import parse_protocol
from mizzen.api.reading import Reading, read
from mizzen.api.sidecar import (
    EgressListener,
    IngressListener,
    OutboundTrafficPolicy,
    SidecarManifest,
)
from mizzen.model.meta import NO_LABELS, Meta, labels
from mizzen.model.sidecar import (
    EVERY_ADDRESS,
    Egress,
    EgressProxy,
    Import,
    Ingress,
    OutboundPolicy,
    Sidecar,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.names import ObjectKey

_UNIX: Final = "unix://"
_ANY_ADDRESS: Final = (EVERY_ADDRESS, "::")


def read_sidecar(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Sidecar that a manifest means."""
    return read(raw, key, SidecarManifest, _convert, sidecar_checks.check)


def _convert(manifest: SidecarManifest, meta: Meta) -> Sidecar:
    spec = manifest.spec
    selector = spec.workload_selector
    return Sidecar(
        meta=meta,
        selector=labels(selector.labels) if selector is not None else NO_LABELS,
        egress=tuple(_egress(entry, meta.namespace) for entry in spec.egress),
        ingress=tuple(_ingress(entry) for entry in spec.ingress),
        inbound_pool=connection_pool(spec.inbound_connection_pool),
        outbound=_outbound(spec.outbound_traffic_policy),
    )


def _egress(entry: EgressListener, own: str) -> Egress:
    port = entry.port.number if entry.port is not None else None
    found = (_import(host, own) for host in entry.hosts)
    return Egress(
        port=port,
        hosts=tuple(one for one in found if one is not None),
        bind=entry.bind,
        captured=entry.capture_mode != "NONE",
    )


def _import(text: str, own: str) -> Import | None:
    """Return an entry of ``hosts``; None for ``~/*``, which is nothing at all."""
    namespace, _, host = text.partition("/")
    if namespace == "~":
        return None
    bare = namespace.removeprefix("~")
    return Import(own if bare == "." else bare, host.lower(), excluded=bare != namespace)


def _ingress(entry: IngressListener) -> Ingress:
    endpoint, own_port = _endpoint(entry.default_endpoint)
    return Ingress(
        port=entry.port.number,
        protocol=parse_protocol(entry.port.protocol),
        endpoint=endpoint,
        own_port=own_port,
        connection_pool=connection_pool(entry.connection_pool),
        tls=server_tls(entry.tls) if entry.tls is not None else None,
        bind=(entry.bind or EVERY_ADDRESS) if entry.capture_mode == "NONE" else "",
        free_bind=_free_bind(entry),
    )


def _free_bind(entry: IngressListener) -> str:
    """Return where the proxy listens in pods of which nothing is captured; empty where it must not."""
    return (entry.bind or EVERY_ADDRESS) if sidecar_checks.may_be_bound(entry) else ""


def _endpoint(text: str) -> tuple[str, int | None]:
    """Return an endpoint to connect to, or the port of the address that the client was going to."""
    if not text or text.startswith(_UNIX):
        return text, None
    host, _, port = text.rpartition(":")
    if host.strip("[]") in _ANY_ADDRESS:
        return "", int(port)
    return (text if host else f"127.0.0.1:{port}"), None


def _outbound(policy: OutboundTrafficPolicy | None) -> OutboundPolicy | None:
    if policy is None:
        return None
    proxy = policy.egress_proxy
    return OutboundPolicy(
        registry_only=policy.mode == "REGISTRY_ONLY",
        egress_proxy=EgressProxy(
            host=proxy.host.lower(), subset=proxy.subset, port=proxy.port.number
        )
        if proxy is not None and proxy.port is not None
        else None,
    )

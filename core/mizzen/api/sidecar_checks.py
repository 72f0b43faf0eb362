"""What a schema cannot say of a Sidecar (Istio: ``ValidateSidecar``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from mizzen.api.destination_rule_checks import check_connection_pool
from mizzen.api.findings import (
    Finding,
    Path,
    at,
    conflict,
    fatal,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.hosts import (
    check_selector,
    is_address,
    is_label,
    is_name,
    is_partial_wildcard,
    is_wildcard_name,
)
from mizzen.api.http_checks import check_destination
from mizzen.api.meta import DEFAULT_NAMESPACE
from mizzen.api.protocols import PROTOCOL_NAMES, is_protocol, parse_protocol
from mizzen.model.kube import Protocol

if TYPE_CHECKING:
    from mizzen.api.gateway import ServerTlsSettings
    from mizzen.api.http_action import Destination
    from mizzen.api.sidecar import (
        EgressListener,
        IngressListener,
        SidecarManifest,
        SidecarPort,
        SidecarSpec,
    )

_UNIX: Final = "unix://"
_EVERY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound here
_LOCAL: Final = ("", "127.0.0.1", "::1", *_EVERY_ADDRESS)
_HIGHEST_PORT: Final = 65_535
_LONGEST_PATH: Final = 107  # sockaddr_un (man7.org: unix(7)); the last byte ends it
_ANY: Final = "*"
_NAMESPACES: Final = (_ANY, ".", "~")
_TLS_FIELDS: Final = {
    "https_redirect": "httpsRedirect",
    "credential_name": "credentialName",
    "credential_names": "credentialNames",
    "tls_certificates": "tlsCertificates",
    "subject_alt_names": "subjectAltNames",
}


def check(manifest: SidecarManifest) -> Iterator[Finding]:
    """Check a Sidecar."""
    own = manifest.metadata.namespace or DEFAULT_NAMESPACE
    yield from at(("spec",), _spec(manifest.spec))
    for index, egress in enumerate(manifest.spec.egress):
        yield from at(("spec", "egress", index, "hosts"), _repeated(egress.hosts, own))


def _repeated(hosts: Sequence[str], own: str) -> Iterator[Finding]:
    """Yield the hosts that another one before or beside them imports already."""
    seen: set[tuple[str, str]] = set()
    for index, text in enumerate(hosts):
        namespace, _, host = text.partition("/")
        namespace = own if namespace == "." else namespace
        covers = {(namespace, host), (namespace, _ANY), (_ANY, _ANY)} & seen
        if covers and not namespace.startswith("~"):
            yield without_effect((index,), f"{text!r} is imported already", "Remove it.")
        seen.add((namespace, host))


def _spec(spec: SidecarSpec) -> Iterator[Finding]:
    if spec.workload_selector is not None:
        yield from check_selector(("workloadSelector", "labels"), spec.workload_selector.labels)
    policy = spec.outbound_traffic_policy
    if not (spec.egress or spec.ingress or policy or spec.inbound_connection_pool):
        yield missing((), "a Sidecar needs egress, ingress or outboundTrafficPolicy")
    if spec.inbound_connection_pool is not None:
        pool = spec.inbound_connection_pool
        yield from at(("inboundConnectionPool",), check_connection_pool(pool))
    yield from _ingress_ports(spec)
    for index, ingress in enumerate(spec.ingress):
        yield from at(("ingress", index), _ingress(ingress))
    yield from _egress_ports(spec)
    for index, egress in enumerate(spec.egress):
        yield from at(("egress", index), _egress(egress))
    if policy is not None and policy.egress_proxy is not None:
        if policy.mode == "REGISTRY_ONLY":
            path = ("outboundTrafficPolicy", "egressProxy")
            yield conflict(path, "egressProxy goes with mode ALLOW_ANY only")
        path = ("outboundTrafficPolicy", "egressProxy")
        yield from at(path, _egress_proxy(policy.egress_proxy))


def _egress_proxy(proxy: Destination) -> Iterator[Finding]:
    if not is_name(proxy.host) or "." not in proxy.host:
        yield invalid(("host",), f"{proxy.host!r} is not a full DNS name")
    else:
        yield from check_destination(proxy)
    if proxy.port is None:
        yield missing(("port",), "egressProxy needs its port")


def _ingress_ports(spec: SidecarSpec) -> Iterator[Finding]:
    seen: set[int] = set()
    for index, ingress in enumerate(spec.ingress):
        number = ingress.port.number
        if number in seen:
            yield invalid(("ingress", index, "port"), f"port {number} stands in the list twice")
        seen.add(number)


def _egress_ports(spec: SidecarSpec) -> Iterator[Finding]:
    seen: set[int | str] = set()
    for index, egress in enumerate(spec.egress):
        if egress.port is None:
            if index < len(spec.egress) - 1:
                message = "the entry without port is for all others and has to be the last"
                yield conflict(("egress", index), message, "Move it to the end; there is only one.")
            continue
        place = egress.port.number or egress.bind
        if place in seen:
            yield invalid(("egress", index, "port"), f"{place} stands in the list twice")
        seen.add(place)


def _port(port: SidecarPort) -> Iterator[Finding]:
    if port.target_port:
        yield invalid(("targetPort",), "targetPort has no meaning in a Sidecar", "Remove it.")
    if port.name and not is_label(port.name):
        yield invalid(("name",), f"{port.name!r} is not a port's name")
    if port.protocol and not is_protocol(port.protocol):
        names = ", ".join(PROTOCOL_NAMES)
        yield invalid(("protocol",), f"{port.protocol!r} is not a protocol", f"Use one of {names}.")


def _ingress(ingress: IngressListener) -> Iterator[Finding]:
    yield from at(("port",), _port(ingress.port))
    if not ingress.port.number:
        yield missing(("port", "number"), "a port needs its number")
    if ingress.bind and not is_address(ingress.bind):
        yield invalid(("bind",), f"{ingress.bind!r} is not an IP address")
    if ingress.bind and ingress.capture_mode != "NONE" and not may_be_bound(ingress):
        remedy = "Leave it out, or write captureMode: NONE."
        yield without_effect(
            ("bind",), "captured connections come to the address they went to", remedy
        )
    if ingress.capture_mode == "NONE":
        yield from _bound_endpoint(ingress)
    if ingress.default_endpoint:
        yield from _endpoint(("defaultEndpoint",), ingress.default_endpoint)
    if ingress.tls is not None:
        yield from at(("tls",), _tls(ingress.tls, ingress.port))
    if ingress.connection_pool is not None:
        yield from at(("connectionPool",), check_connection_pool(ingress.connection_pool))
        protocol = parse_protocol(ingress.port.protocol)
        if ingress.connection_pool.http is not None and not protocol.is_http:
            written = ingress.port.protocol or "not declared"
            message = f"limits of HTTP are for ports of HTTP; the protocol of this one is {written}"
            yield without_effect(("connectionPool", "http"), message)


def may_be_bound(ingress: IngressListener) -> bool:
    """Tell whether a port is served by a listener of its own in pods of which nothing is captured."""
    return ingress.capture_mode == "DEFAULT" and not fatal(_bound_endpoint(ingress))


def _bound_endpoint(ingress: IngressListener) -> Iterator[Finding]:
    """Yield what keeps a port from being served by a listener of its own: it would call itself."""
    host, _, port = ingress.default_endpoint.rpartition(":")
    path, remedy = ("defaultEndpoint",), "Write where the application listens, 127.0.0.1:8080."
    if not ingress.default_endpoint:
        yield missing(path, "captureMode NONE needs to be told where the application is", remedy)
    elif port == str(ingress.port.number) and ingress.bind in (
        "",
        host or "127.0.0.1",
    ):
        yield conflict(path, "connections would come back to the proxy for ever", remedy)
    elif host.strip("[]") in _EVERY_ADDRESS:
        yield conflict(
            path, "the workload's own address is told of captured connections only", remedy
        )


def _endpoint(path: Path, text: str) -> Iterator[Finding]:
    if text.startswith(_UNIX):
        if not text.startswith(f"{_UNIX}/"):
            yield invalid(path, f"{text!r} is not an absolute path")
        elif len(text.removeprefix(_UNIX).encode()) > _LONGEST_PATH or "\0" in text:
            yield invalid(path, f"a socket's path has at most {_LONGEST_PATH} bytes, and no zeros")
        return
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    sound = bare in _LOCAL and (":" not in bare or bare != host)
    if not colon or not sound:
        forms = "127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port or unix:///path"
        yield invalid(path, f"{text!r} is not one of {forms}")
    elif not (port.isdecimal() and 1 <= int(port) <= _HIGHEST_PORT):
        yield invalid(path, f"{port!r} is not a port's number")


def _tls(tls: ServerTlsSettings, port: SidecarPort) -> Iterator[Finding]:
    for name, field in _TLS_FIELDS.items():
        if getattr(tls, name):
            yield invalid((field,), f"{field} is not for a Sidecar's ports")
    if tls.mode in ("ISTIO_MUTUAL", "AUTO_PASSTHROUGH"):
        yield invalid(("mode",), f"{tls.mode} is not for a Sidecar's ports")
    if tls.mode in ("SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL") and not tls.credential_name:
        yield from _files(tls)
    if parse_protocol(port.protocol) not in (Protocol.HTTPS, Protocol.TLS):
        yield conflict((), "tls goes with a port of protocol HTTPS or TLS")


def _files(tls: ServerTlsSettings) -> Iterator[Finding]:
    if not tls.server_certificate:
        yield missing(("serverCertificate",), "TLS ends with a certificate from a file")
    if not tls.private_key:
        yield missing(("privateKey",), "a certificate needs its key")
    if tls.mode != "SIMPLE" and not tls.ca_certificates:
        yield missing(("caCertificates",), f"{tls.mode} needs the roots of clients")


def _egress(egress: EgressListener) -> Iterator[Finding]:
    if egress.port is not None:
        yield from at(("port",), _port(egress.port))
        yield from _egress_bind(egress, egress.port)
    for index, host in enumerate(egress.hosts):
        yield from _host(("hosts", index), host)


def _egress_bind(egress: EgressListener, port: SidecarPort) -> Iterator[Finding]:
    if port.number:
        if egress.bind and not is_address(egress.bind):
            yield invalid(("bind",), f"{egress.bind!r} is not an IP address")
        return
    if not egress.bind.startswith(f"{_UNIX}/"):
        yield missing(("port", "number"), "a port without number goes with a unix:/// bind")
    elif egress.capture_mode == "IPTABLES":
        yield conflict(("captureMode",), "connections to a unix socket are not captured")


def _host(path: Path, text: str) -> Iterator[Finding]:
    namespace, slash, host = text.partition("/")
    if not slash:
        remedy = f"Write ./{text}, */{text} or namespace/{text}."
        yield invalid(path, f"{text!r} is not of the form namespace/host", remedy)
        return
    bare = namespace.removeprefix("~") or namespace
    if bare not in _NAMESPACES and not is_label(bare):
        yield invalid(path, f"{namespace!r} is not a namespace, '*', '.' or '~'")
    if host != "*" and "." not in host:
        message = f"{host!r} is a short name; hosts are written in full here"
        yield invalid(path, message, f"Write {host}.<namespace>.svc.cluster.local.")
    elif not is_wildcard_name(host) or is_partial_wildcard(host):
        yield invalid(path, f"{host!r} is not a DNS name or a wildcard such as *.example.com")

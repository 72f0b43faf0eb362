"""Which protocol a port speaks, by what is written (Istio: protocol selection, ``ConvertProtocol``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mizzen.api.findings import Finding, Path
from mizzen.diagnostics import SERVER_FIRST
from mizzen.model.kube import Protocol

_BY_NAME: Final = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC_WEB,
    "https": Protocol.HTTPS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
    "mongo": Protocol.MONGO,
    "redis": Protocol.REDIS,
    "mysql": Protocol.MYSQL,
    "udp": Protocol.UDP,
}
# The standard names of Kubernetes' appProtocol (KEP-3726).
_KUBERNETES: Final = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
# Servers that speak first (SMTP, DNS, MySQL, MongoDB): waiting for the client's bytes would hang them.
_SERVER_FIRST: Final = frozenset({25, 53, 3306, 27017})
# Others whose servers speak first, by the ports that are theirs by custom (IANA). Istio sniffs them.
_SPEAK_FIRST: Final = {
    21: "FTP",
    22: "SSH",
    110: "POP3",
    119: "NNTP",
    143: "IMAP",
    587: "SMTP submission",
    5900: "VNC",
}
_GRPC_WEB: Final = "grpc-web"

PROTOCOL_NAMES: Final = tuple(name.upper() for name in _BY_NAME)


def parse_protocol(text: str) -> Protocol:
    """Return the protocol of an Istio port's ``protocol``; UNSET where Istio would sniff it."""
    return _BY_NAME.get(text.lower(), Protocol.UNSET)


def is_protocol(text: str) -> bool:
    """Tell whether a word names a protocol."""
    return text.lower() in _BY_NAME


def check_silence(path: Path, number: int, protocol: Protocol) -> Iterator[Finding]:
    """Check that a port of which nothing is declared is none at which servers are wont to speak first."""
    served = _SPEAK_FIRST.get(number) if protocol is Protocol.UNSET else None
    if served is not None:
        message = f"port {number} is undeclared, and servers of {served} speak first"
        yield Finding(SERVER_FIRST, path, f"{message}: connections would hang")


def service_protocol(number: int, name: str, transport: str, app_protocol: str) -> Protocol:
    """Return the protocol of a Service's port: its appProtocol, else the name up to the first dash.

    UDP and SCTP ports are none of a mesh's business and all come out as UDP.
    """
    if transport != "TCP":
        return Protocol.UDP
    if app_protocol in _KUBERNETES:
        return _KUBERNETES[app_protocol]
    word = (app_protocol or name).lower()
    if word.startswith(_GRPC_WEB):
        return Protocol.GRPC_WEB
    found = _BY_NAME.get(word.partition("-")[0], Protocol.UNSET)
    if found is Protocol.UNSET and number in _SERVER_FIRST:
        return Protocol.TCP
    return found

"""Which connections of a pod go through its Envoy: the iptables rules, as text, from a value.

The rules, their order and the names of the chains are Istio's (``tools/istio-iptables``), so that
runbooks, ``iptables -t nat -L ISTIO_OUTPUT`` and people's habits go on working. Everything is in the nat
table: TCP that leaves the pod is redirected to 15001, TCP that arrives to 15006, and what Envoy itself
opens is let through, or it would meet itself for ever.

Envoy is told apart by its uid and gid. Where only one uid exists (a user namespace without a range of
uids) its sockets carry a firewall mark instead, which the bootstrap sets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY_UID: Final = 1337
PROXY_MARK: Final = 1337
OUTBOUND_PORT: Final = 15001
INBOUND_PORT: Final = 15006
HBONE_PORT: Final = 15008
# Answered by Envoy itself (probes of the application, readiness, Prometheus), so never redirected to it.
PROXY_PORTS: Final = (15090, 15021, 15020)

ALL: Final = "*"

Network = IPv4Network | IPv6Network


class Family(StrEnum):
    """The version of IP, by the name of the command that loads its rules."""

    V4 = "iptables-restore"
    V6 = "ip6tables-restore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Envoy is whoever runs with this uid or this gid (Istio's way, and every pod's)."""

    uid: int = PROXY_UID
    gid: int = PROXY_UID


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Envoy is whoever marks its sockets so (``SO_MARK``), for where all run with one uid."""

    value: int = PROXY_MARK


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureConfig:
    """What is captured; the defaults are a pod's without annotations.

    Attributes:
        proxy: How Envoy's own connections are told from the application's.
        include_inbound_ports: ``*`` or the only ports captured (``includeInboundPorts``); an empty
            tuple captures nothing.
        exclude_inbound_ports: Never captured; Envoy's own ports are added.
        include_outbound_cidrs: ``*`` or the only destinations captured (``includeOutboundIPRanges``).
        exclude_outbound_cidrs: Destinations never captured (``excludeOutboundIPRanges``).
        include_outbound_ports: Captured even towards destinations that are not included.
        exclude_outbound_ports: Never captured (``excludeOutboundPorts``).
    """

    proxy: Owner | Mark = Owner()
    inbound_port: int = INBOUND_PORT
    outbound_port: int = OUTBOUND_PORT
    include_inbound_ports: tuple[int, ...] | Literal["*"] = ALL
    exclude_inbound_ports: tuple[int, ...] = ()
    include_outbound_cidrs: tuple[str, ...] | Literal["*"] = ALL
    exclude_outbound_cidrs: tuple[str, ...] = ()
    include_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loopback:
    """The addresses that stand for "this pod" in one family.

    Attributes:
        host: Where applications find their neighbours in the pod; never captured.
        inbound_source: From where Envoy calls its application, which tells that call from others.
    """

    host: str
    inbound_source: str


_LOOPBACK: Final = {
    Family.V4: _Loopback(host="127.0.0.1/32", inbound_source="127.0.0.6/32"),
    Family.V6: _Loopback(host="::1/128", inbound_source="::6/128"),
}


def restore_text(config: CaptureConfig, family: Family) -> str:
    """Return the input of ``iptables-restore --noflush`` (or of its v6 sister); ends with a newline.

    ``ValueError`` where a CIDR is not one.
    """
    rules = (
        *_redirects(config),
        *_inbound(config),
        *_outbound(config, family),
    )
    chains = ("ISTIO_INBOUND", "ISTIO_REDIRECT", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT")
    lines = (
        "*nat",
        *(f"-N {chain}" for chain in chains),
        *(f"-A {rule}" for rule in rules),
        "COMMIT",
    )
    return "\n".join(lines) + "\n"


def _redirects(config: CaptureConfig) -> Iterator[str]:
    """Yield the two targets: the outbound and the inbound listener."""
    yield f"ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {config.outbound_port}"
    yield f"ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {config.inbound_port}"


def _inbound(config: CaptureConfig) -> Iterator[str]:
    """Yield what happens to connections that arrive; nothing where no port is included."""
    yield f"ISTIO_INBOUND -p tcp --dport {HBONE_PORT} -j RETURN"
    if not config.include_inbound_ports:
        return
    yield "PREROUTING -p tcp -j ISTIO_INBOUND"
    if config.include_inbound_ports != ALL:
        for port in config.include_inbound_ports:
            yield f"ISTIO_INBOUND -p tcp --dport {port} -j ISTIO_IN_REDIRECT"
        return
    for port in (*config.exclude_inbound_ports, *PROXY_PORTS):
        yield f"ISTIO_INBOUND -p tcp --dport {port} -j RETURN"
    yield "ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT"


def _outbound(config: CaptureConfig, family: Family) -> Iterator[str]:
    """Yield what happens to connections that leave; the first rule that matches decides."""
    local = _LOOPBACK[family]
    yield "OUTPUT -p tcp -j ISTIO_OUTPUT"
    for port in config.exclude_outbound_ports:
        yield f"ISTIO_OUTPUT -p tcp --dport {port} -j RETURN"
    yield f"ISTIO_OUTPUT -o lo -s {local.inbound_source} -j RETURN"
    for is_proxy, is_not_proxy in _proxy_matches(config.proxy):
        # A pod that calls its own service's address goes out of its Envoy and in again through it.
        yield (
            f"ISTIO_OUTPUT -o lo ! -d {local.host} -p tcp ! --dport {HBONE_PORT} "
            f"{is_proxy} -j ISTIO_IN_REDIRECT"
        )
        yield f"ISTIO_OUTPUT -o lo {is_not_proxy} -j RETURN"
        yield f"ISTIO_OUTPUT {is_proxy} -j RETURN"
    yield f"ISTIO_OUTPUT -d {local.host} -j RETURN"
    yield from _destinations(config, family)


def _proxy_matches(proxy: Owner | Mark) -> tuple[tuple[str, str], ...]:
    """Return pairs of matches: what Envoy sends, and what it does not send."""
    match proxy:
        case Owner(uid=uid, gid=gid):
            return (
                (f"-m owner --uid-owner {uid}", f"-m owner ! --uid-owner {uid}"),
                (f"-m owner --gid-owner {gid}", f"-m owner ! --gid-owner {gid}"),
            )
        case Mark(value=mark):
            return ((f"-m mark --mark {mark}", f"-m mark ! --mark {mark}"),)


def _destinations(config: CaptureConfig, family: Family) -> Iterator[str]:
    """Yield which destinations are captured: exclusions first, then ports, then addresses."""
    for network in _networks(config.exclude_outbound_cidrs, family):
        yield f"ISTIO_OUTPUT -d {network} -j RETURN"
    for port in config.include_outbound_ports:
        yield f"ISTIO_OUTPUT -p tcp --dport {port} -j ISTIO_REDIRECT"
    if config.include_outbound_cidrs == ALL:
        yield "ISTIO_OUTPUT -j ISTIO_REDIRECT"
        return
    for network in _networks(config.include_outbound_cidrs, family):
        yield f"ISTIO_OUTPUT -d {network} -j ISTIO_REDIRECT"
    yield "ISTIO_OUTPUT -j RETURN"


def _networks(cidrs: tuple[str, ...], family: Family) -> Iterator[Network]:
    """Yield those CIDRs that are of the family, in their order."""
    version = 4 if family is Family.V4 else 6
    for cidr in cidrs:
        network = ip_network(cidr, strict=False)
        if network.version == version:
            yield network

"""Which connections of a pod go through its Envoy: the iptables rules, as text, from a value.

The rules, their order and the names of the chains are Istio's (``tools/istio-iptables``), so that
runbooks, ``iptables -t nat -L ISTIO_OUTPUT`` and people's habits go on working. TCP that leaves the pod is
redirected to 15001, TCP that arrives to 15006, and what Envoy itself opens is let through, or it would meet
itself for ever. With TPROXY what arrives is not redirected (nat) but handed over as it is (mangle), so that
the application sees its callers' addresses.

Envoy is told apart by its uid and gid. Where only one uid exists (a user namespace without a range of
uids) its sockets carry a firewall mark instead, which the bootstrap sets.
"""

from __future__ import annotations

import re
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
DNS_PORT: Final = 15053
# Answered by Envoy itself (probes of the application, readiness, Prometheus), so never redirected to it.
PROXY_PORTS: Final = (15090, 15021, 15020)

ALL: Final = "*"

# What TPROXY hands over is marked so, and routed to loopback by the table of this number.
TPROXY_MARK: Final = 1337
TPROXY_TABLE: Final = 133
# What a pod sends to its own service's address: it goes in again, and not by nat.
_OWN_SERVICE_MARK: Final = 1338

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,31}")

Network = IPv4Network | IPv6Network


class Interception(StrEnum):
    """How what arrives is handed to Envoy (``sidecar.istio.io/interceptionMode``)."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"


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
        interception: How what arrives is handed over.
        include_inbound_ports: ``*`` or the only ports captured (``includeInboundPorts``); an empty
            tuple captures nothing.
        exclude_inbound_ports: Never captured; Envoy's own ports are added.
        include_outbound_cidrs: ``*`` or the only destinations captured (``includeOutboundIPRanges``).
        exclude_outbound_cidrs: Destinations never captured (``excludeOutboundIPRanges``).
        include_outbound_ports: Captured even towards destinations that are not included.
        exclude_outbound_ports: Never captured (``excludeOutboundPorts``).
        exclude_interfaces: Nothing that comes or goes by these is captured (``excludeInterfaces``).
        reroute_interfaces: What comes in by these leaves the pod for somebody else, such as a virtual
            machine, and is captured as outbound (``kubevirtInterfaces``).
        include_owner_groups: ``*`` or the only groups whose processes are captured; names or numbers.
        exclude_owner_groups: Groups whose processes are never captured.
        dns: Whether questions to name servers, over UDP, go to Envoy (15053).
    """

    proxy: Owner | Mark = Owner()
    interception: Interception = Interception.REDIRECT
    inbound_port: int = INBOUND_PORT
    outbound_port: int = OUTBOUND_PORT
    include_inbound_ports: tuple[int, ...] | Literal["*"] = ALL
    exclude_inbound_ports: tuple[int, ...] = ()
    include_outbound_cidrs: tuple[str, ...] | Literal["*"] = ALL
    exclude_outbound_cidrs: tuple[str, ...] = ()
    include_outbound_ports: tuple[int, ...] = ()
    exclude_outbound_ports: tuple[int, ...] = ()
    exclude_interfaces: tuple[str, ...] = ()
    reroute_interfaces: tuple[str, ...] = ()
    include_owner_groups: tuple[str, ...] | Literal["*"] = ALL
    exclude_owner_groups: tuple[str, ...] = ()
    dns: bool = False

    @property
    def transparent(self) -> bool:
        """Whether Envoy is handed connections as they are."""
        return self.interception is Interception.TPROXY


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

    ``ValueError`` where a CIDR is not one, or what should be a name could be anything else.
    """
    _check_names(config)
    tables = {"nat": (*_targets(config), *_inbound(config), *_outbound(config, family))}
    if config.transparent:
        tables["mangle"] = tuple(_transparent(config, family))
    if config.dns:
        tables["raw"] = tuple(_zones(config))
    lines = [line for table, rules in tables.items() for line in _table(table, rules)]
    return "\n".join(lines) + "\n"


def _check_names(config: CaptureConfig) -> None:
    """Refuse what could end a rule, and the shell's string that it stands in, and begin another."""
    groups = () if config.include_owner_groups == ALL else config.include_owner_groups
    interfaces = (*config.exclude_interfaces, *config.reroute_interfaces)
    for name in (*interfaces, *groups, *config.exclude_owner_groups):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an interface or group")


def _table(name: str, rules: tuple[str, ...]) -> Iterator[str]:
    """Yield one table: its chains, those that rules are added to or sent to, and its rules."""
    words = {word: None for rule in rules for word in rule.split() if word.startswith("ISTIO_")}
    order = {chain: place for place, chain in enumerate(_CHAINS)}
    yield f"*{name}"
    yield from (f"-N {chain}" for chain in sorted(words, key=order.__getitem__))
    yield from (f"-A {rule}" for rule in rules)
    yield "COMMIT"


_CHAINS: Final = (
    "ISTIO_INBOUND",
    "ISTIO_REDIRECT",
    "ISTIO_IN_REDIRECT",
    "ISTIO_OUTPUT",
    "ISTIO_OUTPUT_DNS",
    "ISTIO_DIVERT",
    "ISTIO_TPROXY",
)


def _targets(config: CaptureConfig) -> Iterator[str]:
    """Yield the two targets: the outbound and the inbound listener."""
    yield f"ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports {config.outbound_port}"
    yield f"ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports {config.inbound_port}"


def _inbound(config: CaptureConfig) -> Iterator[str]:
    """Yield what nat does to connections that arrive; nothing where no port is included."""
    if config.transparent:
        yield from _rerouted(config)
        return
    yield f"ISTIO_INBOUND -p tcp --dport {HBONE_PORT} -j RETURN"
    for interface in config.exclude_interfaces:
        yield f"PREROUTING -i {interface} -j RETURN"
    yield from _rerouted(config)
    if not config.include_inbound_ports:
        return
    yield "PREROUTING -p tcp -j ISTIO_INBOUND"
    yield from _arrivals(config, "ISTIO_IN_REDIRECT")


def _rerouted(config: CaptureConfig) -> Iterator[str]:
    """Yield what happens to what a guest of the pod sends: it is outbound although it comes in."""
    for interface in config.reroute_interfaces:
        yield f"PREROUTING -i {interface} -p tcp -j ISTIO_REDIRECT"
        yield f"PREROUTING -i {interface} -j RETURN"


def _arrivals(config: CaptureConfig, target: str) -> Iterator[str]:
    """Yield which ports' connections go to a target."""
    if config.include_inbound_ports != ALL:
        for port in config.include_inbound_ports:
            yield f"ISTIO_INBOUND -p tcp --dport {port} -j {target}"
        return
    for port in (*config.exclude_inbound_ports, *PROXY_PORTS):
        yield f"ISTIO_INBOUND -p tcp --dport {port} -j RETURN"
    yield f"ISTIO_INBOUND -p tcp -j {target}"


def _transparent(config: CaptureConfig, family: Family) -> Iterator[str]:
    """Yield the mangle table: what arrives is marked, and with it all that belongs to it."""
    local = _LOOPBACK[family]
    yield f"ISTIO_DIVERT -j MARK --set-mark {TPROXY_MARK}"
    yield "ISTIO_DIVERT -j ACCEPT"
    yield (
        f"ISTIO_TPROXY ! -d {local.host} -p tcp "
        f"-j TPROXY --on-port {config.inbound_port} --tproxy-mark {TPROXY_MARK}"
    )
    # What Envoy sends in its caller's name is answered to Envoy, not to the caller.
    yield f"PREROUTING -p tcp -m mark --mark {TPROXY_MARK} -j CONNMARK --save-mark"
    yield f"OUTPUT -p tcp -m connmark --mark {TPROXY_MARK} -j CONNMARK --restore-mark"
    for is_proxy, _is_not_proxy in _proxy_matches(config):
        yield (
            f"OUTPUT -o lo ! -d {local.host} -p tcp ! --dport {HBONE_PORT} {is_proxy} "
            f"-m mark ! --mark {TPROXY_MARK} -j MARK --set-mark {_OWN_SERVICE_MARK}"
        )
    for interface in config.exclude_interfaces:
        yield f"PREROUTING -i {interface} -j RETURN"
    if not config.include_inbound_ports:
        return
    yield "PREROUTING -p tcp -j ISTIO_INBOUND"
    yield f"ISTIO_INBOUND -p tcp -m mark --mark {TPROXY_MARK} -j RETURN"
    yield f"ISTIO_INBOUND -p tcp -s {local.inbound_source} -i lo -j RETURN"
    yield f"ISTIO_INBOUND -p tcp -i lo -m mark ! --mark {_OWN_SERVICE_MARK} -j RETURN"
    yield f"ISTIO_INBOUND -p tcp --dport {HBONE_PORT} -j RETURN"
    # What belongs to a connection that exists, also to one that the pod opened, goes to its own socket.
    yield "ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT"
    yield from _arrivals(config, "ISTIO_TPROXY")


def _outbound(config: CaptureConfig, family: Family) -> Iterator[str]:
    """Yield what happens to connections that leave; the first rule that matches decides."""
    local = _LOOPBACK[family]
    yield "OUTPUT -p tcp -j ISTIO_OUTPUT"
    if config.dns:
        yield "OUTPUT -p udp -j ISTIO_OUTPUT_DNS"
        yield from _questions(config)
    for interface in config.exclude_interfaces:
        yield f"ISTIO_OUTPUT -o {interface} -j RETURN"
    for port in config.exclude_outbound_ports:
        yield f"ISTIO_OUTPUT -p tcp --dport {port} -j RETURN"
    if config.transparent:
        # in its caller's name Envoy calls the application: by this mark, as it has not its own address
        yield f"ISTIO_OUTPUT -m mark --mark {TPROXY_MARK} -j RETURN"
    yield f"ISTIO_OUTPUT -o lo -s {local.inbound_source} -j RETURN"
    yield from _own_service(config, local)
    yield from _groups(config)
    yield f"ISTIO_OUTPUT -d {local.host} -j RETURN"
    yield from _destinations(config, family)


def _own_service(config: CaptureConfig, local: _Loopback) -> Iterator[str]:
    """Yield what happens to what Envoy itself sends, and to what stays within the pod."""
    for is_proxy, is_not_proxy in _proxy_matches(config):
        # A pod that calls its own service's address goes out of its Envoy and in again through it.
        if not config.transparent:
            yield (
                f"ISTIO_OUTPUT -o lo ! -d {local.host} -p tcp ! --dport {HBONE_PORT} "
                f"{is_proxy} -j ISTIO_IN_REDIRECT"
            )
        yield f"ISTIO_OUTPUT -o lo {is_not_proxy} -j RETURN"
        yield f"ISTIO_OUTPUT {is_proxy} -j RETURN"


def _proxy_matches(config: CaptureConfig) -> tuple[tuple[str, str], ...]:
    """Return pairs of matches: what Envoy sends, and what it does not send.

    To bind others' addresses Envoy runs as root under TPROXY, so then its group alone tells.
    """
    match config.proxy:
        case Owner(uid=uid, gid=gid):
            by_group = (f"-m owner --gid-owner {gid}", f"-m owner ! --gid-owner {gid}")
            if config.transparent:
                return (by_group,)
            return ((f"-m owner --uid-owner {uid}", f"-m owner ! --uid-owner {uid}"), by_group)
        case Mark(value=mark):
            return ((f"-m mark --mark {mark}", f"-m mark ! --mark {mark}"),)


def _groups(config: CaptureConfig) -> Iterator[str]:
    """Yield whose connections are left alone, by the group that a process runs with."""
    if config.include_owner_groups != ALL:
        others = " ".join(f"-m owner ! --gid-owner {each}" for each in config.include_owner_groups)
        yield f"ISTIO_OUTPUT {others} -j RETURN" if others else "ISTIO_OUTPUT -j RETURN"
        return
    for group in config.exclude_owner_groups:
        yield f"ISTIO_OUTPUT -m owner --gid-owner {group} -j RETURN"


def _questions(config: CaptureConfig) -> Iterator[str]:
    """Yield where questions to name servers go: to Envoy, but for its own.

    Only by UDP, which is what its filter answers; by TCP they are captured as all else is, and pass through.
    """
    for is_proxy, _is_not_proxy in _proxy_matches(config):
        yield f"ISTIO_OUTPUT_DNS -p udp --dport 53 {is_proxy} -j RETURN"
    yield f"ISTIO_OUTPUT_DNS -p udp --dport 53 -j REDIRECT --to-ports {DNS_PORT}"


def _zones(config: CaptureConfig) -> Iterator[str]:
    """Yield the raw table: Envoy's questions and the pod's, from one port to one server, are kept apart."""
    yield "PREROUTING -p udp -j ISTIO_INBOUND"
    yield "OUTPUT -p udp -j ISTIO_OUTPUT_DNS"
    for is_proxy, _is_not_proxy in _proxy_matches(config):
        yield f"ISTIO_OUTPUT_DNS -p udp --dport 53 {is_proxy} -j CT --zone 1"
        yield f"ISTIO_OUTPUT_DNS -p udp --sport {DNS_PORT} {is_proxy} -j CT --zone 2"
    yield "ISTIO_OUTPUT_DNS -p udp --dport 53 -j CT --zone 2"
    yield "ISTIO_INBOUND -p udp --sport 53 -j CT --zone 1"


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

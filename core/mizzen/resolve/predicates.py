"""From the values of an AuthorizationPolicy's fields to predicates, one small function a field.

Wildcards stand only at an end: ``p*``, ``*s``, and ``*`` alone, which means "there is one". Sources:
Istio's AuthorizationPolicy reference and its list of conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mizzen.ir import (
    AllOf,
    AnyOf,
    DestinationAddress,
    DestinationPort,
    FilterMetadata,
    Never,
    PeerIdentity,
    Predicate,
    RequestHeader,
    RequestPath,
    RequestPathTemplate,
    ServerName,
    SourceAddress,
    Text,
    TextKind,
    TokenClaim,
)

_SPIFFE: Final = "spiffe://"
_LOCAL: Final = "cluster.local"


def text(value: str, *, ignore_case: bool = False) -> Text:
    """Return the comparison that a value with its wildcard means."""
    if value == "*":
        return Text(TextKind.PRESENT)
    if value.startswith("*"):
        return Text(TextKind.SUFFIX, value[1:], ignore_case)
    if value.endswith("*"):
        return Text(TextKind.PREFIX, value[:-1], ignore_case)
    return Text(TextKind.EXACT, value, ignore_case)


def _regex(value: str, any_text: str = ".*") -> str:
    """Return a regular expression for a value with wildcards."""
    return any_text.join(re.escape(part) for part in value.split("*"))


def _one_of(terms: list[Predicate]) -> Predicate:
    unique = list(dict.fromkeys(terms))
    return unique[0] if len(unique) == 1 else AnyOf(tuple(unique))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads values whose meaning depends on where the policy stands."""

    namespace: str
    trust_domains: tuple[str, ...]

    def principal(self, value: str) -> Predicate:
        """``principals``: ``cluster.local`` means our own trust domain, and its aliases count too."""
        if value == "*":
            return PeerIdentity(Text(TextKind.REGEX, ".+"))
        if value.startswith("*"):
            return PeerIdentity(Text(TextKind.REGEX, f"{_SPIFFE}.*{re.escape(value[1:])}"))
        domain, slash, rest = value.partition("/")
        if slash and (domain == _LOCAL or domain in self.trust_domains):
            values = [f"{own}/{rest}" for own in self.trust_domains]
        else:
            values = [value]
        return _one_of([PeerIdentity(text(_SPIFFE + one)) for one in values])

    def service_account(self, value: str) -> Predicate:
        """``serviceAccounts``: ``account`` of the policy's namespace, or ``namespace/account``."""
        namespace, slash, account = value.rpartition("/")
        where = namespace if slash else self.namespace
        pattern = f"{_SPIFFE}.+/ns/{re.escape(where)}/sa/{re.escape(account)}"
        return PeerIdentity(Text(TextKind.REGEX, pattern))


def namespace(value: str) -> Predicate:
    """``namespaces``: of the peer's identity."""
    return PeerIdentity(Text(TextKind.REGEX, f".*/ns/{_regex(value)}/.*"))


def trust_domain(value: str) -> Predicate:
    """``source.trustDomain``."""
    return PeerIdentity(Text(TextKind.REGEX, f"{_SPIFFE}{_regex(value, '[^/]*')}/.*"))


def peer_address(value: str) -> Predicate:
    """``ipBlocks``: an address or CIDR of the peer that connected."""
    return SourceAddress(value)


def client_address(value: str) -> Predicate:
    """``remoteIpBlocks``: of the client as X-Forwarded-For or PROXY protocol tells it."""
    return SourceAddress(value, original=True)


def request_principal(value: str) -> Predicate:
    """``requestPrincipals``: ``issuer/subject`` of a validated token, split at the last slash."""
    if value == "*":
        return AllOf((_claim("iss", "*"), _claim("sub", "*")))
    issuer, slash, subject = value.rpartition("/")
    if not slash:
        return _one_half(value)
    return AllOf((_claim("iss", issuer), _claim("sub", subject)))


def _one_half(value: str) -> Predicate:
    """Return what a value without a slash means: its wildcard covers the slash and the other half."""
    if value.endswith("*"):
        return _claim("iss", value)
    return _claim("sub", value) if value.startswith("*") else Never()


def _claim(name: str, value: str) -> Predicate:
    return TokenClaim((name,), text(value))


def host(value: str) -> Predicate:
    """``hosts``: the authority, case-insensitive, its port included where the client sends one."""
    return RequestHeader(":authority", text(value, ignore_case=True))


def method(value: str) -> Predicate:
    """``methods``."""
    return RequestHeader(":method", text(value))


def path(value: str) -> Predicate:
    """``paths``: text with a wildcard at an end, or a template with ``{*}`` and ``{**}``."""
    if "{*}" in value or "{**}" in value:
        return RequestPathTemplate(value.replace("{**}", "**").replace("{*}", "*"))
    return RequestPath(text(value))


def destination_port(value: str) -> Predicate:
    """``ports`` and ``destination.port``; what is not a number matches nothing."""
    return DestinationPort(int(value)) if value.isdecimal() else Never()


def destination_address(value: str) -> Predicate:
    """``destination.ip``."""
    return DestinationAddress(value)


def server_name(value: str) -> Predicate:
    """``connection.sni``."""
    return ServerName(text(value))


_OPERATION_KEYS: Final[Mapping[str, Callable[[str], Predicate]]] = {
    "destination.ip": destination_address,
    "destination.port": destination_port,
    "connection.sni": server_name,
}
_FILTER: Final = re.compile(r"experimental\.(envoy\.filters\.[^\[]+)\[(.+)\]")
_HEADER: Final = re.compile(r"request\.headers\[([^\]]+)\]")
_CLAIMS: Final = re.compile(r"request\.auth\.claims((?:\[[^\]]+\])+)")
_TOKEN_KEYS: Final = {
    "request.auth.audiences": "aud",
    "request.auth.presenter": "azp",
}


def operation_reader(key: str) -> Callable[[str], Predicate] | None:
    """Return how the values of a condition on what is asked for are read; None where it is on who asks."""
    if found := _FILTER.fullmatch(key):
        name, entry = found[1], found[2]
        return lambda value: _filter_metadata(name, entry, value)
    return _OPERATION_KEYS.get(key)


def _filter_metadata(name: str, entry: str, value: str) -> Predicate:
    """Return what a value of another filter's metadata means; ``[v]`` asks for an element of a list."""
    listed = value.startswith("[") and value.endswith("]")
    return FilterMetadata(name, entry, text(value[1:-1] if listed else value), listed)


def source_reader(key: str, reader: Reader) -> Callable[[str], Predicate]:
    """Return how the values of a condition on the source are read.

    An unknown key, which the edge has refused already, matches nothing.
    """
    fixed: dict[str, Callable[[str], Predicate]] = {
        "source.ip": peer_address,
        "remote.ip": client_address,
        "source.namespace": namespace,
        "source.principal": reader.principal,
        "source.serviceAccount": reader.service_account,
        "source.trustDomain": trust_domain,
        "request.auth.principal": request_principal,
    }
    if key in fixed:
        return fixed[key]
    if key in _TOKEN_KEYS:
        return lambda value: _claim(_TOKEN_KEYS[key], value)
    if found := _HEADER.fullmatch(key):
        header = found[1].lower()
        return lambda value: RequestHeader(header, text(value))
    if found := _CLAIMS.fullmatch(key):
        claim = tuple(found[1][1:-1].split("]["))
        return lambda value: TokenClaim(claim, text(value))
    return lambda _value: Never()

"""Authorization: predicates over connections and requests, and the rules made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mizzen.ir.origins import Origins
from mizzen.model.providers import Authorizer
from mizzen.model.security import PolicyAction


@dataclass(frozen=True, slots=True)
class Anything:
    """Always true."""


@dataclass(frozen=True, slots=True)
class Never:
    """Never true."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one holds."""

    terms: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one holds."""

    terms: tuple[Predicate, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    term: Predicate


class TextKind(StrEnum):
    """How a text is compared in a policy."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Text:
    """A comparison of a text."""

    kind: TextKind
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The URI SAN of the peer's verified certificate, ``spiffe://…`` included."""

    text: Text


@dataclass(frozen=True, slots=True)
class SourceAddress:
    """The peer's address, or, ``original`` True, the client's as X-Forwarded-For tells it."""

    cidr: str
    original: bool = False


@dataclass(frozen=True, slots=True)
class DestinationAddress:
    """The address the connection was made to."""

    cidr: str


@dataclass(frozen=True, slots=True)
class DestinationPort:
    """The port the connection was made to."""

    port: int


@dataclass(frozen=True, slots=True)
class ServerName:
    """The SNI of the connection."""

    text: Text


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A request header, pseudo headers (``:method``, ``:authority``) included. HTTP only."""

    name: str
    text: Text


@dataclass(frozen=True, slots=True)
class RequestPath:
    """The path without query, after normalisation. HTTP only."""

    text: Text


@dataclass(frozen=True, slots=True)
class RequestPathTemplate:
    """The path against a URI template with ``*`` (one segment) and ``**`` (the rest). HTTP only."""

    template: str


@dataclass(frozen=True, slots=True)
class TokenClaim:
    """A claim of a validated JWT, by path; a list matches if any element does. HTTP only."""

    path: tuple[str, ...]
    text: Text


@dataclass(frozen=True, slots=True)
class FilterMetadata:
    """What another filter has left in its metadata; ``listed`` True: an element of the list there."""

    filter: str
    entry: str
    text: Text
    listed: bool = False


Predicate = (
    Anything
    | Never
    | AllOf
    | AnyOf
    | Not
    | PeerIdentity
    | SourceAddress
    | DestinationAddress
    | DestinationPort
    | ServerName
    | RequestHeader
    | RequestPath
    | RequestPathTemplate
    | TokenClaim
    | FilterMetadata
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """One rule of one policy: what is asked for, and who asks.

    ``name`` is Istio's ``ns[NS]-policy[NAME]-rule[i]``.
    """

    name: str
    operation: Predicate
    source: Predicate


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All rules of one action on one protocol; an ALLOW set without rules allows nothing.

    ``dry_run`` refuses nothing: it is only counted what the rules would have done.
    """

    action: PolicyAction
    rules: tuple[PolicyRule, ...] = ()
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What somebody else decides: requests that match one of the rules; ``cluster`` leads there."""

    authorizer: Authorizer
    cluster: str
    rules: tuple[PolicyRule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What is asked of those who come, for HTTP and for TCP.

    Attributes:
        http: Rule sets in the order in which they are asked: AUDIT, DENY, ALLOW; ``tcp`` likewise.
        asked_http: Who else is asked before all these, sorted by name; all of them have to agree.
    """

    http: tuple[RuleSet, ...] = ()
    tcp: tuple[RuleSet, ...] = ()
    asked_http: tuple[Question, ...] = ()
    asked_tcp: tuple[Question, ...] = ()
    origins: Origins = ()
    # It may have thousands of parts, and stands in the key of whatever is made of it.
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        parts = (self.http, self.tcp, self.asked_http, self.asked_tcp, self.origins)
        object.__setattr__(self, "_hash", hash(parts))

    def __hash__(self) -> int:
        return self._hash

    @property
    def clusters(self) -> frozenset[str]:
        """The clusters that have to be there."""
        return frozenset(asked.cluster for asked in (*self.asked_http, *self.asked_tcp))


OPEN = Authorization()

"""What an Envoy sidecar asks for and keeps over delta ADS, as values that all clients share.

The order is Envoy's: clusters by wildcard; the endpoints and secrets that they name; once these are in,
listeners by wildcard; the route configurations that they name; virtual hosts by a request without names.
Every response is acknowledged; what a new cluster or listener names is subscribed to, what a removed one
named is let go; a reconnecting proxy brings the versions of all that it has.

A :class:`Holding` never changes. It is a run of resources that many proxies share, and the few that
differ; what follows from it and a response is computed for the first client that gets that response and
found by the others. So the cost of a client does not grow with the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from bench.responses import TYPE_URLS, Kind, Resource, Response, Run, wanted_by

_NOTHING: Final[frozenset[str]] = frozenset()
_NO_RUN: Final = Run()
_NONE_APART: Final[Mapping[str, Resource | None]] = MappingProxyType({})
# Which subscriptions follow from which: clusters name endpoints and secrets, and so on.
_NAMED_BY: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.ENDPOINT: (Kind.CLUSTER,),
    Kind.SECRET: (Kind.CLUSTER, Kind.LISTENER),
    Kind.ROUTE: (Kind.LISTENER,),
    Kind.VIRTUAL_HOST: (Kind.LISTENER, Kind.ROUTE),
}
_FOLLOWERS: Final[Mapping[Kind, tuple[Kind, ...]]] = {
    Kind.CLUSTER: (Kind.ENDPOINT, Kind.SECRET),
    Kind.LISTENER: (Kind.SECRET, Kind.ROUTE, Kind.VIRTUAL_HOST),
    Kind.ROUTE: (Kind.VIRTUAL_HOST,),
}
_BY_NAME: Final = frozenset((Kind.ENDPOINT, Kind.SECRET, Kind.ROUTE))


class Holding:
    """What a proxy has of one type, and what it has asked for.

    Attributes:
        answered: Whether any response of the type has come.
        missing: How many of the subscribed names have not been delivered.
        wanted: By type, the names that these resources refer to.
    """

    __slots__ = (
        "_after", "_apart", "_asked", "_opening", "_run", "answered", "kind", "missing", "names",
        "wanted",
    )  # fmt: skip

    def __init__(
        self,
        kind: Kind,
        *,
        names: frozenset[str] = _NOTHING,
        run: Run = _NO_RUN,
        apart: Mapping[str, Resource | None] = _NONE_APART,
        answered: bool = False,
    ) -> None:
        self.kind = kind
        self.names = names
        self.answered = answered
        # In ``apart`` stands what is not as in the run; None is for what is not there.
        self._run = run
        self._apart = apart
        self._after: dict[Response, Holding] = {}
        self._asked: dict[frozenset[str], tuple[Holding, bytes]] = {}
        self._opening: bytes | None = None
        self.missing = self._missing() if kind in _BY_NAME else 0
        self.wanted = _wanted(run, apart) if kind in _FOLLOWERS else {}

    def __len__(self) -> int:
        gone = sum(1 for name, held in self._apart.items() if held is None)
        fresh = sum(1 for name in self._apart if name not in self._run.by_name)
        return len(self._run.by_name) + fresh - gone

    def resources(self) -> dict[str, Resource]:
        """Return everything that is held."""
        both = {**self._run.by_name, **self._apart}
        return {name: held for name, held in both.items() if held is not None}

    def matching(self, text: str) -> list[str]:
        """Return the names that contain a text."""
        return [name for name in self.resources() if text in name]

    def after(self, response: Response) -> Holding:
        """Return what a proxy has once it took a response in."""
        if (known := self._after.get(response)) is None:
            known = self._after[response] = self._taking(response)
            if known.wanted == self.wanted:  # so that clients need only look whether it is the same
                known.wanted = self.wanted
        return known

    def asking(self, names: frozenset[str]) -> tuple[Holding, bytes]:
        """Return the subscription to exactly these names, and the request that leads there."""
        if (known := self._asked.get(names)) is None:
            gone = self.names - names
            apart = {**self._apart, **dict.fromkeys(gone & self._run.by_name.keys())}
            apart = {k: v for k, v in apart.items() if k not in gone or k in self._run.by_name}
            following = Holding(
                self.kind, names=names, run=self._run, apart=apart, answered=self.answered
            )
            request = _request(self.kind, subscribe=names - self.names, unsubscribe=gone)
            known = self._asked[names] = (following, request)
        return known

    def opening(self) -> bytes:
        """Return the first request of the type on a stream, with the versions of what is held."""
        if self._opening is None:
            versions = {name: each.version for name, each in self.resources().items()}
            self._opening = _request(self.kind, subscribe=self.names, versions=versions)
        return self._opening

    def _taking(self, response: Response) -> Holding:
        run, apart = self._run, dict(self._apart)
        if response.run is not None and not run.by_name:
            run = response.run
            apart = {k: v for k, v in apart.items() if k not in run.by_name}
        elif response.run is not None:
            apart.update(response.run.by_name)
        for name in response.removed:
            if name in run.by_name:
                apart[name] = None
            else:
                apart.pop(name, None)
        apart.update({each.name: each for each in response.resources})
        return Holding(self.kind, names=self.names, run=run, apart=apart, answered=True)

    def _missing(self) -> int:
        absent = self.names - self._run.by_name.keys()
        held = self._apart.get
        taken = sum(1 for name, each in self._apart.items() if each is None and name in self.names)
        return sum(1 for name in absent if held(name) is None) + taken


class Proxy:
    """One Envoy: its node, and what it holds of each type."""

    __slots__ = ("holdings", "node")

    def __init__(self, node: bytes) -> None:
        self.node = node
        self.holdings: dict[Kind, Holding] = {}

    def opening(self) -> list[bytes]:
        """Return the requests with which a stream starts; the first one carries the node."""
        if not self.holdings:
            self.holdings[Kind.CLUSTER] = _START[Kind.CLUSTER]
        requests = [self.holdings[kind].opening() for kind in self.holdings]
        return [_field(1, self.node) + requests[0], *requests[1:]]

    def received(self, response: Response, nonce: bytes) -> list[bytes]:
        """Return the requests that follow from a response: its ACK, then changed subscriptions."""
        kind = response.kind
        before = self.holdings[kind]
        after = self.holdings[kind] = before.after(response)
        requests = [_ACKS[kind] + _field(6, nonce)]
        if after.wanted is not before.wanted:
            for follower in _FOLLOWERS[kind]:
                requests += self._subscribe(follower)
        if Kind.LISTENER not in self.holdings and self._is_warm():
            self.holdings[Kind.LISTENER] = _START[Kind.LISTENER]
            requests.append(_START[Kind.LISTENER].opening())
        return requests

    def is_complete(self, *, clusters: int, virtual_hosts: int) -> bool:
        """Tell whether all that was asked for is there, and at least so many of the wildcard types."""
        held = self.holdings
        if Kind.LISTENER not in held or not all(each.answered for each in held.values()):
            return False
        if any(each.missing for each in held.values()) or len(held[Kind.CLUSTER]) < clusters:
            return False
        return Kind.VIRTUAL_HOST in held and len(held[Kind.VIRTUAL_HOST]) >= virtual_hosts

    def _is_warm(self) -> bool:
        """Tell whether the clusters have all that they wait for: only then are listeners asked for."""
        return all(each.answered and not each.missing for each in self.holdings.values())

    def _subscribe(self, kind: Kind) -> list[bytes]:
        sources = [self.holdings[by] for by in _NAMED_BY[kind] if by in self.holdings]
        named = [source.wanted[kind] for source in sources if kind in source.wanted]
        names = named[0] if len(named) == 1 else _NOTHING.union(*named)
        held = self.holdings.get(kind)
        if held is None:
            if not names:
                return []
            self.holdings[kind], request = _START[kind].asking(names)
            return [request]
        if held.names == names:
            return []
        self.holdings[kind], request = held.asking(names)
        # Virtual hosts are asked for once, without names, for all route configurations.
        return [] if kind is Kind.VIRTUAL_HOST else [request]


def _wanted(run: Run, apart: Mapping[str, Resource | None]) -> Mapping[Kind, frozenset[str]]:
    """Return what a run refers to with some resources replaced.

    An assignment of endpoints has the name of its one cluster, so it goes with it; all other names are
    shared by so many that they are taken to stay.
    """
    own = wanted_by(each for each in apart.values() if each is not None)
    gone = wanted_by(run.by_name[name] for name in apart if name in run.by_name)
    unnamed = gone.get(Kind.ENDPOINT, _NOTHING) - own.get(Kind.ENDPOINT, _NOTHING)
    return {
        kind: _with(
            run.wanted.get(kind, _NOTHING),
            own.get(kind, _NOTHING),
            unnamed if kind is Kind.ENDPOINT else _NOTHING,
        )
        for kind in sorted(run.wanted.keys() | own.keys())
    }


@lru_cache(maxsize=256)
def _with(shared: frozenset[str], more: frozenset[str], less: frozenset[str]) -> frozenset[str]:
    """Return names with some more and some less, as one object for all proxies."""
    return (shared | more) - less


def _request(
    kind: Kind,
    *,
    subscribe: frozenset[str] = _NOTHING,
    unsubscribe: frozenset[str] = _NOTHING,
    versions: Mapping[str, str] | None = None,
) -> bytes:
    """Return an encoded ``DeltaDiscoveryRequest`` without its node."""
    if kind is Kind.VIRTUAL_HOST:
        subscribe = unsubscribe = _NOTHING
    parts = [_field(2, TYPE_URLS[kind].encode())]
    parts += [_field(3, name.encode()) for name in sorted(subscribe)]
    parts += [_field(4, name.encode()) for name in sorted(unsubscribe)]
    for name, version in (versions or {}).items():
        parts.append(_field(5, _field(1, name.encode()) + _field(2, version.encode())))
    return b"".join(parts)


def _field(number: int, payload: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    size, length = bytearray((number << 3 | 2,)), len(payload)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes(size) + payload


_ACKS: Final = {kind: _request(kind) for kind in Kind}
_START: Final = {kind: Holding(kind) for kind in Kind}

"""What a stream costs the publisher, without sockets: the part of delivery that is ours alone.

The same clients as in the load process (:mod:`bench.proxy`) talk to a publisher in this process. Timed is
what the publisher does: taking a new bundle in for every class, then dealing with the proxies' answers,
and with the answers to what follows. Divided by the number of streams, it is what has to shrink for the
last of a thousand proxies to be early.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import pstats
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from time import perf_counter_ns
from typing import Final

from bench import mesh, world
from bench.fleet import nodes
from bench.mesh import MeshSize
from bench.node import encode_node
from bench.proxy import Proxy
from bench.report import Figure
from bench.responses import Parser
from mizzen.bundle import Bundle, Entry, Table
from mizzen.compile import Compiler
from mizzen.identity import SpiffeId, TrustDomain
from mizzen.model.proxy import ProxyClass
from mizzen.model.world import Batch
from mizzen.render.discovery import parse_node
from mizzen.wire import TypeUrl, from_body
from mizzen_xds.change import Response
from mizzen_xds.dialect import DELTA
from mizzen_xds.publisher import Connection, Publisher
from mizzen_xds.settings import XdsSettings

_SIZE: Final = MeshSize(services=500)
_STREAMS: Final = 1_000
_EDITS: Final = 7

_EDITS_BY_NAME: Final[tuple[tuple[str, Callable[[int], Batch]], ...]] = (
    ("endpoint change", lambda step: world.replaced_endpoint(100 + step, _SIZE, 1)),
    ("new VirtualService", lambda step: world.batch(world.virtual_service(200 + step, 5))),
    ("new DestinationRule", lambda step: world.batch(world.destination_rule(300 + step, 5))),
    ("new Service", lambda step: world.batch(*world.service_objects(500 + step, _SIZE))),
)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class _Secrets:
    """The same two secrets for everyone: making certificates is not what is measured."""

    def __init__(self) -> None:
        named = {name: from_body(TypeUrl.SECRET, name, b"") for name in ("default", "ROOTCA")}
        self._table = Table({name: Entry(resource) for name, resource in named.items()})

    def secrets(self, _identity: SpiffeId) -> Table:
        return self._table


@dataclass(slots=True, eq=False)
class _Client:
    """A proxy, its class, and what it was sent and has not read."""

    proxy: Proxy
    proxies: ProxyClass
    connection: Connection | None = None
    unread: list[Response] = field(default_factory=list)


@dataclass(slots=True)
class _Cost:
    """Nanoseconds: of the compiler, of offering, of dealing with each round of answers."""

    compiling_ns: int = 0
    offering_ns: int = 0
    answering_ns: list[int] = field(default_factory=list)

    @property
    def publisher_ns(self) -> int:
        """What the publisher took."""
        return self.offering_ns + sum(self.answering_ns)


class _Hall:
    """A compiler and a publisher with their clients."""

    def __init__(self, profile: cProfile.Profile | None) -> None:
        self._profile = profile
        self._compiler = Compiler()
        self._compiler.commit(world.whole_mesh(_SIZE))
        self._publisher = Publisher(secrets=_Secrets(), clock=_Clock(), settings=XdsSettings())
        self._parser = Parser()
        self._clients: list[_Client] = []
        self._bundles: dict[ProxyClass, Bundle] = {}

    async def fill(self, streams: int) -> None:
        """Connect clients and bring them their first configuration."""
        for facts in nodes(_SIZE, streams):
            proxy = Proxy(encode_node(facts))
            requests = proxy.opening()
            node = parse_node(requests[0])
            client = _Client(proxy, self._compiler.classify(node))
            connection = client.connection = await self._publisher.connect(
                node=node,
                identity=SpiffeId(
                    trust_domain=TrustDomain(mesh.DOMAIN),
                    namespace=facts.namespace,
                    service_account=facts.service_account,
                ),
                dialect=DELTA,
                send=client.unread.extend,
            )
            self._clients.append(client)
            self._publisher.reclassify(node.id, client.proxies)
            for request in requests:
                connection.receive(request)
        self.commit(Batch())

    def commit(self, change: Batch) -> _Cost:
        """Bring a change to all clients, until none has anything to say."""
        cost = _Cost()
        start = perf_counter_ns()
        self._compiler.commit(change)
        fresh = {of: self._compiler.bundle(of) for of in {c.proxies: None for c in self._clients}}
        cost.compiling_ns = perf_counter_ns() - start
        cost.offering_ns = self._timed(lambda: self._offer(fresh))
        while answers := [pair for client in self._clients if (pair := self._read(client))[1]]:
            cost.answering_ns.append(self._timed(lambda: _answer(answers)))
        return cost

    def _offer(self, fresh: dict[ProxyClass, Bundle]) -> None:
        for of, bundle in fresh.items():
            if self._bundles.get(of) is not bundle:
                self._publisher.offer(of, bundle)
        self._bundles = fresh

    def _read(self, client: _Client) -> tuple[_Client, list[bytes]]:
        """Return what a client says to all that it was sent."""
        requests: list[bytes] = []
        for response in client.unread:
            parsed, nonce = self._parser.parse(b"".join(response.parts))
            requests += client.proxy.received(parsed, nonce)
        client.unread.clear()
        return client, requests

    def _timed(self, work: Callable[[], None]) -> int:
        if self._profile is not None:
            self._profile.enable()
        start = perf_counter_ns()
        work()
        took = perf_counter_ns() - start
        if self._profile is not None:
            self._profile.disable()
        return took


def _answer(answers: list[tuple[_Client, list[bytes]]]) -> None:
    for client, requests in answers:
        if client.connection is not None:
            for request in requests:
                client.connection.receive(request)


def measure(profile: cProfile.Profile | None = None) -> Iterator[Figure]:
    """Give the cost of each kind of change."""
    hall = _Hall(profile)
    asyncio.run(hall.fill(_STREAMS))
    gc.collect()
    gc.freeze()
    try:
        for name, edit in _EDITS_BY_NAME:
            yield _figure(name, [hall.commit(edit(step)) for step in range(_EDITS)])
    finally:
        gc.unfreeze()


def _figure(name: str, costs: list[_Cost]) -> Figure:
    rounds = zip(*(cost.answering_ns for cost in costs), strict=False)
    steps = [median(cost.offering_ns for cost in costs), *(median(each) for each in rounds)]
    shown = " + ".join(f"{step / _STREAMS / 1e3:.0f}" for step in steps)
    compiling = median(cost.compiling_ns for cost in costs) / 1e6
    return Figure(
        group=f"publisher alone, {_STREAMS:,} streams of as many classes",
        name=f"a stream's share of a {name}",
        value=median(cost.publisher_ns for cost in costs) / _STREAMS / 1e3,
        unit="µs",
        note=f"offer and answers {shown} µs; compiler {compiling:.0f} ms for all",
    )


def main() -> None:
    """Measure and print; with ``--profile`` print where the time goes."""
    parser = argparse.ArgumentParser(description="Measure the publisher without sockets.")
    parser.add_argument("--profile", action="store_true")
    profile = cProfile.Profile() if parser.parse_args().profile else None
    for figure in measure(profile):
        print(f"{figure.name}: {figure.value:.0f} {figure.unit} ({figure.note})")
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()

"""The xDS plane as the real Envoy sees it: what it takes, what it refuses, and what never breaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, Literal

import pytest
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment

from mizzen.bundle import Bundle
from mizzen.identity import DEFAULT_TRUST_DOMAIN
from mizzen.wire import TypeUrl
from mizzen_xds import Authenticator, Liveness, XdsSettings
from mizzen_xds.server import XdsServer
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    endpoints,
    host,
    listener,
    origin,
    route_configuration,
)
from tests.support.control_plane import CLASS, Plane, serving
from tests.support.real_envoy import RealEnvoy, running

_RESPONSE: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    """Run a server that says yes to everything; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_RESPONSE)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def shop(port: int, up: int, revision: int = 1) -> Bundle:
    """Return one listener with one host ``a`` behind which is one cluster."""
    return bundle(
        revision,
        cluster("one"),
        endpoints("one", up),
        listener("web", port, "web"),
        route_configuration("web"),
        host("web/a", "one", domains=["a"]),
    )


@asynccontextmanager
async def mesh(
    folder: Path,
    *,
    client: Literal["envoy_grpc", "google_grpc"] = "envoy_grpc",
    api: Literal["DELTA_GRPC", "GRPC"] = "DELTA_GRPC",
) -> AsyncIterator[tuple[Plane, RealEnvoy, Bundle, int]]:
    """Run a control plane and an Envoy that serves :func:`shop`."""
    port = free_port()
    async with upstream() as up, serving() as plane:
        made = shop(port, up)
        plane.publisher.offer(CLASS, made)
        async with running(plane.port, folder, client=client, api=api) as envoy:
            await envoy.until(lambda: envoy.answers(port, "a"), "an answer of host a")
            yield plane, envoy, made, port


async def settled(plane: Plane) -> None:
    """Wait until every proxy has acknowledged what it is to have."""
    async with asyncio.timeout(10):
        while not all(  # noqa: ASYNC110 - the proxy is a process
            proxy.is_up_to_date for proxy in plane.publisher.ledger.proxies()
        ):
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("api", ["DELTA_GRPC", "GRPC"])
@pytest.mark.parametrize("client", ["envoy_grpc", "google_grpc"])
async def test_envoy_serves_what_it_was_sent(
    tmp_path: Path,
    api: Literal["DELTA_GRPC", "GRPC"],
    client: Literal["envoy_grpc", "google_grpc"],
) -> None:
    """Both dialects, both of Envoy's gRPC clients: clusters, endpoints, listeners, routes, hosts."""
    async with mesh(tmp_path, api=api, client=client) as (plane, envoy, made, port):
        await settled(plane)
        after = changed(made, host("web/b", "one", domains=["b"]))
        plane.publisher.offer(CLASS, after)
        await envoy.until(lambda: envoy.answers(port, "b"), "an answer of host b")
        assert plane.publisher.ledger.refusals == ()


async def test_a_changed_cluster_is_in_use_as_soon_as_it_is_acknowledged(tmp_path: Path) -> None:
    """It warms again, and Envoy does not ask for its endpoints again: they are sent unasked."""
    async with mesh(tmp_path) as (plane, envoy, made, _):
        await settled(plane)
        again = cluster("one", connect_s=7)
        plane.publisher.offer(CLASS, changed(made, again))
        await settled(plane)
        assert await envoy.warming_clusters() == set()
        assert await envoy.active_clusters() == {"one": again.resource.version}


async def test_a_cluster_without_endpoints_does_not_stay_warming(tmp_path: Path) -> None:
    """Endpoints that there are none of are answered as removed, which ends Envoy's waiting."""
    async with mesh(tmp_path) as (plane, envoy, made, _):
        plane.publisher.offer(CLASS, changed(made, cluster("bare")))
        await settled(plane)
        assert await envoy.warming_clusters() == set()
        assert "bare" in await envoy.active_clusters()


async def test_a_listener_whose_routes_have_no_host_opens_all_the_same(tmp_path: Path) -> None:
    """Envoy waits for a word about hosts; without one its listener would stay closed."""
    async with mesh(tmp_path) as (plane, envoy, made, _):
        port = free_port()
        bare = changed(made, listener("bare", port, "bare"), route_configuration("bare"))
        plane.publisher.offer(CLASS, bare)
        await envoy.until(lambda: envoy.answers(port, "any", 404), "an open listener")
        peopled = changed(bare, host("bare/any", domains=["any"]))
        plane.publisher.offer(CLASS, peopled)
        await envoy.until(lambda: envoy.answers(port, "any"), "an answer of its first host")


async def test_of_a_refused_listener_response_the_good_ones_are_in_force(tmp_path: Path) -> None:
    """LDS and CDS: Envoy names the bad one, which is spared it from then on; the other one serves."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        other = free_port()
        bad, good = listener("bad", port, "web"), listener("good", other, "web")
        plane.publisher.offer(CLASS, changed(made, bad, good))
        await envoy.until(lambda: envoy.answers(other, "a"), "an answer of the good listener")
        await settled(plane)
        (refusal,) = plane.publisher.ledger.refusals
        (held,) = plane.publisher.ledger.quarantines()
        assert refusal.names == (held.name,) == ("bad",)
        assert "duplicate address" in refusal.text
        assert held.version == bad.resource.version


async def test_of_a_refused_host_response_the_guilty_one_is_found_and_the_rest_delivered(
    tmp_path: Path,
) -> None:
    """VHDS: all or nothing, and Envoy names no host; halving finds it, provenance names its object."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        hosts = [host(f"web/h{i}", domains=[f"h{i}"]) for i in range(9)]
        thief = host("web/thief", domains=["a"])
        plane.publisher.offer(CLASS, changed(made, *hosts, thief))
        for i in range(9):
            await envoy.until(partial(envoy.answers, port, f"h{i}"), f"an answer of h{i}")
        await settled(plane)
        (held,) = plane.publisher.ledger.quarantines()
        assert held.name == "web/thief"
        assert held.origins == (origin("thief"),)
        assert "domain a" in held.text
        assert plane.publisher.ledger.liveness([origin("thief"), origin("h3")]) == {
            origin("thief"): Liveness(live=0, concerned=1),
            origin("h3"): Liveness(live=1, concerned=1),
        }


async def test_a_resource_that_gets_worse_stays_as_it_was(tmp_path: Path) -> None:
    """The version last accepted stays in force, for this proxy and for one that comes later."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        first = changed(made, host("web/b", domains=["b"], status=201))
        plane.publisher.offer(CLASS, first)
        await envoy.until(lambda: envoy.answers(port, "b", 201), "an answer of b")
        await settled(plane)
        worse = changed(first, host("web/b", domains=["b", "a"], status=202))
        plane.publisher.offer(CLASS, worse)
        await envoy.until(lambda: _has_refused(plane), "a refusal")
        await settled(plane)
        assert await envoy.get(port, "b") == 201
        second = tmp_path / "second"
        second.mkdir()
        async with running(plane.port, second, node=envoy.node) as newcomer:
            await newcomer.until(lambda: _are(plane, 2), "the newcomer connected")
            await settled(plane)
            assert len(plane.publisher.ledger.refusals) == 1
        mended = changed(worse, host("web/b", domains=["b", "c"], status=203))
        plane.publisher.offer(CLASS, mended)
        await envoy.until(lambda: envoy.answers(port, "c", 203), "an answer of the mended host")
        assert plane.publisher.ledger.quarantines() == ()


async def _has_refused(plane: Plane) -> bool:
    return bool(plane.publisher.ledger.refusals)


async def test_domains_move_between_hosts_without_being_missed(tmp_path: Path) -> None:
    """Hosts that exchange domains, or take those of a removed one, travel in one response."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        before = changed(
            made,
            host("web/x", domains=["x", "shared"]),
            host("web/y", domains=["y"]),
            host("web/old", domains=["old"]),
        )
        plane.publisher.offer(CLASS, before)
        await envoy.until(lambda: envoy.answers(port, "shared"), "an answer of the shared domain")
        after = changed(
            before,
            host("web/x", domains=["x"]),
            host("web/y", domains=["y", "shared"], status=204),
            host("web/new", domains=["old"], status=205),
            without=[(TypeUrl.VIRTUAL_HOST, "web/old")],
        )
        plane.publisher.offer(CLASS, after)
        await envoy.until(lambda: envoy.answers(port, "shared", 204), "the domain at its new host")
        assert await envoy.get(port, "old") == 205
        assert plane.publisher.ledger.refusals == ()


async def test_no_request_fails_while_routes_move_between_clusters(tmp_path: Path) -> None:
    """Make before break: under load, each revision names a new cluster and drops the one before."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        bad: list[int] = []
        is_over = False

        async def load() -> None:
            while not is_over:
                status = await envoy.get(port, "a")
                if status != 200:
                    bad.append(status)

        up = _port_of(made)
        async with asyncio.TaskGroup() as tasks:
            loads = [tasks.create_task(load()) for _ in range(4)]
            now, last = made, "one"
            for i in range(20):
                name = f"next{i}"
                now = changed(
                    now,
                    cluster(name),
                    endpoints(name, up),
                    host("web/a", name, domains=["a"]),
                    without=[(TypeUrl.CLUSTER, last), (TypeUrl.ENDPOINT, last)],
                )
                plane.publisher.offer(CLASS, now)
                await settled(plane)
                last = name
                plane.clock.advance(timedelta(seconds=6))
            is_over = True
        assert all(task.done() for task in loads)
        await envoy.until(lambda: _only(envoy, last), "the old clusters gone")
        assert bad == []
        assert plane.publisher.ledger.refusals == ()


def _port_of(made: Bundle) -> int:
    entry = made.get(TypeUrl.ENDPOINT, "one")
    assert entry is not None
    group = ClusterLoadAssignment.FromString(entry.resource.body).endpoints[0]
    port: int = group.lb_endpoints[0].endpoint.address.socket_address.port_value
    return port


async def _only(envoy: RealEnvoy, name: str) -> bool:
    return set(await envoy.active_clusters()) == {name}


async def test_a_restarted_control_plane_sends_nothing_again(tmp_path: Path) -> None:
    """Envoy brings its versions, virtual hosts' included; of 300 hosts not one is sent again."""
    async with mesh(tmp_path) as (plane, envoy, made, port):
        many = changed(made, *(host(f"web/h{i}", domains=[f"h{i}"]) for i in range(300)))
        plane.publisher.offer(CLASS, many)
        await envoy.until(lambda: envoy.answers(port, "h299"), "an answer of the last host")
        await settled(plane)
        sent = sum(plane.publisher.metrics.response_bytes_total.values())
        xds_port = plane.port
        assert plane.server is not None
        await plane.server.stop()
        authenticator = Authenticator(trust_domain=DEFAULT_TRUST_DOMAIN)
        again = XdsServer(plane.publisher, authenticator, insecure_address=f"127.0.0.1:{xds_port}")
        await again.start()
        try:
            await envoy.until(lambda: _are(plane, 1), "the proxy back")
            await settled(plane)
            more = sum(plane.publisher.metrics.response_bytes_total.values()) - sent
            assert await envoy.get(port, "h17") == 200
            assert more <= sent / 100
        finally:
            await again.stop()


async def _are(plane: Plane, count: int) -> bool:
    return len(plane.publisher.ledger.proxies()) == count


async def test_a_configuration_larger_than_a_message_arrives(tmp_path: Path) -> None:
    """gRPC's C client refuses 4 MiB; split well below that, 8 MB of virtual hosts arrive."""
    port = free_port()
    domains = [[f"h{i}-{k}-{'x' * 60}" for k in range(60)] for i in range(1500)]
    many = [host(f"web/h{i}", domains=[f"h{i}", *domains[i]]) for i in range(1500)]
    assert sum(len(one.resource.body) for one in many) > 6_000_000
    async with upstream() as up, serving(XdsSettings()) as plane:
        plane.publisher.offer(CLASS, changed(shop(port, up), *many))
        async with running(plane.port, tmp_path, client="google_grpc") as envoy:
            await envoy.until(lambda: envoy.answers(port, "h1499"), "an answer of the last host")
            await settled(plane)
            assert await envoy.counter("control_plane.connected_state") == 1

"""The load generator against a delta ADS server of real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bench.fleet import Awaited, Fleet, FleetError, nodes
from bench.mesh import MeshSize
from tests.unit.bench.fake_ads import (
    CLUSTER,
    ENDPOINT,
    ROUTE,
    SECRET,
    VIRTUAL_HOST,
    FakeAds,
    cluster,
    small_mesh,
    virtual_host,
)

_SERVICES = 40
_PROXIES = 5
_HOST = "svc-0003.shop.svc.cluster.local"


@pytest_asyncio.fixture
async def ads() -> AsyncIterator[FakeAds]:
    """A server with a small mesh."""
    server = FakeAds(small_mesh(_SERVICES))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def fleet(ads: FakeAds) -> Iterator[Fleet]:
    """A load process that aims at the server."""
    with Fleet(ads.port) as process:
        yield process


async def _connect(fleet: Fleet) -> int:
    arrivals = await asyncio.to_thread(
        fleet.connect,
        nodes(MeshSize(services=_SERVICES), _PROXIES),
        clusters=_SERVICES,
        virtual_hosts=_SERVICES,
    )
    return arrivals.received_bytes


async def test_a_proxy_asks_for_what_an_envoy_asks_for(ads: FakeAds, fleet: Fleet) -> None:
    """Wildcards for clusters and listeners, names for what these name, nothing for virtual hosts."""
    await _connect(fleet)
    stream = ads.streams[0]
    first = [each for each in stream.requests if not each.response_nonce]
    asked = {each.type_url: list(each.resource_names_subscribe) for each in first}
    assert first[0].type_url == CLUSTER
    assert asked[CLUSTER] == asked[VIRTUAL_HOST] == []
    assert asked[ENDPOINT] == sorted(ads.resources[CLUSTER])
    assert asked[SECRET] == ["ROOTCA", "default"]
    assert asked[ROUTE] == ["80"]


async def test_every_response_is_acknowledged_once(ads: FakeAds, fleet: Fleet) -> None:
    """The node comes with the first request alone, and each nonce comes back."""
    await _connect(fleet)
    await asyncio.to_thread(fleet.settle, 0.1)
    requests = ads.streams[0].requests
    nonces = [each.response_nonce for each in requests if each.response_nonce]
    assert len(nonces) == len(set(nonces)) == 6
    assert [bool(each.node.id) for each in requests] == [True] + [False] * (len(requests) - 1)
    assert {stream.node_id for stream in ads.streams} == {
        each.id for each in nodes(MeshSize(services=_SERVICES), _PROXIES)
    }


async def test_a_push_is_seen_on_every_proxy(ads: FakeAds, fleet: Fleet) -> None:
    """A changed virtual host is what was waited for; another one is not."""
    await _connect(fleet)
    await asyncio.to_thread(fleet.arm, Awaited(kind="VIRTUAL_HOST", contains=_HOST))
    ads.push(VIRTUAL_HOST, f"80/{_HOST}:80", virtual_host(f"80/{_HOST}:80", "other"))
    arrivals = await asyncio.to_thread(fleet.wait)
    assert len(arrivals.arrived_ns) == _PROXIES
    assert all(
        0 < at <= acked for at, acked in zip(arrivals.arrived_ns, arrivals.acked_ns, strict=True)
    )


async def test_a_new_cluster_is_followed_to_its_endpoints(ads: FakeAds, fleet: Fleet) -> None:
    """What a new cluster names is subscribed to, and only that."""
    await _connect(fleet)
    name = "outbound|80||new.shop.svc.cluster.local"
    ads.resources[ENDPOINT][name] = ads.resources[ENDPOINT][f"outbound|80||{_HOST}"]
    await asyncio.to_thread(fleet.arm, Awaited(kind="ENDPOINT", contains=name))
    ads.push(CLUSTER, name, cluster(name))
    await asyncio.to_thread(fleet.wait)
    asked = [each for each in ads.streams[0].requests if each.resource_names_subscribe]
    assert list(asked[-1].resource_names_subscribe) == [name]


async def test_a_reconnecting_proxy_brings_its_versions(ads: FakeAds, fleet: Fleet) -> None:
    """Nothing changed, so nothing but the transport's own frames is sent."""
    first = await _connect(fleet)
    await asyncio.to_thread(fleet.reconnect)
    again = await asyncio.to_thread(fleet.settle, 0.2)
    assert again < first / 20
    versions = {
        each.type_url: len(each.initial_resource_versions) for each in ads.streams[0].requests
    }
    assert versions[CLUSTER] == versions[ENDPOINT] == versions[VIRTUAL_HOST] == _SERVICES


async def test_waiting_in_vain_says_for_what(fleet: Fleet) -> None:
    """A resource that never comes is named in the error."""
    await _connect(fleet)
    await asyncio.to_thread(fleet.arm, Awaited(kind="CLUSTER", contains="nowhere"))
    with pytest.raises(FleetError, match="CLUSTER nowhere"):
        await asyncio.to_thread(fleet.wait, 0.2)

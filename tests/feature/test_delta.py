"""Delta ADS over real gRPC, with bundles made by hand."""

from __future__ import annotations

from mizzen.bundle import Bundle
from mizzen.wire import TypeUrl
from tests.support.ads import AdsClient, node_id, stream
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    endpoints,
    host,
    listener,
    route_configuration,
)
from tests.support.control_plane import CLASS, serving


def _shop(services: int = 3) -> Bundle:
    names = [f"outbound|80||s{i}.shop" for i in range(services)]
    return bundle(
        1,
        *(cluster(name) for name in names),
        *(endpoints(name, 8000) for name in names),
        listener("0.0.0.0_80", 18080, "80"),
        route_configuration("80"),
        *(host(f"80/s{i}.shop", name) for i, name in enumerate(names)),
    )


async def test_a_proxy_is_brought_to_its_whole_configuration() -> None:
    """Everything that its class's bundle has arrives, virtual hosts included, and nothing else."""
    shop = _shop()
    async with serving() as plane:
        plane.publisher.offer(CLASS, shop)
        async with stream(plane.port, AdsClient(node_id())) as client:
            await client.until(lambda: len(client.has[TypeUrl.VIRTUAL_HOST]) == 3)
            for of in TypeUrl:
                expected = {
                    name: entry.resource.version
                    for table in shop.layers(of)
                    for name, entry in table.items()
                }
                assert {name: got.version for name, got in client.has[of].items()} == expected


async def test_a_change_sends_only_what_differs() -> None:
    """One changed virtual host is one small response, and nothing of another type."""
    shop = _shop()
    async with serving() as plane:
        plane.publisher.offer(CLASS, shop)
        async with stream(plane.port, AdsClient(node_id())) as client:
            await client.until(lambda: len(client.has[TypeUrl.VIRTUAL_HOST]) == 3)
            before = len(client.received)
            after = host("80/s1.shop", status=204)
            plane.publisher.offer(CLASS, changed(shop, after))
            await client.until_has(TypeUrl.VIRTUAL_HOST, "80/s1.shop", after.resource.version)
            assert [r.names for r in client.received[before:]] == [("80/s1.shop",)]


async def test_a_proxy_that_comes_back_is_sent_nothing_that_it_has() -> None:
    """With its versions in hand, a reconnect costs two empty answers: Envoy waits for wildcards."""
    shop = _shop(200)
    async with serving() as plane:
        plane.publisher.offer(CLASS, shop)
        client = AdsClient(node_id())
        async with stream(plane.port, client):
            await client.until(lambda: len(client.has[TypeUrl.VIRTUAL_HOST]) == 200)
        first = client.bytes_received
        client.received.clear()
        async with stream(plane.port, client):
            await client.ask(TypeUrl.ENDPOINT, *client.has[TypeUrl.ENDPOINT])
            await client.ask(TypeUrl.ROUTE, "80")
            await client.ask(TypeUrl.VIRTUAL_HOST)
            await client.until(lambda: len(client.received) == 3)
        assert all(not r.names and not r.removed for r in client.received)
        assert client.bytes_received <= first / 100

"""What stands on objects at a real API server: conditions, the one row, Events, and how rarely it is written."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from mizzen.identity import DEFAULT_TRUST_DOMAIN
from mizzen.model.allocation import addresses_at, choices
from mizzen.wire import TypeUrl
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_operator.kube.client import ApiClient, ApiError
from mizzen_operator.kube.paths import path
from tests.support.cluster_objects import apply, apply_crds
from tests.support.kube_api import ApiServer
from tests.support.kube_shop import Shop, service, told
from tests.support.status_replica import StatusReplica

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import ManualClock

pytestmark = pytest.mark.kube

VHDS: Final = TypeUrl.VIRTUAL_HOST


async def test_an_object_says_that_it_is_live_on_the_proxies_that_it_concerns(
    shop: Shop, authority: Authority, clock: ManualClock, api_server: ApiServer
) -> None:
    """One write, of the generation that is meant, for which ``kubectl wait`` waits."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    replica.connect("a", shop.name)
    replica.connect("b", shop.name)
    replica.settle()
    await replica.look()
    found = await shop.conditions()
    assert told(found["Live"]) == ("True", "Live", "live on 2 of 2 proxies")
    assert told(found["Accepted"]) == ("True", "Accepted", "")
    assert told(found["Programmed"]) == ("True", "Programmed", "")
    assert {one["observedGeneration"] for one in found.values()} == {1}
    wait = ("wait", "--for=condition=Live", "vs/reviews", "-n", shop.name, "--timeout=5s")
    assert "condition met" in await asyncio.to_thread(api_server.kubectl, *wait)


async def test_a_change_to_one_object_is_three_writes_at_most(
    shop: Shop, authority: Authority, clock: ManualClock, api_server: ApiServer
) -> None:
    """Among many objects, and the row of the mesh counted in."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    for name in ("reviews", "ratings", "details"):
        await shop.virtual_service(name)
    await replica.read()
    replica.connect("a", shop.name)
    replica.settle()
    await _quiet(replica, clock)
    before, others = replica.writes, [await shop.raw(name) for name in ("ratings", "details")]
    changed = await shop.virtual_service(timeout="3s")
    await replica.read()
    for _ in range(4):
        await replica.look()
        clock.advance(timedelta(milliseconds=200))
    replica.settle()
    await _quiet(replica, clock)
    assert 1 <= replica.writes - before <= 3
    found = await shop.conditions()
    assert told(found["Live"]) == ("True", "Live", "live on 1 of 1 proxies")
    assert found["Live"]["observedGeneration"] == changed["metadata"]["generation"] == 2
    assert [await shop.raw(name) for name in ("ratings", "details")] == others


async def _quiet(replica: StatusReplica, clock: ManualClock) -> None:
    """Look until nothing is left to be said: for two minutes of the clock."""
    for _ in range(120):
        await replica.look()
        clock.advance(timedelta(seconds=1))


async def test_many_changes_are_a_few_writes_a_second(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """However many there are, and each of them is told of in the end."""
    names = [f"vs{number}" for number in range(30)]
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await replica.read()
    await replica.look()
    for name in names:
        await shop.virtual_service(name, route=[{"destination": {"host": "reviews"}}])
    await replica.read()
    written = [replica.writes]
    for _ in range(75):
        await replica.look()
        clock.advance(timedelta(milliseconds=200))
        written.append(replica.writes)
    assert max(last - first for first, last in zip(written, written[5:], strict=False)) <= 9
    assert written[-1] - written[0] <= 15 * 4 + 5
    stand = [told((await shop.conditions(name))["Live"]) for name in names]
    assert stand == [("True", "NoProxies", "concerns no proxy")] * 30


async def test_an_object_that_concerns_no_proxy_is_live_and_says_so(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Whoever waits for it does not wait for ever."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    await replica.look()
    found = await shop.conditions()
    assert told(found["Live"]) == ("True", "NoProxies", "concerns no proxy")


async def test_what_is_not_live_yet_is_not_said_to_be(
    shop: Shop, authority: Authority, clock: ManualClock, api_server: ApiServer
) -> None:
    """An older generation that was live does not make ``kubectl wait`` believe that the new one is."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    replica.connect("a", shop.name)
    replica.connect("b", shop.name).drain()
    replica.settle()
    await replica.look()
    await shop.virtual_service(timeout="3s")
    wait = ("wait", "--for=condition=Live", "vs/reviews", "-n", shop.name, "--timeout=1s")
    said = await asyncio.to_thread(lambda: api_server.kubectl(*wait, check=False))
    assert "timed out" in said
    await replica.read()
    replica.proxies[0].drain()
    clock.advance(timedelta(seconds=2))
    await replica.look()
    found = await shop.conditions()
    assert told(found["Live"]) == ("False", "Pending", "live on 1 of 2 proxies")
    replica.settle()
    clock.advance(timedelta(seconds=1))
    await replica.look()
    assert told((await shop.conditions())["Live"]) == ("True", "Live", "live on 2 of 2 proxies")


async def test_a_refusal_stands_on_the_object_with_envoys_words_and_clears_when_mended(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """And is an Event, told once."""

    def fault(of: TypeUrl, _name: str, body: bytes) -> str | None:
        return "invalid regex: missing )" if of is VHDS and b"broken" in body else None

    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    replica.connect("a", shop.name, fault=fault)
    replica.settle()
    await replica.look()
    await shop.virtual_service(headers={"request": {"set": {"x": "broken"}}})
    await replica.read()
    replica.settle()
    for _ in range(3):
        clock.advance(timedelta(seconds=2))
        await replica.look()
    found = await shop.conditions()
    assert told(found["Live"])[:2] == ("False", "Rejected")
    assert "live on 0 of 1 proxies; Envoy rejected it: invalid regex" in found["Live"]["message"]
    assert "Change the field that Envoy's message names" in found["Programmed"]["message"]
    (event,) = await shop.events("reviews")
    assert (event["type"], event["reason"], event["count"]) == ("Warning", "Rejected", 1)
    assert event["involvedObject"]["uid"] == (await shop.raw())["metadata"]["uid"]
    await shop.virtual_service(headers={"request": {"set": {"x": "mended"}}})
    await replica.read()
    replica.settle()
    clock.advance(timedelta(seconds=2))
    await replica.look()
    assert told((await shop.conditions())["Live"]) == ("True", "Live", "live on 1 of 1 proxies")


async def test_a_missing_reference_is_not_accepted_and_says_what_to_do(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """It clears when what was missing comes, though nobody touched the object."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service("stars", route=[{"destination": {"host": "nowhere"}}])
    await replica.read()
    await replica.look()
    clock.advance(timedelta(seconds=2))
    await replica.look()
    status, reason, message = told((await shop.conditions("stars"))["Accepted"])
    assert (status, reason) == ("False", "RefNotFound")
    assert "MZ0301" in message
    assert "create the Service" in message
    await apply(shop.api, service("nowhere"), namespace=shop.name)
    await replica.read()
    clock.advance(timedelta(seconds=2))
    await replica.look()
    assert told((await shop.conditions("stars"))["Accepted"]) == ("True", "Accepted", "")


async def test_what_others_say_of_an_object_stays(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Only our own conditions are ours to write."""
    made = await shop.virtual_service()
    theirs = {"type": "Reconciled", "status": "True", "reason": "Theirs", "message": "by others"}
    where = path("networking.istio.io/v1", "virtualservices", shop.name, "reviews", "status")
    await shop.api.patch(where, {"status": {"conditions": [theirs]}})
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await replica.read()
    await replica.look()
    found = await shop.conditions()
    assert found["Reconciled"] == theirs
    assert set(found) == {"Reconciled", "Accepted", "Programmed", "Live"}
    assert made["metadata"]["generation"] == 1


async def test_addresses_that_hosts_were_given_stand_on_their_entry(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """As Istio writes them, and gone when the host has its own; what somebody else gave stays."""
    theirs = [{"value": "240.240.0.1", "host": "b.test"}]
    for name in ("a", "b"):
        await apply(shop.api, _entry(shop.name, name))
    await shop.api.patch(_status_of(shop.name, "b"), {"status": {"addresses": theirs}})
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await replica.read()
    await replica.look()
    four, six = addresses_at(choices("a.test")[0])
    ours = [{"value": four, "host": "a.test"}, {"value": six, "host": "a.test"}]
    assert (await shop.api.get(_status_of(shop.name, "a")))["status"]["addresses"] == ours
    assert (await shop.api.get(_status_of(shop.name, "b")))["status"]["addresses"] == theirs
    await apply(shop.api, _entry(shop.name, "a", "10.1.1.1"))
    await replica.read()
    clock.advance(timedelta(seconds=20))
    await replica.look()
    assert "addresses" not in (await shop.api.get(_status_of(shop.name, "a")))["status"]


def _entry(namespace: str, name: str, *addresses: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "hosts": [f"{name}.test"],
            "addresses": list(addresses),
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "10.2.0.1"}],
        },
    }


def _status_of(namespace: str, name: str) -> str:
    return path("networking.istio.io/v1", "serviceentries", namespace, name, "status")


async def test_what_was_written_enters_nothing_and_is_not_written_again(
    shop: Shop, authority: Authority, clock: ManualClock
) -> None:
    """Neither by the replica that wrote it nor by the one that takes over."""
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    replica.connect("a", shop.name)
    replica.settle()
    await replica.look()
    before = await shop.raw()
    again = await replica.reader.read()
    assert (dict(again.changes), dict(again.versions)) == ({}, {})
    replica.is_leader = False
    await replica.look()
    follower = StatusReplica(shop.api, authority, clock, name="b", namespaces=[shop.name])
    follower.is_leader = True
    await follower.read()
    follower.connect("a", shop.name)
    follower.settle()
    for _ in range(20):
        await follower.look()
        clock.advance(timedelta(seconds=1))
    assert await shop.raw() == before


async def test_the_row_of_the_mesh_is_there_for_kubectl(
    shop: Shop, authority: Authority, clock: ManualClock, api_server: ApiServer
) -> None:
    """``kubectl get meshstatus`` shows it, wide as well, and a pod without a sidecar is named."""
    manifest = {"metadata": {"labels": {"istio-injection": "enabled"}}}
    await shop.api.patch(path("v1", "namespaces", None, shop.name), manifest)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare"},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }
    await apply(shop.api, pod, namespace=shop.name)
    replica = StatusReplica(shop.api, authority, clock, namespaces=[shop.name])
    replica.is_leader = True
    await shop.virtual_service()
    await replica.read()
    replica.connect("a", shop.name)
    replica.settle()
    for _ in range(5):
        await replica.look()
        clock.advance(timedelta(seconds=5))
    shown = await asyncio.to_thread(api_server.kubectl, "get", "mesh", "-o", "wide")
    heads, row = shown.splitlines()
    assert heads.split()[:5] == ["NAME", "READY", "PROXIES", "UP-TO-DATE", "REJECTING"]
    assert row.split()[:5] == ["mizzen", "True", "1", "1", "0"]
    raw = json.loads(await asyncio.to_thread(api_server.kubectl, "get", "mesh", "-o", "json"))
    status = raw["items"][0]["status"]
    assert status["uninjected"] == [f"{shop.name}/bare"]
    assert [one["code"] for one in status["problems"]] == ["MZ0601"]
    assert status["issues"] == 1
    described = await asyncio.to_thread(api_server.kubectl, "describe", "mesh", "mizzen")
    assert "kubectl rollout restart" in described
    pod_described = ("describe", "pod", "bare", "-n", shop.name)
    described = await asyncio.to_thread(api_server.kubectl, *pod_described)
    assert "NoSidecar" in described.partition("Events:")[2]


async def test_status_goes_on_after_an_outage_of_the_api_server(tmp_path: Path) -> None:
    """What could not be said meanwhile is said then, and nobody has to start anything anew."""
    clock = SystemClock()
    authority = Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, clock)
    with ApiServer(tmp_path) as server:
        async with ApiClient.from_kubeconfig(server.kubeconfig) as api:
            await apply_crds(api)
            shop = Shop(api, "shop")
            await shop.make()
            await shop.virtual_service()
            replica = StatusReplica(api, authority, clock, namespaces=["shop"])
            replica.is_leader = True
            await replica.read()
            task = asyncio.create_task(replica.status.run())
            try:
                await _wait_for_live(server)
                await shop.virtual_service(timeout="3s")
                await asyncio.to_thread(server.stop)
                with pytest.raises(ApiError):
                    await replica.read()
                await asyncio.to_thread(server.start)
                await replica.read()
                await _wait_for_live(server)
            finally:
                task.cancel()
                await asyncio.wait([task])
            assert (await shop.conditions())["Live"]["observedGeneration"] == 2


async def _wait_for_live(server: ApiServer) -> None:
    wait = ("wait", "--for=condition=Live", "vs/reviews", "-n", "shop", "--timeout=20s")
    await asyncio.to_thread(server.kubectl, *wait)

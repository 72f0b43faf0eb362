"""Replicas of the operator on a real API server: who is served, who writes, and what is kept where."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from mizzen.wire import TypeUrl
from mizzen_operator.kube.client import ApiClient, NotFoundError
from mizzen_operator.kube.paths import RESOURCE_OF, path
from tests.support.ads import (
    DELTA_METHOD,
    AdsClient,
    RawCall,
    Trust,
    first_request,
    node_id,
    open_channel,
    stream,
)
from tests.support.cluster_objects import apply_crds
from tests.support.operated import Operated, eventually, operated, token_for, until_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kube_api import ApiServer

pytestmark = pytest.mark.kube

Json = dict[str, Any]
_SYSTEM = "mizzen-system"
_INJECTOR = path(
    "admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", name="mizzen-injector"
)
_LEASE = path("coordination.k8s.io/v1", "leases", _SYSTEM, "mizzen")


@pytest_asyncio.fixture
async def api(own_server: ApiServer) -> AsyncIterator[ApiClient]:
    """A client of it, with the kinds and the control plane's namespace."""
    async with ApiClient.from_kubeconfig(own_server.kubeconfig) as client:
        await apply_crds(client)
        await _ensure_namespace(client, _SYSTEM)
        yield client


async def _ensure_namespace(api: ApiClient, name: str, **labels: str) -> str:
    item = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await api.patch(RESOURCE_OF["Namespace"].path(name=name), item, "apply", force=True)
    return name


async def _create(api: ApiClient, namespace: str, kind: str, name: str, **fields: Any) -> Json:  # noqa: ANN401  a manifest's
    item = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
    return await api.create(RESOURCE_OF[kind].path(namespace), item)


async def _pod(api: ApiClient, namespace: str, name: str, account: str) -> Json:
    spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]}
    return await _create(api, namespace, "Pod", name, spec=spec)


async def _roots(api: ApiClient, namespace: str) -> str:
    """The roots that pods of a namespace are given, empty where there are none."""
    try:
        found = await api.get(RESOURCE_OF["ConfigMap"].path(namespace, "mizzen-ca-root-cert"))
    except NotFoundError:
        return ""
    return str(found["data"]["root-cert.pem"])


async def test_a_replica_is_ready_once_it_has_read_everything(
    api: ApiClient, own_server: ApiServer
) -> None:
    """And then says what it counts; it is healthy all the while."""
    async with operated(own_server.kubeconfig) as running:
        assert (await running.ask("/healthz"))[0] == 200
        await until_ready(running)
        metrics = (await running.ask("/metrics"))[1]
        for name in ("lease_held", "sweeps_total", "token_reviews_total", "objects"):
            assert f"mizzen_operator_{name}" in metrics
    assert running.has_logged("everything read")
    assert running.has_logged("stopped")
    lease = await api.get(_LEASE)
    assert not lease["spec"].get("holderIdentity"), "given up at the end"


async def test_the_roots_are_in_every_namespace(api: ApiClient, own_server: ApiServer) -> None:
    """In those that were there, in one that comes, and again where somebody took them away."""
    home = await _ensure_namespace(api, "roots-before")
    async with operated(own_server.kubeconfig):
        await eventually(lambda: _roots(api, home))
        late = await _ensure_namespace(api, "roots-after")
        await eventually(lambda: _roots(api, late))
        wanted = await _roots(api, home)
        assert wanted.startswith("-----BEGIN CERTIFICATE-----")
        assert await _roots(api, late) == wanted
        place = RESOURCE_OF["ConfigMap"].path(late, "mizzen-ca-root-cert")
        await api.delete(place)
        await eventually(lambda: _roots(api, late))
        await api.patch(place, {"data": {"root-cert.pem": "mine"}})

        async def is_mended() -> bool:
            return await _roots(api, late) == wanted

        await eventually(is_mended)


async def test_a_token_of_a_pod_lets_that_pod_in(api: ApiClient, own_server: ApiServer) -> None:
    """Under its account's identity, with everything that it is to have."""
    home = await _ensure_namespace(api, "tokens")
    await _create(api, home, "ServiceAccount", "web")
    await _create(api, home, "Service", "shop", spec={"ports": [{"name": "http", "port": 80}]})
    pod = await _pod(api, home, "web-0", "web")
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        token = await token_for(api, home, "web", pod=pod)
        client = AdsClient(node_id("web-0", home), service_account="web")
        trust = Trust(roots_pem=await _trusted(api))
        async with stream(running.secure, client, token=token, trust=trust):
            await client.until_has(TypeUrl.CLUSTER, f"outbound|80||shop.{home}.svc.cluster.local")


async def test_the_settings_of_the_mesh_are_in_force(api: ApiClient, own_server: ApiServer) -> None:
    """A namespace that they do not look at is unknown to proxies until its labels are others."""
    home, other = [await _ensure_namespace(api, f"settings-{one}") for one in ("home", "other")]
    asked = "{key: settings-view, operator: NotIn, values: ['no']}"
    config = {"mesh": f"discoverySelectors: [{{matchExpressions: [{asked}]}}]"}
    await _create(api, home, "ServiceAccount", "web")
    for namespace in (home, other):
        spec = {"ports": [{"name": "http", "port": 80}]}
        await _create(api, namespace, "Service", "shop", spec=spec)
    place = RESOURCE_OF["Namespace"].path(name=other)
    await api.patch(place, {"metadata": {"labels": {"settings-view": "no"}}})
    await _create(api, _SYSTEM, "ConfigMap", "mizzen", data=config)
    try:
        pod = await _pod(api, home, "web-0", "web")
        async with operated(own_server.kubeconfig) as running:
            await until_ready(running)
            token = await token_for(api, home, "web", pod=pod)
            client = AdsClient(node_id("web-0", home), service_account="web")
            trust = Trust(roots_pem=await _trusted(api))
            async with stream(running.secure, client, token=token, trust=trust):
                cluster = "outbound|80||shop.%s.svc.cluster.local"
                await client.until_has(TypeUrl.CLUSTER, cluster % home)
                assert cluster % other not in client.has[TypeUrl.CLUSTER]
                await api.patch(place, {"metadata": {"labels": {"settings-view": "yes"}}})
                await client.until_has(TypeUrl.CLUSTER, cluster % other)
    finally:
        await api.delete(RESOURCE_OF["ConfigMap"].path(_SYSTEM, "mizzen"))


async def test_nobody_else_is_let_in(api: ApiClient, own_server: ApiServer) -> None:
    """Not another pod with that token, nor a token for somebody else or of nobody."""
    home = await _ensure_namespace(api, "strangers")
    for account in ("web", "bank"):
        await _create(api, home, "ServiceAccount", account)
    pod = await _pod(api, home, "web-0", "web")
    await _pod(api, home, "bank-0", "bank")
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        bound = await token_for(api, home, "web", pod=pod)
        free = await token_for(api, home, "web")
        elsewhere = await token_for(api, home, "web", audience="istio-ca")
        denied, unknown = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
        refused = [
            (bound, "web-1", denied, "token of pod web-0"),
            (free, "bank-0", denied, "which is of bank"),
            (bound, "bank-0", denied, "which is of bank"),
            (elsewhere, "web-0", unknown, "not valid"),
            ("nonsense", "web-0", unknown, "not valid"),
            ("", "web-0", unknown, "neither"),
        ]
        trust = Trust(roots_pem=await _trusted(api))
        for token, name, code, words in refused:
            said = await _refusal(running, trust, token, node_id(name, home))
            assert said[0] is code
            assert words in said[1]


async def test_two_replicas_have_one_authority_and_one_writer(
    api: ApiClient, own_server: ApiServer
) -> None:
    """The first to come makes the keys; when the writer ends, the other takes over at once."""
    config = own_server.kubeconfig
    async with operated(config, "mizzen-b") as second, operated(config, "mizzen-a") as first:
        await until_ready(first)
        await until_ready(second)

        async def holder() -> str:
            return str((await api.get(_LEASE))["spec"].get("holderIdentity", ""))

        await eventually(holder)
        held_by = await holder()
        assert held_by in ("mizzen-a", "mizzen-b")
        ending, other = (first, "mizzen-b") if held_by == "mizzen-a" else (second, "mizzen-a")
        ending.stop.set()

        async def is_other() -> bool:
            return await holder() == other

        await eventually(is_other)
        secret = await api.get(RESOURCE_OF["Secret"].path(_SYSTEM, "mizzen-ca"))
        assert list(secret["data"]) == ["authority.json"]
        assert sum(one.has_logged("lease taken") for one in (first, second)) == 2


async def test_pods_are_injected_when_they_are_made(api: ApiClient, own_server: ApiServer) -> None:
    """The API server asks over TLS that our own authority vouches for; also after a renewal of it all."""
    home = await _ensure_namespace(api, "injected", **{"istio-injection": "enabled"})
    outside = await _ensure_namespace(api, "outside")
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        await eventually(lambda: _points_to(api, running))
        made = await _pod(api, home, "first", "default")
        assert _containers(made) > {"app"}
        plain = await _pod(api, outside, "first", "default")
        assert _containers(plain) == {"app"}
        await asyncio.to_thread(running.operator.replace_certificates)
        again = await _pod(api, home, "second", "default")
        assert _containers(again) > {"app"}
    # Nobody answers now: a pod outside the mesh is none the worse for it.
    await _pod(api, outside, "second", "default")


async def test_a_webhook_that_somebody_removed_is_made_again(
    api: ApiClient, own_server: ApiServer
) -> None:
    """By the replica that begins next, at the latest."""
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        await eventually(lambda: _is_there(api, _INJECTOR))
        before = await api.get(_INJECTOR)
    await api.delete(_INJECTOR)
    async with operated(own_server.kubeconfig):
        await eventually(lambda: _is_there(api, _INJECTOR))
        after = await api.get(_INJECTOR)
    assert len(after["webhooks"]) == len(before["webhooks"])


async def test_what_was_made_goes_with_what_was_installed(
    api: ApiClient, own_server: ApiServer
) -> None:
    """Everything has the installed ClusterRole as its owner, so that an uninstall leaves nothing."""
    system = await _ensure_namespace(api, "mizzen-owned")
    roles = path("rbac.authorization.k8s.io/v1", "clusterroles")
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "mizzen"},
    }
    made = await api.create(roles, role)
    try:
        async with operated(own_server.kubeconfig, namespace=system) as running:
            await until_ready(running)
            places = (
                RESOURCE_OF["ConfigMap"].path(system, "mizzen-ca-root-cert"),
                RESOURCE_OF["Secret"].path(system, "mizzen-ca"),
                path("coordination.k8s.io/v1", "leases", system, "mizzen"),
                _INJECTOR,
            )
            for place in places:
                await eventually(partial(_is_owned, api, place, made))
    finally:
        await api.delete(f"{roles}/mizzen")


async def _is_owned(api: ApiClient, place: str, owner: Json) -> bool:
    if not await _is_there(api, place):
        return False
    found = (await api.get(place))["metadata"].get("ownerReferences", [])
    return [one["uid"] for one in found] == [owner["metadata"]["uid"]]


async def _points_to(api: ApiClient, running: Operated) -> bool:
    """Whether the API server asks this replica; the one before may have left its own address."""
    if not await _is_there(api, _INJECTOR):
        return False
    config = await api.get(_INJECTOR)
    addresses = {one["clientConfig"]["url"] for one in config["webhooks"]}
    return all(f":{running.ports.webhooks}/" in address for address in addresses)


async def _is_there(api: ApiClient, place: str) -> bool:
    try:
        await api.get(place)
    except NotFoundError:
        return False
    return True


async def _trusted(api: ApiClient) -> bytes:
    """The roots that a pod would mount."""
    await eventually(lambda: _roots(api, _SYSTEM))
    return (await _roots(api, _SYSTEM)).encode()


async def _refusal(
    running: Operated, trust: Trust, token: str, node: str
) -> tuple[grpc.StatusCode, str]:
    """Return the status with which a proxy is turned away."""
    async with open_channel(running.secure, trust) as channel, asyncio.timeout(20):
        call = RawCall(channel, DELTA_METHOD, token)
        await call.say(first_request(TypeUrl.CLUSTER, AdsClient(node)))
        return await call.ending()


def _containers(pod: Json) -> set[str]:
    spec = pod["spec"]
    return {one["name"] for one in (*spec["containers"], *spec.get("initContainers", ()))}

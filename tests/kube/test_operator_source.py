"""A cluster as a source: what there is, what changes, and what vanishes while nobody watches."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from mizzen.model.discovery import LabelSelector
from mizzen.model.kube import ConfigMap, Pod, PrivateBytes, Secret, Service
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import labels
from mizzen.model.routing import VirtualService
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube.client import ApiClient, ApiError, ConflictError, NotFoundError
from mizzen_operator.kube.paths import RESOURCE_OF, WATCHED, Resource, path
from mizzen_operator.logs import Log
from mizzen_operator.sources.namespaces import ComingIntoView
from mizzen_operator.sources.objects import Objects
from tests.support.cluster_objects import apply_crds
from tests.support.detour import Detour
from tests.support.kube_api import ApiServer
from tests.support.kube_told import told_by
from tests.support.operated import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

pytestmark = pytest.mark.kube

Json = dict[str, Any]


async def _namespace(api: ApiClient, name: str) -> str:
    await api.create("/api/v1/namespaces", _object("v1", "Namespace", name))
    return name


def _object(version: str, kind: str, name: str, **fields: object) -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def _service(name: str, port: int = 80) -> Json:
    return _object("v1", "Service", name, spec={"ports": [{"name": "http", "port": port}]})


def _pod(name: str, account: str = "web") -> Json:
    spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": "app"}]}
    return _object("v1", "Pod", name, spec=spec)


def _create(api: ApiClient, namespace: str, item: Json) -> Awaitable[Json]:
    return api.create(RESOURCE_OF[item["kind"]].path(namespace), item)


async def test_everything_there_is_is_told_first(api: ApiClient, api_server: ApiServer) -> None:
    """The first batch is complete, however many objects there are."""
    home = await _namespace(api, "source-first")
    for number in range(3):
        await _create(api, home, _service(f"web-{number}"))
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        assert told.batches == 1
        assert told.names("Service", home) == {"web-0", "web-1", "web-2"}
        assert told.named("Namespace", home) is not None


async def test_each_change_is_told_once(api: ApiClient, api_server: ApiServer) -> None:
    """Created, changed in meaning, changed without meaning, deleted."""
    home = await _namespace(api, "source-changes")
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        made = await _create(api, home, _service("web"))
        await told.until(lambda: told.named("Service", "web", home))
        before = told.batches
        place = RESOURCE_OF["Service"].path(home, "web")
        await api.patch(place, {"metadata": {"annotations": {"somebody.else/touched": "yes"}}})
        await api.patch(place, {"spec": {"ports": [{"name": "http", "port": 8080}]}})

        def is_8080() -> bool:
            found = told.named("Service", "web", home)
            return isinstance(found, Service) and {port.number for port in found.ports} >= {8080}

        await told.until(is_8080)
        assert told.batches == before + 1
        await api.delete(place)
        await told.until(lambda: told.named("Service", "web", home) is None)
        assert made["metadata"]["name"] == "web"


async def test_a_mesh_object_carries_its_version(api: ApiClient, api_server: ApiServer) -> None:
    """By which a status says what it is a status of; one with errors keeps its last good version."""
    home = await _namespace(api, "source-mesh")
    route = {"route": [{"destination": {"host": "web"}}]}
    item = _object(
        "networking.istio.io/v1", "VirtualService", "web", spec={"hosts": ["web"], "http": [route]}
    )
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        made = await _create(api, home, item)
        await told.until(lambda: told.named("VirtualService", "web", home))
        found = told.named("VirtualService", "web", home)
        assert isinstance(found, VirtualService)
        assert told.versions[found.meta.key] == f"{made['metadata']['uid']}/1"
        place = RESOURCE_OF["VirtualService"].path(home, "web")
        await api.patch(place, {"spec": {"hosts": ["web", "web"]}})
        await told.until(lambda: told.versions[found.meta.key].endswith("/2"))


async def test_a_pod_that_has_ended_is_none(api: ApiClient, api_server: ApiServer) -> None:
    """Its address may be another's; the API server is not even asked for it."""
    home = await _namespace(api, "source-pods")
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        await _create(api, home, _pod("job"))
        await told.until(lambda: isinstance(told.named("Pod", "job", home), Pod))
        status = RESOURCE_OF["Pod"].path(home, "job") + "/status"
        await api.patch(status, {"status": {"phase": "Succeeded"}})
        await told.until(lambda: told.named("Pod", "job", home) is None)


async def test_only_referenced_secrets_are_fetched(api: ApiClient, api_server: ApiServer) -> None:
    """When something refers to them, and for as long as it does."""
    home = await _namespace(api, "source-secrets")
    for name in ("shown", "hidden"):
        await _create(api, home, _object("v1", "Secret", name, stringData={"tls.crt": "PEM"}))
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": ["web.example"],
        "tls": {"mode": "SIMPLE", "credentialName": "shown"},
    }
    gateway = _object("networking.istio.io/v1", "Gateway", "edge", spec={"servers": [server]})
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        assert told.names("Secret", home) == set()
        await _create(api, home, gateway)
        await told.until(lambda: told.names("Secret", home))
        found = told.named("Secret", "shown", home)
        assert isinstance(found, Secret)
        assert found.data == (("tls.crt", PrivateBytes(b"PEM")),)
        assert told.names("Secret", home) == {"shown"}
        await api.delete(RESOURCE_OF["Gateway"].path(home, "edge"))
        await told.until(lambda: not told.names("Secret", home))


async def test_a_gateways_secrets_are_fetched_from_where_its_pods_run(
    api: ApiClient, api_server: ApiServer
) -> None:
    """And of no other namespace, though one of its own has the name as well."""
    of, at = [await _namespace(api, f"source-gateway-{name}") for name in ("of", "at")]
    for namespace in (of, at):
        await _create(
            api, namespace, _object("v1", "Secret", "shown", stringData={"tls.crt": "PEM"})
        )
    server = {
        "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
        "hosts": ["web.example"],
        "tls": {"mode": "SIMPLE", "credentialName": "shown"},
    }
    spec = {"selector": {"istio": "source-gateway"}, "servers": [server]}
    router = _pod("gate")
    router["metadata"]["labels"] = spec["selector"]
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        await _create(api, of, _object("networking.istio.io/v1", "Gateway", "edge", spec=spec))
        await told.until(lambda: told.named("Gateway", "edge", of))
        assert told.names("Secret", at) == set()
        await _create(api, at, router)
        await told.until(lambda: told.names("Secret", at))
        assert (told.names("Secret", of), told.names("Secret", at)) == (set(), {"shown"})
        await api.delete(f"{RESOURCE_OF['Pod'].path(at, 'gate')}?gracePeriodSeconds=0")
        await told.until(lambda: not told.names("Secret", at))


async def test_config_maps_of_others_are_not_taken_in(
    api: ApiClient, api_server: ApiServer
) -> None:
    """Memory does not grow with what has nothing to do with the mesh."""
    home = await _namespace(api, "source-unrelated")
    await _create(api, home, _object("v1", "ConfigMap", "big", data={"text": "x" * 100_000}))
    async with told_by(api_server.kubeconfig, io.StringIO()) as (_, told):
        await _create(api, home, _object("v1", "ConfigMap", "bigger", data={"text": "x"}))
        await _create(api, home, _service("web"))
        await told.until(lambda: told.named("Service", "web", home))
        assert told.names("ConfigMap", home) == set()


async def test_a_kind_that_comes_later_is_watched_from_then_on(tmp_path: Path) -> None:
    """Its CRD was installed after us."""
    with ApiServer(tmp_path / "late") as server:
        async with (
            ApiClient.from_kubeconfig(server.kubeconfig) as api,
            told_by(server.kubeconfig, io.StringIO()) as (_, told),
        ):
            await apply_crds(api)
            item = _object(
                "security.istio.io/v1",
                "PeerAuthentication",
                "all",
                spec={"mtls": {"mode": "STRICT"}},
            )
            await _create(api, "default", item)
            await told.until(lambda: told.named("PeerAuthentication", "all", "default"))


async def test_what_vanishes_while_nobody_watches_is_taken_out(tmp_path: Path) -> None:
    """The watch is broken while objects are deleted, and then the server says 410 Gone."""
    log = io.StringIO()
    with ApiServer(tmp_path / "gone") as server:
        async with (
            ApiClient.from_kubeconfig(server.kubeconfig) as api,
            Detour(server.kubeconfig, server.url, tmp_path) as detour,
        ):
            for name in ("stays", "goes", "goes-too"):
                await _create(api, "default", _service(name))
            async with told_by(detour.kubeconfig, log) as (source, told):
                await _create(api, "default", _service("seen"))
                await told.until(lambda: told.named("Service", "seen", "default"))
                detour.cut()
                for name in ("goes", "goes-too"):
                    await api.delete(RESOURCE_OF["Service"].path("default", name))
                await _create(api, "default", _service("comes"))
                # A server that has begun anew knows no version of before.
                server.stop()
                server.start()
                detour.mend()
                await told.until(lambda: told.named("Service", "comes", "default"))
                await told.until(lambda: not told.named("Service", "goes", "default"))
                assert told.names("Service", "default") == {"kubernetes", "stays", "seen", "comes"}
                assert source.relists_total > 0
                assert source.swept_objects_total == 2


async def test_the_sweep_finds_what_no_watch_has_told(
    api: ApiClient, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason: what is known and not there is taken out, and nothing else."""
    home = await _namespace(api, "source-sweep")
    for name in ("stays", "goes"):
        await _create(api, home, _service(name))
    # A watch that is deaf to deletions.
    monkeypatch.setattr("mizzen_operator.sources.kube._Thread._remove", lambda _self, _raw: None)
    async with told_by(api_server.kubeconfig, io.StringIO(), sweep_seconds=0.5) as (source, told):
        await api.delete(RESOURCE_OF["Service"].path(home, "goes"))
        await told.until(lambda: not told.named("Service", "goes", home))
        assert told.names("Service", home) == {"stays"}
        assert source.swept_objects_total >= 1


async def test_an_outage_of_the_api_server_is_survived(tmp_path: Path) -> None:
    """What was known stays in force, and what changes afterwards is told."""
    log = io.StringIO()
    with ApiServer(tmp_path / "outage") as server:
        async with ApiClient.from_kubeconfig(server.kubeconfig) as api:
            await _create(api, "default", _service("before"))
            async with told_by(server.kubeconfig, log) as (_, told):
                server.stop()
                await api.close()
                server.start()
                assert told.named("Service", "before", "default") is not None
                await _create(api, "default", _service("after"))
                await told.until(lambda: told.named("Service", "after", "default"))
                server.restart_etcd()
                await _create(api, "default", _service("last"))
                await told.until(lambda: told.named("Service", "last", "default"))
    events = [json.loads(line) for line in log.getvalue().splitlines()]
    assert "error" not in {event["level"] for event in events}


async def test_errors_of_the_server_have_their_own_types(api: ApiClient) -> None:
    """So that who asks can tell what to do."""
    missing = path("v1", "services", "default", "missing")
    with pytest.raises(NotFoundError, match="missing"):
        await api.get(missing)
    await _create(api, "default", _service("twice"))
    with pytest.raises(ConflictError, match="already exists"):
        await _create(api, "default", _service("twice"))
    with pytest.raises(ApiError) as refused:
        await _create(api, "default", _object("v1", "Service", "Not_A_Name"))
    assert refused.value.status == 422


def test_the_kinds_that_are_watched_are_read() -> None:
    """A kind is listed under the group and a version that the edge knows."""
    from mizzen.api.kinds import BY_NAME  # noqa: PLC0415

    for resource in WATCHED:
        kind = BY_NAME[resource.group, resource.kind]
        assert resource.versions[0] in kind.versions


async def test_the_settings_of_the_mesh_are_told(api: ApiClient, api_server: ApiServer) -> None:
    """Of one ConfigMap in the mesh's namespace: there at first, changed, broken, gone; no sweep ends it."""
    home = await _namespace(api, "source-settings")
    place = RESOURCE_OF["ConfigMap"].path(home, "mizzen")
    kubeconfig = api_server.kubeconfig
    await _create(api, home, _settings("{connectTimeout: 1s}"))
    async with told_by(kubeconfig, io.StringIO(), sweep_seconds=0.1, namespace=home) as (it, told):

        def seconds() -> float | None:
            found = told.named("ConfigMap", "mizzen", home)
            timeout = (
                found.mesh.connect_timeout if isinstance(found, ConfigMap) and found.mesh else None
            )
            return timeout.total_seconds() if timeout else None

        assert seconds() == 1.0
        await api.patch(place, _settings("{connectTimeout: 2s}"))
        await told.until(lambda: seconds() == 2.0)
        await api.patch(place, _settings("{connectTimeout: soon}"))
        key = ObjectKey(DEFAULT_REGISTRY, "ConfigMap", home, "mizzen")
        await told.until(lambda: told.findings[key])
        assert seconds() == 2.0
        swept = it.sweeps_total

        async def is_swept() -> bool:
            return it.sweeps_total > swept + len(WATCHED)

        await eventually(is_swept)
        assert seconds() == 2.0
        await api.delete(place)
        await told.until(lambda: seconds() is None)
        await _create(api, home, _settings("{connectTimeout: 3s}"))
        await told.until(lambda: seconds() == 3.0)
    async with told_by(kubeconfig, io.StringIO()) as (_, told):
        assert told.named("ConfigMap", "mizzen", home) is None


def _settings(text: str) -> Json:
    return _object("v1", "ConfigMap", "mizzen", data={"mesh": text})


async def test_namespaces_come_into_view_and_go(api: ApiClient, api_server: ApiServer) -> None:
    """By the settings that are there at first, and by labels after; of the others nothing is told."""
    home, other = [await _namespace(api, f"view-{one}") for one in ("home", "other")]
    await _create(api, home, _settings("{discoverySelectors: [{matchLabels: {view: 'yes'}}]}"))
    await _create(api, other, _service("before"))
    place = RESOURCE_OF["Namespace"].path(name=other)
    async with told_by(api_server.kubeconfig, io.StringIO(), namespace=home) as (_, told):
        assert told.named("Namespace", other) is not None
        assert told.names("Service", other) == set()
        await _create(api, other, _service("after"))
        await _create(api, home, _service("seen"))
        await told.until(lambda: told.named("Service", "seen", home))
        await api.patch(place, {"metadata": {"labels": {"view": "yes"}}})
        await told.until(lambda: told.names("Service", other) == {"before", "after"})
        await _create(api, other, _service("later"))
        await told.until(lambda: told.named("Service", "later", other))
        await api.patch(place, {"metadata": {"labels": {"view": "no"}}})
        await told.until(lambda: told.names("Service", other) == set())
        assert told.named("Service", "seen", home) is not None
        await api.delete(RESOURCE_OF["ConfigMap"].path(home, "mizzen"))
        await told.until(lambda: told.names("Service", other) == {"before", "after", "later"})


async def test_what_comes_into_view_is_listed_when_it_can_be(
    api: ApiClient, api_server: ApiServer, tmp_path: Path
) -> None:
    """Not while the server is out of reach; a kind that it does not have is passed over."""
    other, kinds = await _namespace(api, "view-later"), ("Pod", "Service")
    for name in ("one", "two"):
        await _create(api, other, _service(name))
    named = MeshSettings(discovery=(LabelSelector(labels=labels({"view": "yes"})),))
    objects, log, told = Objects(named), io.StringIO(), list[Batch]()
    space = _object("v1", "Namespace", other)
    assert objects.take(space) is not None
    assert objects.take(await api.get(RESOURCE_OF["Service"].path(other, "one"))) is None
    space["metadata"]["labels"] = {"view": "yes"}
    objects.take(space)
    lacking = Resource("Service", "nobody.example", "services")
    served = (RESOURCE_OF["Namespace"], lacking, *(RESOURCE_OF[kind] for kind in kinds))
    coming = ComingIntoView(objects, Log(log, level="debug"), lambda: served)

    async def has_failed() -> bool:
        return "cannot list what came into view" in log.getvalue()

    async def has_come() -> bool:
        return {key.name for batch in told for key in batch.changes} == {"one", "two"}

    async with (
        Detour(api_server.kubeconfig, api_server.url, tmp_path) as detour,
        ApiClient.from_kubeconfig(detour.kubeconfig) as client,
    ):
        detour.cut()
        keeping = asyncio.create_task(coming.keep(client, told.extend))
        coming.look()
        await eventually(has_failed)
        assert told == []
        detour.mend()
        await eventually(has_come)
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping

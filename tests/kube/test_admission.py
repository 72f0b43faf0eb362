"""Validation by the operator's webhook, as people who apply manifests meet it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio
import yaml
from click.testing import CliRunner

from mizzen_cli.main import mizzen
from mizzen_operator.kube.client import ApiClient, ApiError
from mizzen_operator.kube.paths import RESOURCE_OF, path
from tests.support.cluster_objects import apply, apply_crds, ensure_namespace, path_of
from tests.support.operated import Operated, eventually, operated, until_ready

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.kube_api import ApiServer

pytestmark = pytest.mark.kube

Json = dict[str, Any]

_SYSTEM: Final = "mizzen-system"
_VALIDATOR: Final = path(
    "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", name="mizzen-validator"
)
# The header's name is wrong in itself, and no schema says so.
_ONLY_THE_WEBHOOK_KNOWS: Final[Json] = {"headers": {"request": {"set": {"not a name": "x"}}}}


@pytest_asyncio.fixture
async def api(own_server: ApiServer) -> AsyncIterator[ApiClient]:
    """A client of it, with the kinds and the namespaces."""
    async with ApiClient.from_kubeconfig(own_server.kubeconfig) as client:
        await apply_crds(client)
        for name in (_SYSTEM, "shop"):
            await ensure_namespace(client, name)
        yield client


@pytest_asyncio.fixture
async def replica(own_server: ApiServer, api: ApiClient) -> AsyncIterator[Operated]:
    """A replica whose webhooks the API server asks."""
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        await eventually(lambda: _is_asked(api))
        yield running


async def _is_asked(api: ApiClient) -> bool:
    """Tell whether validation is in force: an API server takes a moment after the object is there."""
    probe = routes("probe", **_ONLY_THE_WEBHOOK_KNOWS)
    try:
        await api.create(RESOURCE_OF["VirtualService"].path("shop"), probe, dryRun="All")
    except ApiError as error:
        return "validator.mizzen.dev" in error.message
    return False


def routes(name: str, **rule: Any) -> Json:  # noqa: ANN401  fields of a manifest
    """A VirtualService of host reviews."""
    destination = {"host": "reviews", "port": {"number": 80}}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "hosts": ["reviews"],
            "http": [{"route": [{"destination": destination}], **rule}],
        },
    }


def applied(own_server: ApiServer, manifest: Json) -> str:
    """What kubectl says to who applies a manifest, warnings included."""
    return own_server.kubectl(
        "apply", "--server-side", "-f", "-", given=yaml.safe_dump(manifest), check=False
    )


@pytest.mark.usefixtures("replica")
async def test_what_is_wrong_in_itself_is_refused_as_analyze_says_it(api: ApiClient) -> None:
    """The field, the code and the remedy stand in what kubectl prints."""
    with pytest.raises(ApiError) as refused:
        await apply(api, routes("wrong", **_ONLY_THE_WEBHOOK_KNOWS))
    assert refused.value.status == 422
    assert "spec.http[0].headers.request.set[not a name]" in refused.value.message
    assert "(MZ0103)" in refused.value.message


@pytest.mark.usefixtures("replica")
async def test_what_does_not_resolve_or_conflicts_is_warned_of(
    api: ApiClient, own_server: ApiServer
) -> None:
    """It is applied all the same, and the winner of a conflict is named."""
    said = await asyncio.to_thread(applied, own_server, routes("lonely"))
    assert "(MZ0301)" in said
    ports = [{"name": "http", "port": 80}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "reviews"}}
    await apply(api, {**service, "spec": {"ports": ports}}, namespace="shop")

    async def is_warned() -> bool:
        second = await asyncio.to_thread(applied, own_server, routes("second"))
        return "(MZ0401)" in second and "VirtualService shop/lonely" in second

    await eventually(is_warned)
    assert (await api.get(path_of(routes("second"))))["spec"]


async def test_nothing_is_refused_for_our_being_away_but_what_the_schemas_refuse(
    own_server: ApiServer, api: ApiClient
) -> None:
    """An outage of the control plane keeps nobody from working; CEL holds all the same."""
    async with operated(own_server.kubeconfig) as running:
        await until_ready(running)
        await eventually(lambda: _is_asked(api))
    assert await api.get(_VALIDATOR)
    await apply(api, routes("meanwhile", **_ONLY_THE_WEBHOOK_KNOWS))
    with pytest.raises(ApiError, match="route goes without redirect"):
        await apply(api, routes("two-actions", redirect={"uri": "/"}))


async def test_after_an_installation_every_check_passes(
    own_server: ApiServer, api: ApiClient, replica: Operated
) -> None:
    """Replicas, Lease, webhooks, roots and the mesh's own word, from the cluster's objects alone."""
    await _pod_of(api, "mizzen-0")
    arguments = ["check", "-o", "json", "--kubeconfig", str(own_server.kubeconfig)]

    async def failing() -> list[Json]:
        result = await asyncio.to_thread(CliRunner().invoke, mizzen, arguments)
        found: list[Json] = json.loads(result.stdout)
        return [one for one in found if one["state"] not in ("passed", "warning")]

    async def all_pass() -> bool:
        return not await failing()

    await eventually(all_pass)
    assert replica.has_logged("listening")


async def _pod_of(api: ApiClient, name: str) -> None:
    """Put there the pod that a replica of a test has not got."""
    labels = {"app.kubernetes.io/name": "mizzen"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": _SYSTEM, "labels": labels},
        "spec": {"containers": [{"name": "operator", "image": "mizzen/operator"}]},
    }
    await apply(api, pod)
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    place = RESOURCE_OF["Pod"].path(_SYSTEM, name)
    await api.patch(f"{place}/status", {"status": ready})

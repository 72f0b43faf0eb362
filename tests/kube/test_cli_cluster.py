"""``mizzen check`` and ``mizzen wait`` at a real API server."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from mizzen_cli.main import mizzen
from tests.support.cluster_objects import apply_crds, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from mizzen_operator.kube.client import ApiClient
    from tests.support.kube_api import ApiServer
    from tests.support.kube_shop import Shop

pytestmark = pytest.mark.kube

Json = dict[str, Any]


async def run(server: ApiServer, *words: str) -> Result:
    """Run the command beside this loop."""
    arguments = [*words, "--kubeconfig", str(server.kubeconfig)]
    return await asyncio.to_thread(CliRunner().invoke, mizzen, arguments)


async def checked(server: ApiServer, *words: str) -> dict[str, Json]:
    """What ``mizzen check`` says, by the checks' ids."""
    result = await run(server, "check", "-o", "json", *words)
    return {one["id"]: one for one in json.loads(result.stdout)}


async def test_a_fresh_cluster_is_fit(api_server: ApiServer) -> None:
    """Before the installation nothing is asked for that only the installation brings."""
    result = await run(api_server, "check", "--before")
    assert result.exit_code == 0, result.output
    assert "✓ the API server answers" in result.stdout
    found = await checked(api_server, "--before")
    assert {found[name]["state"] for name in ("api-reachable", "api-version", "may-install")} == {
        "passed"
    }


async def test_without_an_installation_what_is_missing_is_named(
    api: ApiClient, api_server: ApiServer
) -> None:
    """What rests on replicas is skipped, not failed ten times over."""
    await apply_crds(api)
    result = await run(api_server, "check", "--control-plane", "nowhere")
    assert result.exit_code == 1
    assert "no replica is in namespace nowhere" in result.stdout
    found = await checked(api_server, "--control-plane", "nowhere")
    assert found["kinds-served"]["state"] == "passed"
    assert found["replicas-ready"]["state"] == "failed"
    assert found["replicas-ready"]["remedy"]
    assert found["leader-there"]["state"] == "skipped"


async def test_a_cluster_that_is_not_there_is_said(api_server: ApiServer, tmp_path: Path) -> None:
    """The first check fails with the reason, and everything else is skipped."""
    lost = tmp_path / "kubeconfig"
    lost.write_text(
        api_server.kubeconfig.read_text().replace(api_server.url, "https://127.0.0.1:9")
    )
    arguments = ["check", "--before", "-o", "json", "--kubeconfig", str(lost)]
    result = await asyncio.to_thread(CliRunner().invoke, mizzen, arguments)
    assert result.exit_code == 1
    states = [one["state"] for one in json.loads(result.stdout)]
    assert states == ["failed", *["skipped"] * (len(states) - 1)]


async def test_proxies_of_a_cluster_without_replicas_are_an_error(api_server: ApiServer) -> None:
    """The message says where to look next."""
    result = await run(api_server, "proxies", "--control-plane", "nowhere")
    assert result.exit_code == 1
    assert "error: no replica runs in namespace nowhere" in result.stderr


async def live(shop: Shop, found: Json, status: str, message: str) -> None:
    """Write what the control plane would write of an object."""
    generation = found["metadata"]["generation"]
    told = (("Accepted", "True", "Accepted", ""), ("Live", status, "Live", message))
    conditions = [
        {
            "type": kind,
            "status": said,
            "reason": reason,
            "message": text,
            "observedGeneration": generation,
        }
        for kind, said, reason, text in told
    ]
    place = f"{path_of(found)}/status"
    await shop.api.patch(place, {"status": {"conditions": conditions}})


async def test_waiting_ends_when_an_object_is_live(
    shop: Shop, api_server: ApiServer, tmp_path: Path
) -> None:
    """By name or by the manifest that was applied; each step is told."""
    await apply_crds(shop.api)
    found = await shop.virtual_service()
    await live(shop, found, "True", "live on 2 of 2 proxies")
    result = await run(api_server, "wait", "vs/reviews", "-n", shop.name)
    assert result.exit_code == 0, result.output
    assert "live on 2 of 2 proxies" in result.stdout
    file = tmp_path / "reviews.yaml"
    manifest = {key: found[key] for key in ("apiVersion", "kind", "spec")}
    file.write_text(yaml.safe_dump({**manifest, "metadata": {"name": "reviews"}}))
    assert (await run(api_server, "wait", "-f", str(file), "-n", shop.name)).exit_code == 0


async def test_waiting_ends_when_time_is_over(shop: Shop, api_server: ApiServer) -> None:
    """What is still missing is said."""
    await apply_crds(shop.api)
    found = await shop.virtual_service()
    await live(shop, found, "False", "live on 1 of 2 proxies")
    result = await run(
        api_server, "wait", "virtualservice/reviews", "-n", shop.name, "--timeout", "0.5"
    )
    assert result.exit_code == 1
    assert "not live after 0.5 s: live on 1 of 2 proxies" in result.stderr


async def test_waiting_for_nothing_is_an_error(shop: Shop, api_server: ApiServer) -> None:
    """An object that is not there, a word that is no kind, and no word at all."""
    await apply_crds(shop.api)
    gone = await run(api_server, "wait", "vs/gone", "-n", shop.name)
    assert gone.exit_code == 1
    assert "there is no VirtualService" in gone.stderr
    assert (await run(api_server, "wait", "deployment/web")).exit_code == 2
    assert (await run(api_server, "wait")).exit_code == 2

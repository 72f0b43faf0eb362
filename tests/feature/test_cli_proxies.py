"""``mizzen proxies`` and ``mizzen config``: what connected proxies are to have, have and refuse."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from mizzen.wire import TypeUrl
from mizzen_cli.main import mizzen
from tests.feature.test_serve_folder import HOST, POD, route, until_timeout
from tests.support.ads import AdsClient, Trust, node_id, stream
from tests.support.served import Served, served
from tests.unit.operator.manifests import documents, service

if TYPE_CHECKING:
    from click.testing import Result

pytestmark = pytest.mark.feature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pod, a service and a route."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "shop.yaml").write_text(documents(POD, service("cart"), route(5)))
    return folder


async def run(plane: Served, *words: str) -> Result:
    """Run the command against a control plane, beside its loop."""
    arguments = [*words, "--address", f"127.0.0.1:{plane.ports.http}"]
    return await asyncio.to_thread(CliRunner().invoke, mizzen, arguments)


async def test_every_proxy_is_a_row(folder: Path, tmp_path: Path) -> None:
    """Where it is connected, what it is to have, has, and its state."""
    async with (
        served(folder, tmp_path / "state") as plane,
        stream(plane.insecure, AdsClient(node_id())) as app,
    ):
        await until_timeout(app, 5)
        await plane.object("Service", "cart", lambda of: of["programmed"]["live"] == 1)
        result = await run(plane, "proxies")
        assert result.exit_code == 0, result.output
        head, row = result.stdout.splitlines()
        assert head.split()[:2] == ["PROXY", "REPLICA"]
        assert row.split()[0] == "app.shop"
        assert row.endswith("up to date")
        (found,) = json.loads((await run(plane, "proxies", "-o", "json")).stdout)
        assert found["id"] == node_id()
        assert (await run(plane, "proxies", "other.shop")).exit_code == 1


async def test_what_a_proxy_refuses_is_shown_with_its_words(folder: Path, tmp_path: Path) -> None:
    """The row says so, the exit code too, and Envoy's message names the objects it is about."""

    def fault(_type: TypeUrl, name: str, _body: bytes) -> str | None:
        return f"{name}: no such thing" if name == HOST else None

    async with (
        served(folder, tmp_path / "state") as plane,
        stream(plane.insecure, AdsClient(node_id(), refuse=fault)),
    ):
        await plane.object("VirtualService", "cart", lambda of: bool(of["programmed"]["rejected"]))
        result = await run(plane, "proxies", "app.shop")
        assert result.exit_code == 1
        assert "refuses 1" in result.stdout
        assert "Envoy says:" in result.stdout
        assert "VirtualService shop/cart" in result.stdout
        routes = yaml.safe_load((await run(plane, "config", "app.shop", "routes")).stdout)["routes"]
        assert {one["name"]: one["state"] for one in routes}[HOST] == "withheld"


async def test_the_configuration_of_a_proxy_is_shown_as_envoy_has_it(
    folder: Path, tmp_path: Path
) -> None:
    """Each type by its name, each resource decoded and with its state."""
    async with (
        served(folder, tmp_path / "state") as plane,
        stream(plane.insecure, AdsClient(node_id())) as app,
    ):
        await until_timeout(app, 5)
        result = await run(plane, "config", "app", "-n", "shop", "-o", "json")
        assert result.exit_code == 0, result.output
        shown = json.loads(result.stdout)
        assert shown["proxy"] == node_id()
        hosts = {one["name"]: one for one in shown["routes"]}
        assert hosts[HOST]["state"] == "acknowledged"
        assert hosts[HOST]["resource"]["routes"][0]["route"]["timeout"] == "5s"
        assert shown["clusters"]
        assert shown["listeners"]
        only = await run(plane, "config", "app.shop", "clusters")
        assert set(yaml.safe_load(only.stdout)) >= {"clusters"}
        assert "listeners" not in yaml.safe_load(only.stdout)


async def test_of_secrets_only_the_names_are_shown(folder: Path, tmp_path: Path) -> None:
    """Neither key nor certificate leaves the control plane this way."""
    async with served(folder, tmp_path / "state") as plane:
        app = AdsClient(node_id(), service_account="app")
        trust = Trust(roots_pem=(plane.state / "root.pem").read_bytes())
        async with stream(plane.secure, app, trust=trust, token=plane.token("shop", "app")):
            await app.ask(TypeUrl.SECRET, "default", "ROOTCA")
            await app.until(lambda: len(app.has[TypeUrl.SECRET]) == 2)
            result = await run(plane, "config", "app.shop", "secrets", "-o", "json")
            shown = json.loads(result.stdout)["secrets"]
            assert {one["name"] for one in shown} == {"default", "ROOTCA"}
            assert all("resource" not in one for one in shown)
            assert "PRIVATE" not in result.stdout


async def test_a_proxy_that_is_not_connected_is_an_error_that_says_what_to_do(
    folder: Path, tmp_path: Path
) -> None:
    """The message names the next step; nobody to ask is an error too."""
    async with served(folder, tmp_path / "state") as plane:
        result = await run(plane, "config", "app.shop")
        assert result.exit_code == 1
        assert "error: no proxy app.shop is connected" in result.stderr
    gone = await run(plane, "proxies")
    assert gone.exit_code == 1
    assert "cannot be asked" in gone.stderr


async def test_what_is_shown_does_not_rest_on_what_this_process_has_rendered(
    folder: Path, tmp_path: Path
) -> None:
    """The command alone, in a process of its own, knows every type of message that there is to read."""
    async with (
        served(folder, tmp_path / "state") as plane,
        stream(plane.insecure, AdsClient(node_id())) as app,
    ):
        await until_timeout(app, 5)
        command = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("mizzen"),
            *("config", "app.shop", "routes", "-o", "json"),
            *("--address", f"127.0.0.1:{plane.ports.http}"),
            stdout=asyncio.subprocess.PIPE,
        )
        shown, _ = await command.communicate()
        assert HOST in [one["name"] for one in json.loads(shown)["routes"]]

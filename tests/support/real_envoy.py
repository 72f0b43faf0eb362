"""A stock Envoy under a publisher's control, on loopback, and what it says about itself."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from tests.support.ads import node_id

ENVOY: Final = Path(sys.executable).with_name("envoy")
_START_S: Final = 30.0
_LOOK_S: Final = 0.02


@dataclass(slots=True)
class RealEnvoy:
    """A running Envoy."""

    node: str
    admin_port: int
    log: Path
    http: aiohttp.ClientSession

    async def answers(self, port: int, host: str, status: int = 200) -> bool:
        """Tell whether a listener is open and answers with a status."""
        try:
            return await self.get(port, host) == status
        except aiohttp.ClientConnectionError:
            return False

    async def get(self, port: int, host: str, path: str = "/") -> int:
        """Return the status that a listener answers a request with."""
        url = f"http://127.0.0.1:{port}{path}"
        async with self.http.get(url, headers={"host": host}) as response:
            await response.read()
            return response.status

    async def admin(self, path: str) -> str:
        """Return a page of the admin interface."""
        async with self.http.get(f"http://127.0.0.1:{self.admin_port}{path}") as response:
            return await response.text()

    async def dump(self) -> Mapping[str, Any]:
        """Return the parts of the config dump by the last word of their types."""
        found = json.loads(await self.admin("/config_dump?include_eds"))["configs"]
        return {one["@type"].rpartition(".")[2]: one for one in found}

    async def active_clusters(self) -> dict[str, str]:
        """Return the versions of the clusters in use, by name."""
        found = (await self.dump())["ClustersConfigDump"].get("dynamic_active_clusters", [])
        return {one["cluster"]["name"]: one["version_info"] for one in found}

    async def warming_clusters(self) -> set[str]:
        """Return the names of clusters that are not in use yet."""
        found = (await self.dump())["ClustersConfigDump"].get("dynamic_warming_clusters", [])
        return {one["cluster"]["name"] for one in found}

    async def counter(self, name: str) -> int:
        """Return a counter, 0 where Envoy does not have it."""
        for line in (await self.admin(f"/stats?filter=^{name}$")).splitlines():
            return int(line.rpartition(": ")[2])
        return 0

    async def until(self, condition: Callable[[], Awaitable[bool]], what: str) -> None:
        """Wait until something is so of an Envoy, which tells nobody when it becomes so."""
        try:
            async with asyncio.timeout(_START_S):
                while not await condition():  # noqa: ASYNC110 - a process, not a task
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise AssertionError(f"never: {what}\n{_text(self.log)[-3000:]}") from None


@asynccontextmanager
async def running(
    xds_port: int,
    folder: Path,
    *,
    node: str | None = None,
    api: Literal["DELTA_GRPC", "GRPC"] = "DELTA_GRPC",
    client: Literal["envoy_grpc", "google_grpc"] = "envoy_grpc",
    metadata: Mapping[str, Any] | None = None,
) -> AsyncIterator[RealEnvoy]:
    """Run an Envoy that gets everything from the xDS port; its log is in ``folder``."""
    name = node or node_id()
    bootstrap = _bootstrap(xds_port, name, api, client, metadata or {})
    config, address, log = folder / "envoy.json", folder / "admin", folder / "envoy.log"
    _prepare(config, bootstrap, address)
    process = await asyncio.create_subprocess_exec(
        ENVOY,
        *("-c", config, "--admin-address-path", address, "--log-path", log),
        *("--log-level", "info", "--use-dynamic-base-id", "--concurrency", "1"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
            port = await _admin_port(address, process, log)
            yield RealEnvoy(name, port, log, http)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _admin_port(address: Path, process: asyncio.subprocess.Process, log: Path) -> int:
    async with asyncio.timeout(_START_S):
        while not (text := _text(address)):
            if process.returncode is not None:
                raise AssertionError(f"Envoy ended: {_text(log)[-3000:]}")
            await asyncio.sleep(_LOOK_S)
    return int(text.rpartition(":")[2])


def _prepare(config: Path, bootstrap: Mapping[str, Any], address: Path) -> None:
    config.write_text(json.dumps(bootstrap))
    address.unlink(missing_ok=True)


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _bootstrap(
    xds_port: int, node: str, api: str, client: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    service: dict[str, Any] = {"envoy_grpc": {"cluster_name": "xds"}}
    if client == "google_grpc":
        service = {"google_grpc": {"target_uri": f"127.0.0.1:{xds_port}", "stat_prefix": "xds"}}
    by_ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": node, "cluster": "test", "metadata": dict(metadata)},
        "admin": {"address": _address(0)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api,
                "transport_api_version": "V3",
                "grpc_services": [service],
                "set_node_on_first_message_only": True,
            },
            "cds_config": by_ads,
            "lds_config": by_ads,
        },
        "static_resources": {"clusters": [_xds_cluster(xds_port)]},
    }


def _xds_cluster(port: int) -> dict[str, Any]:
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

"""Steps 7 and 8: certificates and the control plane itself are replaced, and nobody notices."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import admin, stats
from mizzen_cli.demo.stage import Measured
from mizzen_cli.demo.steps.canary import REVIEWS
from mizzen_cli.demo.traffic import under_load

if TYPE_CHECKING:
    from mizzen_cli.demo.manifests import PodSpec
    from mizzen_cli.demo.stage import Stage
    from mizzen_cli.demo.traffic import Load

_FRONTEND: Final = "frontend-v1"
_URLS: Final = (REVIEWS, "http://catalog:9080/self", "http://ledger:9080/self")
# What an Envoy counts when a resource that it has is replaced by another one.
_CHANGES: Final = (
    "^(cluster_manager.cluster_(added|modified|removed)"
    "|listener_manager.listener_(added|modified|removed)"
    "|http.*.rds.*.config_reload)$"
)
_CONNECTED: Final = "^control_plane.connected_state$"
# How long the mesh goes without a control plane.
_ALONE_SECONDS: Final = 1.0


async def certificates(stage: Stage) -> tuple[Measured, ...]:
    """Have every certificate renewed at once, under load."""
    before = await asyncio.to_thread(_serials, stage)
    async with under_load(stage.inside[_FRONTEND], _URLS) as load:
        began = time.monotonic()
        await asyncio.to_thread(stage.mesh.ask_control_plane, "/rotate", "POST")
        await stage.until(lambda: _all_new(before, _serials(stage)), "every serial is new")
        seconds = time.monotonic() - began
    return (
        Measured(
            what="certificates replaced, each seen in its Envoy",
            value=f"{len(before)} of {len(before)} in {seconds:.1f} s",
        ),
        _under(load),
    )


async def control_plane(stage: Stage) -> tuple[Measured, ...]:
    """Kill the control plane, go on without it, start it again."""
    before = await asyncio.to_thread(_changes, stage)
    async with under_load(stage.inside[_FRONTEND], _URLS) as load:
        await asyncio.to_thread(stage.mesh.stop_control_plane, signal.SIGKILL)
        await asyncio.sleep(_ALONE_SECONDS)
        began = time.monotonic()
        await asyncio.to_thread(stage.mesh.start_control_plane)
        ready = time.monotonic() - began
        await stage.until(lambda: _all_back(stage), "all proxies are back")
        back = time.monotonic() - began
    after = await asyncio.to_thread(_changes, stage)
    changed = {pod: now - before[pod] for pod, now in after.items()}
    return (
        Measured(what="killed, alone for a while, started again", value=f"ready in {ready:.1f} s"),
        Measured(
            what="all proxies connected again",
            value=f"{len(changed)} of {len(stage.mesh.proxied)} after {back:.1f} s",
        ),
        Measured(
            what="resources that were sent again without a change",
            value=str(sum(changed.values())),
            holds=not any(changed.values()),
        ),
        _under(load),
    )


def _serials(stage: Stage) -> dict[str, str]:
    """Return the serial number of the certificate that each Envoy shows to others."""
    return {pod.network: _serial(stage, pod) for pod in stage.mesh.proxied}


def _serial(stage: Stage, pod: PodSpec) -> str:
    found = json.loads(admin(stage.mesh.realm, pod, "/certs"))["certificates"]
    chains = [chain for entry in found for chain in entry.get("cert_chain", ())]
    return ",".join(sorted({chain["serial_number"] for chain in chains}))


def _all_new(before: dict[str, str], now: dict[str, str]) -> bool:
    return all(now[pod] and now[pod] != serial for pod, serial in before.items())


def _changes(stage: Stage) -> dict[str, int]:
    """Return how many times each Envoy's configuration has changed since it started."""
    return {
        pod.network: sum(stats(stage.mesh.realm, pod, _CHANGES).values())
        for pod in stage.mesh.proxied
    }


def _all_back(stage: Stage) -> bool:
    return all(
        sum(stats(stage.mesh.realm, pod, _CONNECTED).values()) == 1 for pod in stage.mesh.proxied
    ) and stage.status().connected == len(stage.mesh.proxied)


def _under(load: Load) -> Measured:
    return Measured(
        what="requests meanwhile",
        value=f"{load.requests}, {load.failed} failed, slowest {load.slowest_ms:.0f} ms",
        holds=load.requests > 0 and load.failed == 0,
    )

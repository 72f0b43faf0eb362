"""Steps 12 and 13: certificates and the control plane itself are replaced, and nobody notices."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.proxies import admin
from mizzen_cli.demo.stage import Measured, start, undisturbed
from mizzen_cli.demo.steps.canary import FILE, OBJECT, other_weights

if TYPE_CHECKING:
    from mizzen_cli.demo.manifests import PodSpec
    from mizzen_cli.demo.stage import Note, Stage

# A pod that the load leaves alone: it has a connection or two to the ledger, and needs more for a
# burst of calls that are answered late.
_NEWCOMER: Final = "catalog-2"
_LATE_URL: Final = "http://ledger:9080/nap"
_BURST: Final = 8

# Connections between pods, and to the applications, that an Envoy has seen the end of.
_CLOSED: Final = r"^cluster\.(outbound|inbound).*\.upstream_cx_destroy$"
# Whatever an Envoy has taken in: clusters, listeners, routes and virtual hosts, endpoints, secrets.
_TAKEN: Final = (
    r"^(cluster_manager\.cluster_(added|modified|removed)"
    r"|listener_manager\.listener_(added|modified|removed)"
    r"|(http|cluster|sds)\..*\.update_success)$"
)
# An answer without content is the name of its type and a nonce. The protocol asks for one where a
# client takes all resources of a type, to know that it has them.
_EMPTY_BYTES: Final = 80
# The reviews are there over HTTP and over gRPC, and a rule that names no port is for both.
_PORTS: Final = 2
# Envoys wait no longer than 5 s before they try again, each a random part of it.
_BACK_SECONDS: Final = 10.0
# How long the mesh goes without a control plane.
_ALONE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Certificate:
    """What an Envoy shows to others."""

    serial: str
    expires: str


async def certificates(stage: Stage, note: Note) -> None:
    """Have every certificate renewed at once, under load."""
    await stage.drained()
    before = await asyncio.to_thread(_shown, stage)
    fingerprints = await _fingerprints(stage, 1)
    async with stage.load() as load:
        closed = await _sum(stage, _CLOSED)
        began = time.monotonic()
        await asyncio.to_thread(stage.mesh.ask_control_plane, "/rotate", "POST")
        now = await stage.until(
            lambda: _all_new(before, _shown(stage)), "every Envoy shows a new certificate"
        )
        seconds = time.monotonic() - began
        await load.more(len(before) * 50)
        dropped = await _sum(stage, _CLOSED) - closed
    note(_replaced(before, now, seconds))
    note(
        Measured(
            what="connections that were closed for it",
            value=str(dropped),
            holds=dropped == 0,
            expected="none",
        )
    )
    note(await _new_ones_are_used(stage, fingerprints))
    note(undisturbed(load))


async def control_plane(stage: Stage, note: Note) -> None:
    """Kill the control plane, go on without it, start it again."""
    taken = await _sum(stage, _TAKEN)
    async with stage.load() as load:
        await asyncio.to_thread(stage.mesh.stop_control_plane, signal.SIGKILL)
        await asyncio.sleep(_ALONE_SECONDS)
        began = time.monotonic()
        await start(stage.mesh, stage.mesh.start_control_plane)
        ready = time.monotonic() - began
        await stage.until(lambda: _all_back(stage), "all proxies are back")
        back = time.monotonic() - began
        note(
            Measured(
                what="killed with SIGKILL, and started again",
                value=f"ready after {ready:.1f} s, all {len(stage.mesh.proxied)} proxies back "
                f"after {back:.1f} s",
                holds=back - ready <= _BACK_SECONDS,
                expected=f"all back within {_BACK_SECONDS:.0f} s",
            )
        )
        await _nothing_is_sent_again(stage, taken, note)
        await _an_edit_is_sent(stage, note)
    note(undisturbed(load))


def _shown(stage: Stage) -> dict[str, _Certificate]:
    """Return the certificate that each Envoy shows."""
    return {pod.network: _certificate(stage, pod) for pod in stage.mesh.proxied}


def _certificate(stage: Stage, pod: PodSpec) -> _Certificate:
    """Return what all of an Envoy's TLS contexts have; both when they have different ones."""
    found = json.loads(admin(stage.mesh.realm, pod, "/certs"))["certificates"]
    chains = [chain for entry in found for chain in entry.get("cert_chain", ())]
    return _Certificate(
        serial=",".join(sorted({chain["serial_number"] for chain in chains})),
        expires=max((chain["expiration_time"] for chain in chains), default=""),
    )


def _all_new(
    before: dict[str, _Certificate], now: dict[str, _Certificate]
) -> dict[str, _Certificate] | None:
    """Return what is shown now if each Envoy has one new certificate everywhere."""
    is_new = all(
        shown.serial and "," not in shown.serial and shown.serial != before[pod].serial
        for pod, shown in now.items()
    )
    return now if is_new else None


def _replaced(
    before: dict[str, _Certificate], now: dict[str, _Certificate], seconds: float
) -> Measured:
    pod = next(iter(now))
    return Measured(
        what=f"new serial numbers, seen in {len(now)} of {len(now)} Envoys",
        value=f"after {seconds * 1000:.0f} ms; they end {_time(before[pod])} → {_time(now[pod])}",
        holds=all(shown.expires > before[name].expires for name, shown in now.items()),
        expected="a later end of each certificate",
    )


def _time(shown: _Certificate) -> str:
    return shown.expires.partition("T")[2].rstrip("Z")


async def _fingerprints(stage: Stage, calls: int) -> set[str]:
    """Return the certificates by which the ledger knew the newcomer in some calls at once."""
    visitor = stage.inside[_NEWCOMER]
    answers = await asyncio.gather(*(visitor.get(_LATE_URL) for _ in range(calls)))
    return {str(answer.body.get("certificate", answer.said)) for answer in answers}


async def _new_ones_are_used(stage: Stage, before: set[str]) -> Measured:
    """Have the newcomer call so often at once that it needs more connections than it has."""
    seen = await _fingerprints(stage, _BURST)
    return Measured(
        what=f"certificates that the ledger saw of {_NEWCOMER}",
        value=", ".join(sorted(f"{mark[:12]}…" for mark in before | seen)),
        holds=len(before | seen) > len(before),
        expected="a new one on new connections",
    )


async def _nothing_is_sent_again(stage: Stage, taken: int, note: Note) -> None:
    sent = await asyncio.to_thread(stage.sent)
    again = await _sum(stage, _TAKEN) - taken
    note(
        Measured(
            what="sent to all at first, and when they came back",
            value=f"{stage.first.bytes:,} bytes, then {sent.bytes:,} "
            f"({sent.bytes / stage.first.bytes:.1%}): empty answers",
            holds=0 < sent.bytes <= sent.responses * _EMPTY_BYTES,
            expected=f"only answers without content, {_EMPTY_BYTES} bytes each at most; "
            f"it was {sent.responses} answers",
        )
    )
    note(
        Measured(
            what="resources that the Envoys took again",
            value=str(again),
            holds=again == 0,
            expected="none, since none has changed",
        )
    )


async def _an_edit_is_sent(stage: Stage, note: Note) -> None:
    """Show that the counters count: one edit, and what it costs."""
    before, taken = await asyncio.to_thread(stage.sent), await _sum(stage, _TAKEN)
    async with stage.restored(FILE):
        text = stage.read(FILE)
        saved = stage.write(FILE, other_weights(text))
        landed = await stage.live(*OBJECT, saved)
        sent = await asyncio.to_thread(stage.sent)
        updates = await _sum(stage, _TAKEN) - taken
        cost = sent.bytes - before.bytes
        note(
            Measured(
                what=f"{FILE}, then edited",
                value=f"{landed}; {cost:,} bytes",
                holds=updates == landed.proxies * _PORTS,
                expected=f"{_PORTS} updates for each proxy that it concerns, one for each port; "
                f"it was {updates}",
            )
        )


async def _sum(stage: Stage, pattern: str) -> int:
    counted = await asyncio.to_thread(stage.counted, pattern)
    return sum(sum(found.values()) for found in counted.values())


def _all_back(stage: Stage) -> bool:
    return stage.status().connected == len(stage.mesh.proxied)

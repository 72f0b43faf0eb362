"""Step 1: who calls is proved by certificates, and plaintext is let in only where that was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.mesh import TRUST_DOMAIN
from mizzen_cli.demo.stage import FRONTEND, GATEWAY, Measured
from mizzen_cli.demo.traffic import Visitor

if TYPE_CHECKING:
    from mizzen_cli.demo.manifests import PodSpec
    from mizzen_cli.demo.stage import Landed, Note, Stage
    from mizzen_cli.demo.traffic import Answer

_FILE: Final = "mtls.yaml"
_OBJECT: Final = ("PeerAuthentication", "shop/default")
_OPEN_TO_ALL: Final = ("frontend", "catalog", "ledger")
_STRANGER: Final = "stranger"


async def run(stage: Stage, note: Note) -> None:
    """Let everyone call everyone, then a pod without a sidecar under both modes."""
    note(await _everyone_is_known(stage))
    note(await _the_gateway_is_known(stage))
    note(await _plaintext(stage, "STRICT", accepted=False))
    async with stage.restored(_FILE):
        note(_edited("STRICT → PERMISSIVE", await _set_mode(stage, "STRICT", "PERMISSIVE")))
        note(await _plaintext(stage, "PERMISSIVE", accepted=True))
        note(_edited("and back to STRICT", await _set_mode(stage, "PERMISSIVE", "STRICT")))
    note(await _plaintext(stage, "STRICT", accepted=False))


async def _everyone_is_known(stage: Stage) -> Measured:
    """Let each pod call each service that it may, and compare the identity that the server saw."""
    callers = [pod for pod in stage.mesh.cast.pods if pod.sidecar]
    calls = [(pod, name) for pod in callers for name in _OPEN_TO_ALL]
    calls.append((stage.mesh.pod(FRONTEND), "reviews"))
    wrong = [found for pod, name in calls if (found := await _wrongly_known(stage, pod, name))]
    good = f"{len(calls) - len(wrong)} of {len(calls)}"
    return Measured(
        what=f"calls between {len(callers)} pods, identities seen",
        value="; ".join((f"{good}, spiffe://{TRUST_DOMAIN}/ns/shop/sa/…", *wrong[:3])),
        holds=not wrong,
        expected="the caller's SPIFFE id, at every server",
    )


async def _wrongly_known(stage: Stage, pod: PodSpec, name: str) -> str:
    """Return what was seen in place of a caller's identity; empty where that was seen."""
    answer = await stage.inside[pod.name].get(f"http://{name}:9080/self")
    seen = answer.body.get("caller")
    return "" if seen == _spiffe_id(pod) else f"{pod.name} → {name}: {answer.said}, saw {seen}"


async def _the_gateway_is_known(stage: Stage) -> Measured:
    answer = await stage.outside.get(f"{stage.door}/self")
    seen = answer.body.get("caller")
    gateway = stage.mesh.pod(GATEWAY)
    return Measured(
        what=f"a customer at {stage.door}",
        value=f"{answer.said}, by {str(seen).replace(f'spiffe://{TRUST_DOMAIN}', '…')}",
        holds=seen == _spiffe_id(gateway),
        expected=f"200, through {_spiffe_id(gateway)}",
    )


async def _plaintext(stage: Stage, mode: str, *, accepted: bool) -> Measured:
    answer = await _plaintext_once(stage)
    said = f"answered {answer.status}" if answer.status else f"refused: {answer.failure}"
    return Measured(
        what=f"plaintext from outside the mesh, {mode}",
        value=said,
        holds=answer.ok is accepted,
        expected="answered 200" if accepted else "refused",
    )


async def _plaintext_once(stage: Stage) -> Answer:
    """Call a pod's own address on a new connection.

    By address, because who has no Envoy knows no services. On a new connection, because one that was
    let in may finish what it began.
    """
    async with Visitor(stage.mesh, _STRANGER) as stranger:
        return await stranger.get(f"http://{stage.mesh.pod(FRONTEND).ip}:9080/self")


async def _set_mode(stage: Stage, old: str, new: str) -> Landed:
    saved = stage.edit(_FILE, (f"mode: {old}", f"mode: {new}"))
    return await stage.live(*_OBJECT, saved)


def _edited(what: str, landed: Landed) -> Measured:
    return Measured(what=f"{_FILE}: {what}", value=str(landed))


def _spiffe_id(pod: PodSpec) -> str:
    return f"spiffe://{TRUST_DOMAIN}/ns/{pod.namespace}/sa/{pod.service_account}"

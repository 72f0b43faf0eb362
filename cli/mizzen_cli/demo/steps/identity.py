"""Step 1: everyone proves who they are, and who cannot is refused, or not, as the YAML says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.mesh import TRUST_DOMAIN
from mizzen_cli.demo.stage import Measured

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage

_FILE: Final = "mtls.yaml"
_OBJECT: Final = ("PeerAuthentication", "shop/default")
_TARGET: Final = "http://frontend:9080/self"
_STRANGER: Final = "stranger"


async def run(stage: Stage) -> tuple[Measured, ...]:
    """Call the frontend from everywhere, then from a pod without a sidecar under both modes."""
    return (
        await _everyone_is_known(stage),
        await _the_gateway_is_known(stage),
        await _plaintext(stage, "plaintext from outside, STRICT", accepted=False),
        *await _under_permissive(stage),
        await _back_to_strict(stage),
    )


async def _everyone_is_known(stage: Stage) -> Measured:
    """Let each pod of the shop call, and compare the identity that the server saw."""
    pods = [pod for pod in stage.mesh.cast.pods if pod.sidecar and pod.namespace == "shop"]
    right, example = 0, ""
    for pod in pods:
        expected = _spiffe_id(pod.namespace, pod.service_account)
        answer = await stage.inside[pod.name].get(_TARGET)
        right += answer.body.get("caller") == expected
        example = str(answer.body.get("caller"))
    return Measured(
        what="mTLS: SPIFFE ids seen by the server",
        value=f"{right} of {len(pods)} callers proved, for example {example}",
        holds=right == len(pods),
    )


async def _the_gateway_is_known(stage: Stage) -> Measured:
    answer = await stage.outside.get(f"{stage.door}/self")
    seen = answer.body.get("caller")
    return Measured(
        what=f"from the host, through the gateway ({stage.door})",
        value=f"{answer.status or answer.failure}, the frontend saw {seen}",
        holds=seen == _spiffe_id("istio-system", "istio-ingressgateway"),
    )


async def _plaintext(stage: Stage, what: str, *, accepted: bool) -> Measured:
    answer = await stage.inside[_STRANGER].get(_direct(stage))
    said = f"answered {answer.status}" if answer.status else f"refused ({answer.failure})"
    return Measured(what=what, value=said, holds=answer.ok is accepted)


async def _under_permissive(stage: Stage) -> tuple[Measured, Measured]:
    saved = await stage.edit(_FILE, ("mode: STRICT", "mode: PERMISSIVE"))
    seconds = await stage.live(*_OBJECT, saved)
    edited = Measured(
        what=f"{_FILE}: STRICT → PERMISSIVE", value=f"live everywhere after {seconds * 1000:.0f} ms"
    )
    return (
        edited,
        await _plaintext(stage, "plaintext from outside, PERMISSIVE", accepted=True),
    )


async def _back_to_strict(stage: Stage) -> Measured:
    saved = await stage.edit(_FILE, ("mode: PERMISSIVE", "mode: STRICT"))
    await stage.live(*_OBJECT, saved)
    return await _plaintext(stage, "plaintext from outside, STRICT again", accepted=False)


def _direct(stage: Stage) -> str:
    """The frontend by its pod's address: who is not in the mesh has no Envoy that knows services."""
    return f"http://{stage.mesh.pod('frontend-v1').ip}:9080/self"


def _spiffe_id(namespace: str, account: str) -> str:
    return f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{account}"

"""The webhook's answer: an AdmissionReview in, an AdmissionReview out."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from mizzen_operator.inject import raw
from mizzen_operator.inject.decide import decide
from mizzen_operator.inject.patch import json_patch
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.raw import InjectionRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings

_UNPROCESSABLE: Final = 422


def injection_handler(settings: InjectSettings) -> Callable[[Json], Awaitable[Json]]:
    """Return the handler of ``/inject``."""

    async def handle(review: Json) -> Json:
        return answer_injection(review, settings)

    return handle


def answer_injection(review: Json, settings: InjectSettings) -> Json:
    """Return the review with its response: a patch, or nothing to do, or why the pod cannot run."""
    request = review.get("request") or {}
    pod = request.get("object") or {}
    response = {"uid": request.get("uid", ""), "allowed": True} | _verdict(
        _in_namespace(pod, request), pod, settings
    )
    return {
        "apiVersion": review.get("apiVersion", "admission.k8s.io/v1"),
        "kind": "AdmissionReview",
        "response": response,
    }


def _in_namespace(pod: Json, request: Json) -> Json:
    """Return the pod with the namespace that it is created in, which it need not say itself."""
    namespace = raw.metadata(pod).get("namespace") or request.get("namespace", "")
    return pod | {"metadata": raw.metadata(pod) | {"namespace": namespace}}


def _verdict(placed: Json, pod: Json, settings: InjectSettings) -> Json:
    if not decide(placed, settings).inject:
        return {}
    try:
        injected = inject_pod(pod, settings)
    except InjectionRefused as refused:
        return {"allowed": False, "status": _status(str(refused))}
    operations = json.dumps(json_patch(pod, injected.pod), separators=(",", ":"))
    patch = {
        "patchType": "JSONPatch",
        "patch": base64.b64encode(operations.encode()).decode("ascii"),
    }
    return patch | ({"warnings": list(injected.warnings)} if injected.warnings else {})


def _status(message: str) -> Json:
    return {
        "status": "Failure",
        "code": _UNPROCESSABLE,
        "reason": "Invalid",
        "message": f"no sidecar can be added: {message}",
    }

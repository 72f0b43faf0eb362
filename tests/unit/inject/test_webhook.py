"""The webhook's answers: a patch that makes the injected pod, nothing, or a refusal that says what to do."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Final

from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.inject.webhook import answer_injection, injection_handler
from tests.unit.inject.test_patch import applied

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

_SETTINGS: Final = InjectSettings()
_POD: Final[dict[str, object]] = {
    "metadata": {"generateName": "web-", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "app", "livenessProbe": {"tcpSocket": {"port": 80}}}]},
}


def _review(pod: Json, namespace: str = "shop") -> Json:
    request = {"uid": "42", "namespace": namespace, "object": pod}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _response(pod: Json, namespace: str = "shop") -> Json:
    answer = answer_injection(_review(pod, namespace), _SETTINGS)
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Json = answer["response"]
    assert response["uid"] == "42"
    return response


def test_the_patch_makes_the_injected_pod() -> None:
    """What the API server gets by it is what injection gives, and the review is left alone."""
    response = _response(_POD)
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")
    operations = json.loads(base64.b64decode(response["patch"]))
    assert applied(_POD, operations) == inject_pod(_POD, _SETTINGS).pod


def test_what_is_not_injected_is_let_through() -> None:
    """A pod of the cluster's own namespaces, whose namespace only the request says."""
    response = _response(_POD, "kube-system")
    assert response == {"uid": "42", "allowed": True}


def test_a_pod_that_asks_for_the_impossible_is_refused_with_all_that_is_wrong() -> None:
    """One round is enough to correct it."""
    annotations = {
        "traffic.sidecar.istio.io/includeInboundPorts": "http",
        "sidecar.istio.io/interceptionMode": "MAGIC",
        "proxy.istio.io/config": "[",
        "sidecar.istio.io/nativeSidecar": "maybe",
        "sidecar.istio.io/userVolume": "{",
        "readiness.status.sidecar.istio.io/periodSeconds": "soon",
    }
    response = _response(_POD | {"metadata": {"annotations": annotations}})
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    for name in annotations:
        assert name in response["status"]["message"]


def test_a_name_that_is_none_is_refused() -> None:
    """What could end the init container's program and begin another never gets into it."""
    annotations = {"traffic.sidecar.istio.io/excludeInterfaces": "eth0'; reboot; '"}
    response = _response(_POD | {"metadata": {"annotations": annotations}})
    assert response["allowed"] is False
    assert "not the name of an interface" in response["status"]["message"]


def test_an_unknown_template_is_refused_with_those_there_are() -> None:
    """The pod would not be what its owner thinks."""
    annotations = {"inject.istio.io/templates": "sidecar,grpc-agent"}
    response = _response(_POD | {"metadata": {"annotations": annotations}})
    assert "'grpc-agent' is not one of gateway, sidecar" in response["status"]["message"]


def test_what_is_not_done_is_said() -> None:
    """The pod runs, and kubectl prints the warning."""
    annotations = {"sidecar.istio.io/bootstrapOverride": "mine"}
    response = _response(_POD | {"metadata": {"annotations": annotations}})
    assert response["allowed"] is True
    assert response["warnings"] == [
        "sidecar.istio.io/bootstrapOverride is not supported; it is ignored"
    ]


async def test_the_handler_answers_reviews() -> None:
    """What the server mounts is the same function."""
    handle = injection_handler(_SETTINGS)
    assert await handle(_review(_POD)) == answer_injection(_review(_POD), _SETTINGS)

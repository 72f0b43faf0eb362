"""Injected pods as a real API server takes them: their fields are known to it, and Pod Security looks at them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.inject.webhooks import injection_webhooks

if TYPE_CHECKING:
    from tests.support.kube_api import ApiServer

_GOLDENS: Final = Path(__file__).parents[1] / "golden" / "inject"
_CASES: Final = sorted(file.name.removesuffix(".in.yaml") for file in _GOLDENS.glob("*.in.yaml"))
_NAMESPACE: Final = "injected-pods"
_LEVEL: Final = "pod-security.kubernetes.io/enforce"
# What an application has to say for the level restricted, whoever injects what beside it.
_MODEST: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}

Json = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _namespaces(api_server: ApiServer) -> None:
    """A namespace for each level of Pod Security."""
    for level in ("privileged", "baseline", "restricted"):
        metadata = {"name": f"{_NAMESPACE}-{level}", "labels": {_LEVEL: level}}
        api_server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


def _create(server: ApiServer, manifest: Json) -> str:
    """Have an object checked as if it were created, every field of it; return what kubectl says."""
    if manifest["kind"] == "Pod":  # as the admission of service accounts does, before any webhook
        manifest["spec"].setdefault("serviceAccountName", "default")
    return server.kubectl(
        *("create", "--dry-run=server", "--validate=strict", "-f", "-"),
        given=json.dumps(manifest),
        check=False,
    )


def _injected(annotations: dict[str, str], level: str) -> Json:
    namespace = f"{_NAMESPACE}-{level}"
    container = {"name": "app", "image": "app", "securityContext": _MODEST}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": namespace, "annotations": annotations},
        "spec": {"containers": [container]},
    }
    return inject_pod(pod, InjectSettings()).pod


@pytest.mark.parametrize("case", _CASES)
def test_the_api_server_knows_every_field(api_server: ApiServer, case: str) -> None:
    """No field is misspelt, none is refused, none is dropped."""
    *head, pod = yaml.safe_load_all((_GOLDENS / f"{case}.in.yaml").read_text(encoding="utf-8"))
    wanted = dict(head[0]["settings"]) if head else {}
    version = wanted.pop("version", (1, 36))
    settings = InjectSettings(**wanted).for_version(*version)
    injected = inject_pod(pod, settings).pod
    injected["metadata"]["namespace"] = f"{_NAMESPACE}-privileged"
    assert "created (server dry run)" in _create(api_server, injected)


def test_only_capture_stands_in_the_way_of_baseline(api_server: ApiServer) -> None:
    """Pod Security names the init container and its two capabilities, and nothing of the proxy."""
    said = _create(api_server, _injected({}, "baseline"))
    assert 'violates PodSecurity "baseline' in said
    assert said.count("container ") == 1
    assert '"istio-init" must not include "NET_ADMIN", "NET_RAW"' in said


def test_without_capture_a_pod_is_restricted(api_server: ApiServer) -> None:
    """The proxy itself passes the strictest level."""
    pod = _injected({"sidecar.istio.io/interceptionMode": "NONE"}, "restricted")
    assert "created (server dry run)" in _create(api_server, pod)


def test_a_gateway_is_all_but_restricted(api_server: ApiServer) -> None:
    """Ports below 1024 come by a sysctl that every level allows."""
    pod = _injected({"inject.istio.io/templates": "gateway"}, "restricted")
    pod["spec"]["containers"] = [
        one for one in pod["spec"]["containers"] if one["name"] == "istio-proxy"
    ]
    assert "created (server dry run)" in _create(api_server, pod)


@pytest.mark.parametrize("revision", ["default", "canary"])
def test_the_api_server_takes_the_webhooks(api_server: ApiServer, revision: str) -> None:
    """Names, selectors and policies are valid ones."""
    where = {"service": {"name": "mizzen", "namespace": "mizzen-system", "path": "/inject"}}
    settings = InjectSettings(revision=revision, enabled_by_default=True)
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": f"injected-pods-{revision}"},
        "webhooks": injection_webhooks(where, settings),
    }
    assert "created (server dry run)" in _create(api_server, configuration)

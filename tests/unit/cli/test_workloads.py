"""Offline, a workload stands for a pod, and the Services that select it have endpoints."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from mizzen.model.kube import EndpointSlice, Pod, Service
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_cli.offline import load

if TYPE_CHECKING:
    from pathlib import Path

    from mizzen_cli.offline import OfflineMesh

pytestmark = pytest.mark.unit

_WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata:
      labels: {app: web, version: v1}
    spec:
      serviceAccountName: ann
      containers: [{name: web, image: web:1, ports: [{name: main, containerPort: 8080}]}]
"""
_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: main}
    - {name: tcp, port: 90, targetPort: 9090}
    - {name: same, port: 70}
    - {name: lost, port: 60, targetPort: nowhere}
"""


def _mesh(folder: Path, *texts: str) -> OfflineMesh:
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(dedent(text), encoding="utf-8")
    return load(folder)


def _get(mesh: OfflineMesh, kind: str, name: str = "web") -> object:
    return mesh.compiler.objects.get(ObjectKey(DEFAULT_REGISTRY, kind, "shop", name))


def _pod(mesh: OfflineMesh, name: str = "web") -> Pod:
    found = _get(mesh, "Pod", name)
    assert isinstance(found, Pod)
    return found


def test_a_deployment_stands_for_a_pod(tmp_path: Path) -> None:
    """Of its name, with what its template says, and with a sidecar."""
    mesh = _mesh(tmp_path, _WEB)
    pod = _pod(mesh)
    assert dict(pod.meta.labels) == {
        "app": "web",
        "version": "v1",
        "security.istio.io/tlsMode": "istio",
    }
    assert (pod.service_account, pod.ips) == ("ann", ("198.18.0.1",))
    assert (mesh.findings, mesh.objects) == ((), 1)


def test_who_is_not_injected_has_no_sidecar(tmp_path: Path) -> None:
    """By its own word."""
    text = _WEB.replace("version: v1", 'sidecar.istio.io/inject: "false"')
    assert "security.istio.io/tlsMode" not in dict(_pod(_mesh(tmp_path, text)).meta.labels)


@pytest.mark.parametrize("is_headless", [False, True])
def test_a_service_has_it_for_an_endpoint(tmp_path: Path, *, is_headless: bool) -> None:
    """At the ports that are meant; and an address, unless it is to have none."""
    text = _SERVICE.replace("selector", "clusterIP: None\n  selector") if is_headless else _SERVICE
    mesh = _mesh(tmp_path, _WEB, text)
    found, service = _get(mesh, "EndpointSlice"), _get(mesh, "Service")
    assert isinstance(found, EndpointSlice)
    assert isinstance(service, Service)
    assert found.ports == (("http", 8080), ("tcp", 9090), ("same", 70))
    assert [(one.addresses, one.pod) for one in found.endpoints] == [(("198.18.0.1",), "web")]
    assert service.cluster_ips == (() if is_headless else ("198.19.0.1",))
    assert mesh.objects == 2


def test_what_is_written_stays(tmp_path: Path) -> None:
    """A pod of the same name, a Service's address, and the endpoints that a folder has."""
    pod = """
    apiVersion: v1
    kind: Pod
    metadata: {name: web, namespace: shop, labels: {app: web}}
    spec: {containers: [{name: web, image: web:1}]}
    status: {podIP: 10.0.0.9}
    """
    endpoints = """
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: mine, namespace: shop, labels: {kubernetes.io/service-name: web}}
    addressType: IPv4
    endpoints: [{addresses: [10.0.0.9]}]
    """
    other = _WEB.replace("name: web, namespace", "name: other, namespace")
    addressed = _SERVICE.replace("spec:", "spec:\n  clusterIP: 10.1.1.1")
    assert _pod(_mesh(tmp_path, _WEB, pod)).ips == ("10.0.0.9",)
    mesh = _mesh(tmp_path, other, pod, addressed, endpoints)
    assert _get(mesh, "EndpointSlice") is None
    (tmp_path / "3.yaml").unlink()
    mesh = load(tmp_path)
    service = _get(mesh, "Service")
    assert isinstance(service, Service)
    assert service.cluster_ips == ("10.1.1.1",)
    assert isinstance(_get(mesh, "EndpointSlice"), EndpointSlice)


def test_a_list_has_workloads_too(tmp_path: Path) -> None:
    """As kubectl writes one; what is broken beside it does not matter."""
    listed = "kind: List\napiVersion: v1\nitems:\n- " + _WEB.strip().replace("\n", "\n  ")
    mesh = _mesh(tmp_path, listed, "template: [\n", "- template\n", "# template\n")
    assert _pod(mesh).ips == ("198.18.0.1",)
    assert [found.code.id for found in mesh.findings] == ["MZ0101", "MZ0102"]


def test_what_is_no_workload_is_told_of(tmp_path: Path) -> None:
    """Without a template or a name there is nothing to stand for."""
    nameless = _WEB.replace("{name: web, namespace: shop}", "{namespace: shop}")
    bare = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: template}}"
    mesh = _mesh(tmp_path, nameless, bare)
    assert [found.code.id for found in mesh.findings] == ["MZ0106", "MZ0106"]

"""A proxy has one listener for an address and port, whoever wants another."""

from __future__ import annotations

from envoy.config.listener.v3.listener_pb2 import Listener

from mizzen.compile import Compiler
from mizzen.model.world import Batch
from mizzen.wire import TypeUrl
from tests.support.small_mesh import istio, pod, read, service, sidecar

_SIDECAR = """
workloadSelector: {labels: {app: web}}
ingress:
  - port: {number: 80, protocol: HTTP, name: http}
    bind: 0.0.0.0
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:8080
"""


def test_a_port_of_its_own_goes_before_the_same_port_of_others() -> None:
    """Where callers connect to a proxy on port 80 of any address, it has no other listener there."""
    compiler = Compiler()
    manifests = (service("web", "http:80"), pod("10.0.0.1", "web"))
    compiler.commit(Batch(changes=dict(read(*manifests))))
    node = sidecar(name="p-10-0-0-1")
    for changes, binds in ((read(istio("Sidecar", "web", _SIDECAR)), True), ({}, True)):
        compiler.commit(Batch(changes=dict(changes)))
        bundle = compiler.bundle(compiler.classify(node))
        tables = bundle.layers(TypeUrl.LISTENER)
        (entry,) = (table["0.0.0.0_80"] for table in tables if "0.0.0.0_80" in table)
        listener = Listener.FromString(entry.resource.body)
        assert (not listener.HasField("bind_to_port")) is binds

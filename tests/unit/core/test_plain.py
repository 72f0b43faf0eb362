"""Hosts that a Sidecar leaves what they are: told at once, and made once for those who see everything."""

from __future__ import annotations

import pytest

from mizzen.resolve.plain import leaves_all, plain
from mizzen.resolve.proxies import proxy_class
from mizzen.tables import host_resources
from tests.support.small_mesh import SHOP, SmallMesh, host, istio, service, sidecar

_MESH = (
    service("web", "http:80:8080", "tcp:9000"),
    service("api", ip="10.96.0.2"),
    service("far", namespace="bank", ip="10.96.0.3"),
    service("alike", ip="10.96.0.3", namespace="bank"),
    service("named", "http:80", ip="10.96.0.5"),
    istio("VirtualService", "api", "hosts: [api]\nhttp: [{route: [{destination: {host: web}}]}]"),
)


def test_a_host_is_plain_that_is_but_its_services() -> None:
    """What a VirtualService routes is not, nor what shares an address or a name with another host."""
    mesh = SmallMesh(*_MESH)
    assert plain(mesh.db, ("shop", host("web"))) == (("shop", (80, 9000)),)
    assert plain(mesh.db, ("shop", host("api"))) is None
    assert plain(mesh.db, ("shop", host("far", "bank"))) is None
    assert plain(mesh.db, ("shop", "nobody.example")) == ()
    hidden = service("web", extra='networking.istio.io/exportTo: "."')
    mesh.apply(hidden)
    assert plain(mesh.db, ("bank", host("web"))) == ()


@pytest.mark.parametrize(
    ("egress", "left"),
    [
        ("- hosts: ['*/*']", True),
        ("- hosts: ['./*']", True),
        ("- hosts: ['bank/*']", False),
        ("- hosts: ['*/*', '~shop/web.shop.svc.cluster.local']", False),
        ("- {port: {number: 80}, hosts: ['bank/*']}\n- hosts: ['*/*']", False),
        ("- {port: {number: 80}, hosts: ['shop/*']}\n- hosts: ['*/*']", True),
        ("- {port: {number: 80}, hosts: ['shop/*']}", False),
        ("- {port: {number: 7000}, captureMode: NONE, hosts: ['*/*']}\n- hosts: ['*/*']", False),
    ],
)
def test_a_sidecar_leaves_what_it_imports_whole(egress: str, left: bool) -> None:
    """All services, on all their ports, where they always were; then it is the others' very own."""
    mesh = SmallMesh(*_MESH, istio("Sidecar", "some", f"egress:\n{egress}"))
    scope = proxy_class(mesh.db, sidecar()).scope
    assert leaves_all(mesh.db, scope, host("web")) is left
    own = host_resources(mesh.db, (scope, host("web")))
    assert (own is host_resources(mesh.db, (SHOP, host("web")))) is left

"""Hosts that a Sidecar leaves what they are: told at once, and made once for those who see everything."""

from __future__ import annotations

import pytest

from mizzen.model.proxy import Scope
from mizzen.resolve.plain import leaves_all, plain, wider_scope
from mizzen.resolve.proxies import proxy_class
from mizzen.tables import host_resources
from tests.support.small_mesh import GATEWAY, SHOP, SmallMesh, host, istio, read, service, sidecar

_MESH = (
    service("web", "http:80:8080", "tcp:9000"),
    service("api", ip="10.96.0.2"),
    service("far", namespace="bank", ip="10.96.0.3"),
    service("alike", ip="10.96.0.3", namespace="bank"),
    service("named", "http:80", ip="10.96.0.5"),
    istio("VirtualService", "api", "hosts: [api]\nhttp: [{route: [{destination: {host: web}}]}]"),
)
_WEB = f"host: {host('web')}"
_ROUTED = "hosts: [web]\nhttp: [{route: [{destination: {host: api}}], timeout: 3s}]"


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


def _share(mesh: SmallMesh, name: str) -> bool:
    """Tell whether two namespaces that have nothing to do with a host have it as nobody in particular has."""
    scopes = [Scope(namespace=one) for one in ("bank", "garden")]
    return all(wider_scope(mesh.db, one, host(name)) == Scope(namespace="") for one in scopes)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("networking.istio.io/exportTo: '.,garden'", id="not there for all"),
        pytest.param(istio("DestinationRule", "web", _WEB, namespace="bank"), id="ruled on"),
        pytest.param(istio("DestinationRule", "web", f"{_WEB}\nexportTo: [bank]"), id="for some"),
        pytest.param(istio("VirtualService", "web", _ROUTED), id="routed"),
    ],
)
def test_namespaces_share_what_is_surely_the_same_for_all(written: str) -> None:
    """And no more than that: each looks for itself as soon as something is written for some of them."""
    mesh = SmallMesh(*_MESH)
    assert _share(mesh, "web")
    assert wider_scope(mesh.db, SHOP, host("web")) is None
    assert wider_scope(mesh.db, GATEWAY, host("web")) is None
    plainly = service("web", "http:80:8080", "tcp:9000")
    changed = service("web", extra=written) if written.startswith("networking") else written
    mesh.apply(changed)
    assert not _share(mesh, "web")
    assert _share(mesh, "named")
    if changed is written:
        (key,) = read(written)
        mesh.delete(key.kind, key.name, key.namespace)
    mesh.apply(plainly)
    assert _share(mesh, "web")


def test_a_sidecar_of_all_namespaces_makes_nothing_anew_of_what_it_leaves() -> None:
    """Whether it leaves a host is asked once, and it is then what it is for those who see everything."""
    wide = istio("Sidecar", "wide", "egress: [{hosts: ['*/*']}]", namespace="istio-system")
    mesh = SmallMesh(*_MESH, wide)
    scopes = [proxy_class(mesh.db, sidecar(one)).scope for one in ("bank", "garden")]
    assert all(scope.sidecar is not None for scope in scopes)
    everyones = host_resources(mesh.db, (Scope(namespace="bank"), host("web")))
    assert all(host_resources(mesh.db, (one, host("web"))) is everyones for one in scopes)

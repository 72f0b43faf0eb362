"""The samples of TLS at the door and to outside, of machines, settings and places, each tried in the shop."""

from __future__ import annotations

import ssl
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import eventually
from tests.support.sample_mesh import COURIER, FRONTEND, GATEWAY, SHOP, SampleMesh
from tests.support.tls_visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOP_HOST: Final = "shop.example.com"
_PARCELS: Final = "parcels.example.com"
_NEAR: Final = ("reviews-v1", "reviews-v2")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleMesh]:
    """The shop."""
    with SampleMesh(tmp_path_factory.mktemp("mesh")) as made:
        yield made


def _customer(mesh: SampleMesh) -> Visitor:
    roots = (SHOP / "app" / "authority.pem").read_text(encoding="ascii")
    return Visitor(mesh=mesh, address=GATEWAY, port=443, roots=roots)


def test_customers_come_by_tls(mesh: SampleMesh) -> None:
    """ingress-tls: and who comes without is told where to go."""
    with mesh.trying("ingress-tls"):
        assert _customer(mesh).call(_SHOP_HOST, "/self").seen["service"] == "frontend"
        reply = mesh.knock("/self", _SHOP_HOST)
        assert (reply.status, reply.headers["location"]) == (301, f"https://{_SHOP_HOST}/self")
        assert mesh.knock("/self").status == 200


def test_customers_show_who_they_are(mesh: SampleMesh) -> None:
    """ingress-mutual-tls: or are not let in."""
    pem = (SHOP / "app" / "customer.pem").read_text(encoding="ascii")
    known = replace(_customer(mesh), shows=pem)
    with mesh.trying("ingress-mutual-tls"):
        assert known.call(_SHOP_HOST, "/self").seen["service"] == "frontend"
        assert _customer(mesh).call(_SHOP_HOST, "/self").status == 0


def test_envoy_makes_tls(mesh: SampleMesh) -> None:
    """tls-origination: plain HTTP of the frontend arrives at the courier's TLS port."""
    with mesh.trying("tls-origination"):
        eventually(lambda: mesh.courier().status == 200, "the courier answers")
        shaken = "^cluster.outbound.9080..courier.example.com;.ssl.handshake$"
        assert sum(mesh.stats(FRONTEND, shaken).values()) > 0


def test_near_pods_are_asked(mesh: SampleMesh) -> None:
    """locality-failover: those far away only when nobody near is left."""

    def pods() -> set[str]:
        replies = mesh.calls(FRONTEND, "http://reviews:9080/self", 30)
        return {reply.pod for reply in replies if reply.status == 200}

    assert pods() == {*_NEAR, "reviews-v3"}
    with mesh.trying("locality-failover"):
        eventually(lambda: pods() == {*_NEAR}, "those near are asked")
        with ExitStack() as broken:
            for name in _NEAR:
                broken.enter_context(mesh.broken(name))
            eventually(lambda: pods() == {"reviews-v3"}, "the one far away is asked")


def test_places_have_shares(mesh: SampleMesh) -> None:
    """locality-shares: four in five go to the attic."""
    with mesh.trying("locality-shares"):
        replies = mesh.calls(FRONTEND, "http://reviews:9080/self", 200)
    assert {reply.status for reply in replies} == {200}
    assert 120 < sum(reply.pod == "reviews-v3" for reply in replies) < 190


def test_callers_stay_in_their_zone(mesh: SampleMesh) -> None:
    """zone-aware: those at the desk ask those at the desk."""
    with mesh.trying("zone-aware"):
        replies = mesh.calls(FRONTEND, "http://reviews:9080/self", 40)
    assert {reply.status for reply in replies} == {200}
    assert {reply.pod for reply in replies} == {*_NEAR}


def test_somebody_else_decides(mesh: SampleMesh) -> None:
    """external-authorization: the ledger is asked, and does not like thieves."""

    def statuses(who: str) -> set[int]:
        replies = mesh.calls(FRONTEND, "http://reviews:9080/self", 12, headers={"end-user": who})
        return {reply.status for reply in replies}

    def asked() -> int:
        before = mesh.counted("ledger-v1")
        assert statuses("ann") == {200}
        return mesh.counted("ledger-v1") - before

    with mesh.trying("external-authorization"):
        eventually(lambda: statuses("thief") == {403}, "thieves are refused")
        # a connection that was open already takes one more request under the old policies
        eventually(lambda: asked() == 12, "the ledger is asked of every request")
    eventually(lambda: statuses("thief") == {200}, "nobody is asked any more")


def test_somebody_else_decides_over_grpc(mesh: SampleMesh) -> None:
    """external-authorization-grpc: thieves are refused, and everyone is while nobody can be asked."""

    def statuses(who: str) -> set[int]:
        replies = mesh.calls(FRONTEND, "http://reviews:9080/self", 12, headers={"end-user": who})
        return {reply.status for reply in replies}

    with mesh.trying("external-authorization-grpc"):
        eventually(lambda: statuses("thief") == {403}, "thieves are refused")
        assert statuses("ann") == {200}
    eventually(lambda: statuses("thief") == {200}, "nobody is asked any more")


def test_bytes_leave_by_a_tunnel(mesh: SampleMesh) -> None:
    """tunnel: bookings arrive at the courier's port for them, and left as HTTP."""
    asked = "^cluster.outbound.9000..courier.example.com;.upstream_cx_http1_total$"
    with mesh.trying("tunnel"):
        assert mesh.tcp(FRONTEND, COURIER, 9000) == b"courier: hello\n"
        assert sum(mesh.stats(FRONTEND, asked).values()) == 1


def test_a_server_name_leads_somewhere(mesh: SampleMesh) -> None:
    """tls-routing: to the courier, whatever address the caller has for the name."""
    with mesh.trying("tls-routing"):
        made = mesh.connect(FRONTEND, ("10.44.0.99", 9443))
        with (
            made,
            ssl._create_unverified_context().wrap_socket(made, server_hostname=_PARCELS) as secured,
        ):
            secured.sendall(f"GET /self HTTP/1.0\r\nhost: {_PARCELS}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: secured.recv(4096), b""))
    assert b'"service": "courier"' in answer


def test_the_mesh_has_settings(mesh: SampleMesh) -> None:
    """mesh-settings: what the mesh does not know is not reached, by anyone."""
    assert mesh.courier().status == 200
    with mesh.trying("mesh-settings"):
        eventually(lambda: mesh.courier().status == 502, "it is closed")
        assert mesh.knock("/").status == 200
    eventually(lambda: mesh.courier().status == 200, "it is open again")


def test_machines_are_joined(mesh: SampleMesh) -> None:
    """workload-entry: wherever the client thinks that the host is, the machine answers."""
    with mesh.trying("workload-entry"):
        url = "http://parcels.example.com:9080/self"
        eventually(
            lambda: mesh.call(FRONTEND, url, at="10.44.0.99").pod == "courier", "it is joined"
        )
        assert mesh.call(FRONTEND, url, at=COURIER).pod == "courier"


def test_a_policy_is_tried(mesh: SampleMesh) -> None:
    """dry-run: everyone passes, and what would have been denied is counted."""

    def denied() -> int:
        return sum(sum(mesh.stats(f"reviews-v{n}", "shadow_denied$").values()) for n in (1, 2, 3))

    with mesh.trying("dry-run"):

        def passes() -> bool:
            assert mesh.ask(FRONTEND, "reviews").status == 200
            return denied() > 0

        eventually(passes, "it is counted")


def test_one_comes_from_somewhere(mesh: SampleMesh) -> None:
    """access-by-address: from the network that is named, or not at all."""
    [file] = (SHOP.parent / "access-by-address").glob("*.yaml")
    text = file.read_text(encoding="utf-8")
    with mesh.trying("access-by-address"):
        assert mesh.knock("/self").status == 200
    with mesh.having(text.replace("10.44.0.0/16", "203.0.113.0/24")):
        eventually(lambda: mesh.knock("/self").status == 403, "this network is not let in")
    eventually(lambda: mesh.knock("/self").status == 200, "everyone is let in")


def test_a_service_has_another_name(mesh: SampleMesh) -> None:
    """external-name: under which it is called as under its own."""

    def caller() -> str:
        # a pod answers whom the mesh lets pass; at the address of the service nobody would
        at = mesh.pod("reviews-v1").ip
        reply = mesh.call(FRONTEND, "http://opinions:9080/self", at=at)
        return str(reply.seen.get("caller") or "")

    assert caller() == ""
    with mesh.trying("external-name"):
        eventually(lambda: caller().endswith("/sa/frontend"), "the name is known")

"""The samples of ways in and out, identity and access, each tried in the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import eventually
from tests.support.sample_mesh import APP_PORT, CATALOG, FRONTEND, SampleMesh

if TYPE_CHECKING:
    from collections.abc import Iterator

_STRANGER: Final = "stranger"
_LEDGER: Final = "10.44.0.40"
_BOOKINGS: Final = 9000


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleMesh]:
    """The shop."""
    with SampleMesh(tmp_path_factory.mktemp("mesh")) as made:
        yield made


def _book(mesh: SampleMesh, of: str) -> bytes:
    return mesh.tcp(of, "ledger", _BOOKINGS)


def test_customers_come_in(mesh: SampleMesh) -> None:
    """ingress: by the host they ask for, and by path."""
    host = "shop.example.com"
    with mesh.trying("ingress"):
        seen = mesh.knock("/reviews/self", host).seen
        assert (seen["service"], seen["path"]) == ("reviews", "/self")
        assert mesh.knock("/self", host).seen["service"] == "frontend"


def test_one_sees_what_one_needs(mesh: SampleMesh) -> None:
    """sidecar-scope: the catalog's Envoys know the ledger, and not the reviews."""
    with mesh.trying("sidecar-scope"):
        eventually(lambda: "reviews.shop" not in mesh.admin(CATALOG, "/clusters"), "a scope")
        assert mesh.ask(CATALOG, "ledger").status == 200
        assert "reviews.shop" in mesh.admin(FRONTEND, "/clusters")
    assert "reviews.shop" in mesh.admin(CATALOG, "/clusters")


def test_everyone_proves_who_they_are(mesh: SampleMesh) -> None:
    """mutual-tls: plain text is refused but on the port for bookings."""

    def plainly() -> int:
        return mesh.call(_STRANGER, f"http://{_LEDGER}:{APP_PORT}/self").status

    assert plainly() == 200
    with mesh.trying("mutual-tls"):
        eventually(lambda: plainly() == 0, "plain text is refused")
        assert mesh.tcp(_STRANGER, _LEDGER, _BOOKINGS) == b"ledger: hello\n"
        assert mesh.ask(FRONTEND, "ledger").seen["caller"].endswith("/sa/frontend")
    eventually(lambda: plainly() == 200, "plain text is taken again")


def test_readers_are_known(mesh: SampleMesh) -> None:
    """access-http: the frontend may read, and others may not."""
    with mesh.trying("access-http"):
        eventually(lambda: mesh.ask(CATALOG, "reviews").status == 403, "the catalog may not")
        assert mesh.ask(FRONTEND, "reviews").status == 200
        assert mesh.ask(FRONTEND, "reviews", "/other").status == 403
        posted = mesh.call(FRONTEND, "http://reviews:9080/self", method="POST")
        assert posted.status == 403
    eventually(lambda: mesh.ask(CATALOG, "reviews").status == 200, "it may again")


def test_who_may_book(mesh: SampleMesh) -> None:
    """access-tcp: the catalog's bookings are taken, the frontend's connection is closed."""
    with mesh.trying("access-tcp"):
        eventually(lambda: _book(mesh, FRONTEND) == b"", "the frontend may not")
        assert _book(mesh, CATALOG) == b"ledger: hello\n"
        assert mesh.ask(FRONTEND, "ledger").status == 200
    eventually(lambda: _book(mesh, FRONTEND) != b"", "it may again")


def test_what_is_internal(mesh: SampleMesh) -> None:
    """access-deny: the shop looks at it, customers do not."""
    with mesh.trying("access-deny"):
        eventually(lambda: mesh.knock("/internal/keys").status == 403, "customers do not")
        assert mesh.knock("/self").status == 200
        assert mesh.ask(CATALOG, "frontend", "/internal/keys").status == 200
    eventually(lambda: mesh.knock("/internal/keys").status == 200, "they do again")

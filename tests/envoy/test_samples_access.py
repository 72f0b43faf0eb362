"""The samples of ways in and out, identity and access, each tried in the shop."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import HUB, eventually
from tests.support.sample_mesh import (
    APP_PORT,
    CATALOG,
    COURIER,
    FRONTEND,
    GATEWAY,
    SAMPLES,
    SHOP,
    SampleMesh,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_STRANGER: Final = "stranger"
_LEDGER: Final = "10.44.0.40"
_BOOKINGS: Final = 9000
_EGRESS: Final = "10.44.0.81"


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


def test_tls_is_passed_through(mesh: SampleMesh) -> None:
    """tls-passthrough: the client finds the courier's own certificate at the gateway, by the name it asks for."""
    trusted = ssl.create_default_context(cafile=str(SHOP / "app" / "authority.pem"))

    def answer(name: str) -> bytes:
        made = mesh.connect(HUB, (GATEWAY, 443))
        with made, trusted.wrap_socket(made, server_hostname=name) as secured:
            secured.sendall(f"GET /self HTTP/1.0\r\nhost: {name}\r\n\r\n".encode())
            return b"".join(iter(lambda: secured.recv(4096), b""))

    with mesh.trying("tls-passthrough"):
        assert b'"service": "courier"' in answer("courier.example.com")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            answer("other.example.com")


def test_mutual_tls_is_passed_through(mesh: SampleMesh) -> None:
    """sni-passthrough: the ledger sees the frontend, though the connection came by the gateway."""

    def passed() -> int:
        found = mesh.stats("istio-ingressgateway-1", r"^tcp\.outbound_.*_443\.downstream_cx_total$")
        return sum(found.values())

    with mesh.trying("sni-passthrough"):
        before = passed()
        reply = mesh.ask(FRONTEND, "ledger")
        assert reply.seen["caller"].endswith("/ns/shop/sa/frontend")
        after = passed()
        assert after > before
        assert mesh.ask(FRONTEND, "reviews").status == 200
        assert passed() == after


def test_the_courier_is_known(mesh: SampleMesh) -> None:
    """external-service: its route is in force, and what the mesh has not heard of has none."""
    with mesh.trying("external-service"):
        eventually(lambda: mesh.courier("/nap").status == 504, "the route is in force")
        assert mesh.courier().seen["service"] == "courier"
        assert mesh.courier("/nap", "other.example.com").status == 200


def test_nothing_leaves_but_to_whom_was_named(mesh: SampleMesh) -> None:
    """egress-control: the courier is reached by its name, and not by another one."""
    with mesh.trying("egress-control"):
        eventually(lambda: mesh.courier(host="other.example.com").status == 502, "it is closed")
        assert mesh.courier().seen["service"] == "courier"
        assert mesh.knock("/").status == 200
    eventually(lambda: mesh.courier(host="other.example.com").status == 200, "it is open again")


def test_a_domain_may_be_left_for(mesh: SampleMesh) -> None:
    """egress-wildcard: any host of it, and none of another one."""
    with mesh.trying("egress-wildcard"):
        eventually(lambda: mesh.courier(host="other.example.org").status == 502, "it is closed")
        for host in ("courier.example.com", "any.example.com"):
            assert mesh.courier(host=host).seen["service"] == "courier"
    eventually(lambda: mesh.courier(host="other.example.org").status == 200, "it is open again")


def test_one_leaves_by_the_gateway(mesh: SampleMesh) -> None:
    """egress-gateway: the courier sees the gateway's address, not the frontend's."""
    assert mesh.courier().seen["from"] == mesh.pod(FRONTEND).ip
    with mesh.trying("egress-gateway"):
        eventually(lambda: mesh.courier().seen.get("from") == _EGRESS, "it leaves by the gateway")
        assert mesh.courier(host="other.example.com").seen["from"] == mesh.pod(FRONTEND).ip


def test_the_gateway_makes_tls(mesh: SampleMesh) -> None:
    """egress-gateway-tls: the gateway's address is seen at the courier's TLS port, where plain text is not understood."""
    with mesh.trying("egress-gateway-tls"):
        eventually(lambda: mesh.courier().seen.get("from") == _EGRESS, "it leaves by the gateway")
        shaken = "^cluster.outbound.9080..courier.example.com;.ssl.handshake$"
        assert sum(mesh.stats("istio-egressgateway-1", shaken).values()) > 0


def test_servers_are_told_of_callers(mesh: SampleMesh) -> None:
    """proxy-protocol: the courier's first line says whose connection it is."""
    with mesh.trying("proxy-protocol"):
        told = mesh.tcp(FRONTEND, COURIER, _BOOKINGS)
    assert told.startswith(b"courier: PROXY TCP4 %s " % mesh.pod(FRONTEND).ip.encode())


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
    """access-http: the frontend may read, and others may not; each of three pods sees to that."""

    def statuses(of: str, path: str = "/self") -> set[int]:
        return {reply.status for reply in mesh.calls(of, f"http://reviews:9080{path}", 12)}

    with mesh.trying("access-http"):
        eventually(lambda: statuses(CATALOG) == {403}, "the catalog may not")
        eventually(lambda: statuses(FRONTEND, "/other") == {403}, "not everything may be read")
        assert statuses(FRONTEND) == {200}
        posted = mesh.call(FRONTEND, "http://reviews:9080/self", method="POST")
        assert posted.status == 403
    eventually(lambda: statuses(CATALOG) == {200}, "it may again")


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


def _bearer(sample: str, whose: str) -> str:
    return f"Bearer {(SAMPLES / sample / whose).read_text(encoding='ascii').strip()}"


def test_tokens_are_asked_for(mesh: SampleMesh) -> None:
    """tokens: the accountant's opens the books, others' do not, and what is not valid is refused anywhere."""

    def status(path: str, token: str = "") -> int:
        return mesh.knock(path, **({"authorization": token} if token else {})).status

    accountant, customer = (_bearer("tokens", f"{who}.jwt") for who in ("accountant", "customer"))
    with mesh.trying("tokens"):
        eventually(lambda: status("/ledger") == 403, "the books are closed")
        assert status("/ledger", accountant) == 200
        assert status("/ledger", customer) == 403
        assert status("/reviews", customer) == status("/reviews") == 200
        assert status("/reviews", accountant[:-4]) == 401
    eventually(lambda: status("/ledger") == 200, "they are open again")


def test_a_token_opens_another_door(mesh: SampleMesh) -> None:
    """token-routing: the gateway asks for a claim and chooses the route by it."""
    host = "books.example.com"
    with mesh.trying("token-routing"):
        assert mesh.knock("/self", host).seen["service"] == "frontend"
        for whose, service in (("accountant", "ledger"), ("customer", "frontend")):
            bearer = _bearer("token-routing", f"{whose}.jwt")
            assert mesh.knock("/self", host, authorization=bearer).seen["service"] == service


def test_keys_are_fetched(mesh: SampleMesh) -> None:
    """tokens-by-uri: a valid token is known by them, and its claim is told to the frontend."""
    token = _bearer("tokens", "customer.jwt")
    with mesh.trying("tokens-by-uri"):
        eventually(lambda: mesh.knock("/self", authorization=token[:-4]).status == 401, "a check")
        seen = mesh.knock("/echo", authorization=token, end_user="root").seen
        assert seen["headers"]["end-user"] == "bob"
    eventually(lambda: mesh.knock("/self", authorization=token[:-4]).status == 200, "no check")


def test_nothing_is_allowed(mesh: SampleMesh) -> None:
    """access-closed: but for the gateway, which may call the frontend."""
    with mesh.trying("access-closed"):
        eventually(lambda: mesh.ask(FRONTEND, "ledger").status == 403, "it is closed")
        eventually(lambda: mesh.ask(CATALOG, "frontend").status == 403, "it is closed")
        assert mesh.knock("/self").status == 200
    eventually(lambda: mesh.ask(FRONTEND, "ledger").status == 200, "it is open")
    eventually(lambda: mesh.ask(CATALOG, "frontend").status == 200, "it is open")


def test_what_arrives_is_handed_on_over_loopback(mesh: SampleMesh) -> None:
    """sidecar-ingress: the ledger sees 127.0.0.1, and otherwise the sidecar's own address."""

    def caller() -> str:
        return str(mesh.ask(FRONTEND, "ledger").seen.get("from", ""))

    assert caller() == "127.0.0.6"
    with mesh.trying("sidecar-ingress"):
        eventually(lambda: caller() == "127.0.0.1", "it is handed on")
    eventually(lambda: caller() == "127.0.0.6", "it is as before")

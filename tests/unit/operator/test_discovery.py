"""What an issuer says of itself is believed as far as it may be, and why not is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import pytest

from mizzen_operator.discovery import DiscoveryError, keys_of, may_be_called

if TYPE_CHECKING:
    from collections.abc import Iterator

_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class _Issuer(ThreadingHTTPServer):
    """Answers by path; ``{me}`` in an answer is its own URL."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, str]] = {}
        self.me = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: _Issuer

    def do_GET(self) -> None:
        status, text = self.server.answers.get(self.path, (404, ""))
        self.send_response(status)
        if status == 302:
            self.send_header("location", text)
        self.end_headers()
        self.wfile.write(text.replace("{me}", self.server.me).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[_Issuer]:
    """An issuer on this machine."""
    with _Issuer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _document(**more: object) -> str:
    return json.dumps({"issuer": "{me}", "jwks_uri": "https://keys.example/jwks", **more})


@pytest.mark.parametrize("path", ["", "/realms/shop"])
def test_an_issuer_says_where_its_keys_are(issuer: _Issuer, path: str) -> None:
    """At its well-known place, below the issuer's own path."""
    document = _document(issuer=f"{{me}}{path}")
    issuer.answers[f"{path}{_WELL_KNOWN}"] = (200, document)
    assert keys_of(f"{issuer.me}{path}", loopback=True) == "https://keys.example/jwks"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, ""), "answers 404"),
        ((302, "http://127.0.0.1/"), "answers 302"),
        ((200, "<html>"), "is not JSON"),
        ((200, "[]"), "is not of the issuer"),
        ((200, "[" * 60_000), "is not JSON"),
        ((200, _document(issuer="https://other.example")), "is not of the issuer"),
        ((200, _document(jwks_uri=7)), "has no jwks_uri"),
        ((200, _document(jwks_uri="file:///etc/passwd")), "has no jwks_uri"),
        ((200, _document(more="x" * 70_000)), "is longer than 65536 bytes"),
    ],
)
def test_a_wrong_answer_is_not_believed(issuer: _Issuer, answer: tuple[int, str], why: str) -> None:
    """And nothing of it is repeated."""
    issuer.answers[_WELL_KNOWN] = answer
    with pytest.raises(DiscoveryError, match=why):
        keys_of(issuer.me, loopback=True)


def test_who_cannot_be_had_is_told_of(issuer: _Issuer) -> None:
    """An address that is not called, a port where nobody is, TLS with somebody who speaks none, no URL."""
    with pytest.raises(DiscoveryError, match="not called"):
        keys_of(issuer.me)
    with pytest.raises(DiscoveryError, match="cannot be had"):
        keys_of("http://127.0.0.1:9", loopback=True)
    with pytest.raises(DiscoveryError, match="cannot be had"):
        keys_of(issuer.me.replace("http:", "https:"), loopback=True)
    for strange in (
        "me@example.com",
        "https://example.com/ä",
        "https://a b.example",
        "https" + "://[::1",
    ):
        with pytest.raises(DiscoveryError, match="no http or https URL"):
            keys_of(strange)
    for strange in ("/a b", "/\x01", "/%"):
        with pytest.raises(DiscoveryError):
            keys_of(issuer.me + strange, loopback=True)


@pytest.mark.parametrize(
    ("address", "called"),
    [
        ("10.0.0.1", True),
        ("8.8.8.8", True),
        ("2001:db8::1", True),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("100.100.100.200", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
    ],
)
def test_some_addresses_are_never_called(address: str, *, called: bool) -> None:
    """The link's, where clouds keep metadata, and our own."""
    assert may_be_called(address, loopback=False) is called

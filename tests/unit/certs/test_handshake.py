"""Two workloads shake hands, each proving itself: OpenSSL's opinion of keys, chains and bundles."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from mizzen_certs import (
    Authority,
    CaPolicy,
    MemoryStore,
    Svid,
    SystemClock,
    TrustBundle,
    identity_of,
)
from tests.unit.certs.forge import CART, STOCK, TRUST_DOMAIN

if TYPE_CHECKING:
    from pathlib import Path

AT_ONCE = CaPolicy(overlap=timedelta())


class Side:
    """One end of a TLS connection that runs in memory."""

    def __init__(self, folder: Path, svid: Svid, bundle: TrustBundle, *, server: bool) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # Workloads are known by their URI.
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=bundle.roots_pem.decode())
        chain = folder / f"{svid.serial}.pem"
        chain.write_bytes(svid.chain_pem + svid.key.reveal())
        context.load_cert_chain(chain)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server)

    def goes_on(self) -> bool:
        """Take the handshake as far as it can go; tell whether it has ended."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def peer(self) -> bytes:
        """Return the certificate of the other end, in DER."""
        certificate = self.tls.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


def _shake_hands(client: Side, server: Side) -> None:
    done = False
    while not done:
        ended = client.goes_on()
        server.incoming.write(client.outgoing.read())
        done = server.goes_on() and ended
        client.incoming.write(server.outgoing.read())


@pytest.fixture
def authority() -> Authority:
    """An authority on the machine's time, which OpenSSL goes by, that activates roots at once."""
    return Authority.open(MemoryStore(), TRUST_DOMAIN, SystemClock(), AT_ONCE)


def test_both_ends_learn_who_the_other_is(authority: Authority, tmp_path: Path) -> None:
    bundle = authority.bundle()
    client = Side(tmp_path, authority.issue(CART), bundle, server=False)
    server = Side(tmp_path, authority.issue(STOCK), bundle, server=True)
    _shake_hands(client, server)
    assert identity_of(client.peer()) == STOCK
    assert identity_of(server.peer()) == CART


@pytest.mark.parametrize("old_end", ["client", "server"])
def test_ends_under_the_old_and_the_new_root_trust_each_other(
    authority: Authority, tmp_path: Path, old_end: str
) -> None:
    old = authority.issue(CART)
    assert authority.rotate_root().issuer_changed
    new, bundle = authority.issue(STOCK), authority.bundle()
    client = Side(tmp_path, old if old_end == "client" else new, bundle, server=False)
    server = Side(tmp_path, new if old_end == "client" else old, bundle, server=True)
    _shake_hands(client, server)
    assert {identity_of(client.peer()), identity_of(server.peer())} == {CART, STOCK}


def test_an_end_that_does_not_know_the_new_root_refuses(
    authority: Authority, tmp_path: Path
) -> None:
    """What the overlap is for."""
    old, stale = authority.issue(CART), authority.bundle()
    authority.rotate_root()
    client = Side(tmp_path, old, stale, server=False)
    server = Side(tmp_path, authority.issue(STOCK), authority.bundle(), server=True)
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(client, server)

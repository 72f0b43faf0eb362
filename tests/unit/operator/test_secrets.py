"""A workload's secrets stay the same, over restarts too, until they must change."""

from __future__ import annotations

import io
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from mizzen.identity import SpiffeId, TrustDomain
from mizzen_certs import Authority, FileStore, Renewer
from mizzen_operator.logs import Log
from mizzen_operator.secrets import MeshSecrets, Renewal
from mizzen_operator.state import StateFolder, write
from mizzen_operator.svids import SvidFolder
from tests.support.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path

TD = TrustDomain("cluster.local")
CART = SpiffeId(trust_domain=TD, namespace="shop", service_account="cart")
STOCK = SpiffeId(trust_domain=TD, namespace="shop", service_account="stock.v2")
STRANGER = SpiffeId(trust_domain=TrustDomain("other"), namespace="shop", service_account="cart")
ALL = frozenset({CART, STOCK})
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    """An empty state folder."""
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    return folder


def start(state: StateFolder, clock: ManualClock) -> MeshSecrets:
    """The secrets of a control plane that starts on a state folder."""
    authority = Authority.open(FileStore(state.authority), TD, clock)
    renewer = Renewer(authority, clock, Random(7))
    log = Log(io.StringIO())
    return MeshSecrets(authority, renewer, SvidFolder(state.svids), clock, log)


def test_a_workload_gets_its_certificate_and_the_roots(
    state: StateFolder, clock: ManualClock
) -> None:
    table = start(state, clock).secrets(CART)
    assert set(table) == {"default", "ROOTCA"}
    certificate = Secret.FromString(table["default"].resource.body).tls_certificate
    assert certificate.certificate_chain.inline_bytes.startswith(b"-----BEGIN CERTIFICATE")
    assert certificate.private_key.inline_bytes.startswith(b"-----BEGIN PRIVATE KEY")


def test_asking_again_gives_the_very_same_table(state: StateFolder, clock: ManualClock) -> None:
    secrets = start(state, clock)
    assert secrets.secrets(CART) is secrets.secrets(CART)


def test_a_restart_gives_the_same_bytes(state: StateFolder, clock: ManualClock) -> None:
    before = {of: start(state, clock).secrets(of) for of in (CART, STOCK)}
    clock.advance(HOUR)
    after = start(state, clock)
    assert {of: after.secrets(of) for of in (CART, STOCK)} == before


def test_a_kept_certificate_that_was_tampered_with_is_replaced(
    state: StateFolder, clock: ManualClock
) -> None:
    before = start(state, clock).secrets(CART)
    (state.svids / "shop.cart.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense")
    after = start(state, clock).secrets(CART)
    assert after["default"] != before["default"]
    assert after["ROOTCA"] == before["ROOTCA"]


def test_what_is_kept_is_its_owners_alone(state: StateFolder, clock: ManualClock) -> None:
    start(state, clock).secrets(CART)
    assert (state.svids / "shop.cart.pem").stat().st_mode & 0o077 == 0


def test_renewal_changes_the_certificate_and_not_the_roots(
    state: StateFolder, clock: ManualClock
) -> None:
    secrets = start(state, clock)
    before = secrets.secrets(CART)
    assert secrets.renew(ALL) == frozenset()
    clock.move_to(secrets.next_due())
    assert secrets.renew(ALL) == {CART}
    assert secrets.secrets(CART).changed_since(before) == {"default"}


def test_new_roots_concern_everybody(state: StateFolder, clock: ManualClock) -> None:
    authority = Authority.open(FileStore(state.authority), TD, clock)
    secrets = start(state, clock)
    before = secrets.secrets(CART)
    authority.rotate_root()
    assert secrets.renew(ALL) == {CART}
    assert secrets.secrets(CART).changed_since(before) == {"ROOTCA"}


def test_a_foreign_identity_gets_nothing(state: StateFolder, clock: ManualClock) -> None:
    assert not start(state, clock).secrets(STRANGER)


def test_an_identity_that_no_proxy_uses_is_not_renewed(
    state: StateFolder, clock: ManualClock
) -> None:
    secrets = start(state, clock)
    secrets.secrets(CART)
    secrets.secrets(STOCK)
    clock.advance(13 * HOUR)
    assert secrets.renew(frozenset({STOCK})) == {STOCK}
    assert secrets.renew(ALL) == frozenset()


def test_replacing_everything_is_announced_and_the_roots_are_written(
    state: StateFolder, clock: ManualClock
) -> None:
    secrets = start(state, clock)
    announced: list[frozenset[SpiffeId]] = []
    renewal = Renewal(
        secrets,
        Log(io.StringIO()),
        publish_roots=lambda roots: write(state.roots, roots),
        in_use=lambda: ALL,
        on_renewed=announced.append,
    )
    assert state.roots.read_bytes() == secrets.roots
    before = secrets.secrets(CART)
    assert renewal.replace_all() == 1
    assert announced == [frozenset({CART})]
    assert secrets.secrets(CART)["default"] != before["default"]

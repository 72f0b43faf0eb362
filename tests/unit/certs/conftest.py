"""An authority in memory whose clock the test moves."""

from __future__ import annotations

import pytest

from mizzen_certs import Authority, MemoryStore
from tests.support.clock import ManualClock
from tests.unit.certs.forge import TRUST_DOMAIN


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def authority(store: MemoryStore, clock: ManualClock) -> Authority:
    """An authority with the default lifetimes."""
    return Authority.open(store, TRUST_DOMAIN, clock)

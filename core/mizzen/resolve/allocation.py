"""Addresses for hosts that were given none, so that connections to them can be told apart.

Istio has a controller that takes the next free address and writes it down. Here an address follows from the
host's name: a hash chooses it, and where several hosts choose the same one, the oldest has it and the others
go on to their next choice. So it needs no writing, every replica comes to the same, and a host keeps its address
for as long as nobody older comes, which happens to one in thousands. They are Istio's ranges, 240.240.0.0/16 and
2001:2::/48, and of use to those alone whose DNS is captured: nobody else knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mizzen.engine import query
from mizzen.model.allocation import addresses_at, choices, hosts_without_address
from mizzen.model.traffic import ServiceEntry
from mizzen.names import ObjectKey
from mizzen.resolve.world import (
    OBJECT,
    SERVICES_AT_ADDRESS,
    SERVICES_AT_HOST,
    WANTING_ADDRESS,
    WITHOUT_ADDRESS,
)

if TYPE_CHECKING:
    from mizzen.engine import Database

_Rank = tuple[float, str]
Given = tuple[tuple[str, str], ...]


@query
def allocated(db: Database, host: str) -> tuple[str, ...]:
    """Return the addresses that a host was given, IPv4 first; empty where it has its own, or wants none."""
    slot = _slot(db, host)
    return () if slot is None else addresses_at(slot)


@query
def given_addresses(db: Database, _key: str) -> Mapping[ObjectKey, Given]:
    """Return what each entry's hosts were given, as pairs of host and address; only entries with any."""
    found: dict[ObjectKey, list[tuple[str, str]]] = {}
    for host in sorted(WITHOUT_ADDRESS.all_keys(db)):
        pairs = [(host, address) for address in allocated(db, host)]
        for key in WITHOUT_ADDRESS(db, host):
            found.setdefault(key, []).extend(pairs)
    return {key: tuple(pairs) for key, pairs in found.items() if pairs}


@query
def _slot(db: Database, host: str) -> int | None:
    rank = _rank(db, host)
    if rank is None:
        return None
    return next((slot for slot in choices(host) if _is_free(db, slot, host, rank)), None)


def _is_free(db: Database, slot: int, host: str, rank: _Rank) -> bool:
    """Tell whether nobody older has a place. Who is older does not depend on who is younger."""
    if any(SERVICES_AT_ADDRESS(db, address) for address in addresses_at(slot)):
        return False
    for rival in _wanting(db, slot) - {host}:
        theirs = _rank(db, rival)
        if theirs is not None and theirs < rank and _slot(db, rival) == slot:
            return False
    return True


def _wanting(db: Database, slot: int) -> set[str]:
    items = (OBJECT(db, key) for key in WANTING_ADDRESS(db, slot))
    return {
        host
        for item in items
        if isinstance(item, ServiceEntry)
        for host in hosts_without_address(item)
        if slot in choices(host)
    }


@query
def _rank(db: Database, host: str) -> _Rank | None:
    """Return a host's place in the order of ages; None where it wants no address."""
    items = (OBJECT(db, key) for key in SERVICES_AT_HOST(db, host))
    ages = [
        item.meta.created_s
        for item in items
        if isinstance(item, ServiceEntry) and host in hosts_without_address(item)
    ]
    return (min(ages), host) if ages else None

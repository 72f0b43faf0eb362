"""Services and ServiceEntries whose bytes come to one address and port: one of them gets them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed
from mizzen.model.kube import Service
from mizzen.model.proxy import Scope
from mizzen.model.traffic import ServiceEntry
from mizzen.resolve.binding import ANY_ADDRESS
from mizzen.resolve.listeners import own_listeners
from mizzen.resolve.services import service_at
from mizzen.resolve.world import BYTES_AT, OBJECT, hosts_of, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.ir import OutboundListener
    from mizzen.names import ObjectKey

# Listener address, server name, range: what tells connections to one port apart.
_Spot = tuple[str, str, str]
_Rank = tuple[tuple[float, str, str], str]


def check(db: Database, item: Service | ServiceEntry) -> Found:
    """Yield the ports whose bytes an older service gets, or a younger one would like to have."""
    scope = Scope(namespace=item.meta.namespace)
    for number, port in enumerate(item.ports):
        for spot, rank in _spots(db, scope, item, port.number).items():
            rivals = _rivals(db, scope, item, spot, port.number)
            if rivals:
                message = _verdict(spot, port.number, rank, rivals)
                yield finding(codes.SHADOWED_ADDRESS, item.meta, f"spec.ports[{number}]", message)
                break


def _verdict(spot: _Spot, port: int, rank: _Rank, rivals: dict[ObjectKey, _Rank]) -> str:
    where = _place(spot, port)
    first = min(rivals, key=lambda key: rivals[key])
    if rivals[first] < rank:
        return f"connections to {where} go to {first}, which goes first by age and name"
    return f"connections to {where} go to this one, and not to {listed(rivals)}"


def _place(spot: _Spot, port: int) -> str:
    bind, server_name, cidr = spot
    address = cidr or bind
    place = f"any address on port {port}" if address == ANY_ADDRESS else f"{address}:{port}"
    return f"{place} for {server_name}" if server_name else place


def _spots(
    db: Database, scope: Scope, item: Service | ServiceEntry, port: int
) -> dict[_Spot, _Rank]:
    """Return where the bytes of an object's port come to, as a scope sees it."""
    return {
        spot: (item.meta.age_rank, host)
        for host in reversed(hosts_of(item, settings(db)))
        if (service := service_at(db, scope, host)) and service.key == item.meta.key
        for listener in own_listeners(db, (scope, host))
        if listener.port == port
        for spot in _spots_of(listener)
    }


def _spots_of(listener: OutboundListener) -> Iterator[_Spot]:
    for chain in listener.chains:
        yield listener.bind, chain.server_name, chain.cidr
    if listener.takes_rest:
        yield listener.bind, "", ""


def _rivals(
    db: Database, scope: Scope, item: Service | ServiceEntry, spot: _Spot, port: int
) -> dict[ObjectKey, _Rank]:
    bind, _, cidr = spot
    address = cidr or ("" if bind == ANY_ADDRESS else bind)
    others = (OBJECT(db, key) for key in BYTES_AT(db, (address, port)) if key != item.meta.key)
    return {
        other.meta.key: spots[spot]
        for other in others
        if isinstance(other, Service | ServiceEntry)
        and spot in (spots := _spots(db, scope, other, port))
    }

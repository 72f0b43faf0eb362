"""Route configurations for clients without VHDS: with their virtual hosts inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.bundle import Bundle, Entry, Table
from mizzen.names import route_configuration_of
from mizzen.render.discovery import inline_virtual_hosts
from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.wire import Resource
    from mizzen_xds.change import Layers


class Inliner:
    """Puts virtual hosts into their route configurations, once for each that changed.

    Each class has one, so that its table of route configurations has a lineage of its own.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[Resource, ...], Entry] = {}
        self._from: tuple[Layers, Layers] = ((), ())
        self._table = Table()

    def bundle(self, bundle: Bundle) -> Bundle:
        """Return a bundle without virtual hosts that means the same."""
        source = bundle.layers(TypeUrl.ROUTE), bundle.layers(TypeUrl.VIRTUAL_HOST)
        if source != self._from:
            self._from = source
            self._table = self._inlined(*source)
        tables = {**bundle.tables, TypeUrl.ROUTE: (self._table,), TypeUrl.VIRTUAL_HOST: ()}
        return Bundle(revision=bundle.revision, tables=tables)

    def _inlined(self, routes: Layers, hosts: Layers) -> Table:
        members: dict[str, list[Entry]] = {}
        for entry in _entries(hosts):
            members.setdefault(route_configuration_of(entry.resource.name), []).append(entry)
        made: dict[tuple[Resource, ...], Entry] = {}
        for head in _entries(routes):
            mine = sorted(members.get(head.resource.name, ()), key=_name)
            key = (head.resource, *(entry.resource for entry in mine))
            made[key] = self._made.get(key) or _inlined(head, mine)
        self._made = made
        fresh: dict[str, Entry | None] = {entry.resource.name: entry for entry in made.values()}
        return self._table.updated(dict.fromkeys(self._table) | fresh)


def _entries(layers: Layers) -> Iterator[Entry]:
    for table in layers:
        yield from table.values()


def _name(entry: Entry) -> str:
    return entry.resource.name


def _inlined(head: Entry, hosts: list[Entry]) -> Entry:
    whole = (head, *hosts)
    origins = {origin: None for entry in whole for origin in entry.origins}
    return Entry(
        inline_virtual_hosts(head.resource, (entry.resource for entry in hosts)),
        origins=tuple(origins),
        requires=frozenset().union(*(entry.requires for entry in whole)),
    )

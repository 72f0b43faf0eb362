"""Alternatives of a VirtualService's rules that can never hold: for gateways, ports or clients of no kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.destinations import ports_at
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.checks.workloads import namespaces, selected
from mizzen.model.meta import visible_from
from mizzen.model.routing import Part
from mizzen.names import MESH_GATEWAY
from mizzen.resolve.world import gateway_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.engine import Database
    from mizzen.model.routing import ConnectionMatch, HttpMatch, VirtualService

    Match = HttpMatch | ConnectionMatch


def check(db: Database, item: VirtualService) -> Found:
    """Yield what keeps alternatives from ever holding."""
    if not item.hosts:
        return  # a delegate holds where its roots do
    for part, path, match in _matches(item):
        for field, message in _reasons(db, item, part, match):
            yield finding(codes.NEVER_HOLDS, item.meta, f"{path}.{field}", message)


def _matches(item: VirtualService) -> Iterator[tuple[Part, str, Match]]:
    for number, http in enumerate(item.http):
        for place, request in enumerate(http.match):
            yield Part.HTTP, f"spec.http[{number}].match[{place}]", request
    for part, rules in ((Part.TLS, item.tls), (Part.TCP, item.tcp)):
        for number, rule in enumerate(rules):
            for place, match in enumerate(rule.match):
                yield part, f"spec.{part}[{number}].match[{place}]", match


def _reasons(
    db: Database, item: VirtualService, part: Part, match: Match
) -> Iterator[tuple[str, str]]:
    """Return fields that keep an alternative from holding, each with why."""
    chosen = _chosen(item, match)
    if not chosen:
        written = listed(item.gateways)
        yield "gateways", f"none of {listed(match.gateways)} is among the gateways, {written}"
        return
    ports = {port for name in chosen for port in ports_at(db, item, name, part)}
    if match.port is not None and ports and match.port not in ports:
        yield "port", f"nothing comes on port {match.port}; there are {listed(sorted(ports))}"
    if MESH_GATEWAY in chosen:
        yield from _clients(db, item, match)


def _chosen(item: VirtualService, match: Match) -> list[str]:
    """Return the gateways of a VirtualService that an alternative is for."""
    own = item.meta.namespace
    wanted = {name if name == MESH_GATEWAY else gateway_name(name, own) for name in match.gateways}
    return [
        name
        for name in item.gateways
        if not wanted or (name if name == MESH_GATEWAY else gateway_name(name, own)) in wanted
    ]


def _clients(db: Database, item: VirtualService, match: Match) -> Iterator[tuple[str, str]]:
    source, owner = match.source_namespace, item.meta.namespace
    if source and not visible_from(source, owner=owner, export_to=item.export_to):
        yield "sourceNamespace", f"it is not exported to {source}"
    elif match.source_labels:
        where = (source,) if source else namespaces(db, "")
        if not any(selected(db, one, match.source_labels) for one in where):
            place = f" of {source}" if source else ""
            yield "sourceLabels", f"no workload{place} has {pairs(match.source_labels)}"

"""The tables of a scope: everything outbound that the proxies of one scope share.

One fold over all hosts keeps them. A changed host costs what that host has; the other hosts' entries are
not looked at. Listeners are the one thing that hosts have in common (the port's shared HTTP listener), or
may quarrel about (two entries with one address): every host lays its claim, and claims are settled per
listener, so that the outcome does not depend on who came first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from mizzen.bundle import EMPTY_TABLE, Entry, Table
from mizzen.engine import Fold, query
from mizzen.ir import OutboundListener, RouteTable, TcpChain, TcpProxy
from mizzen.model.proxy import Scope
from mizzen.near import NOTHING_NEAR, Near
from mizzen.render.cluster import render_upstream
from mizzen.render.endpoint import render_endpoints
from mizzen.render.listener import render_outbound
from mizzen.render.route import render_route_table, render_virtual_host
from mizzen.render.secrets import render_secret
from mizzen.resolve.binding import facing
from mizzen.resolve.client_tls import client_secrets
from mizzen.resolve.credentials import granted
from mizzen.resolve.endpoints import EdsCluster, endpoint_group
from mizzen.resolve.listeners import (
    http_ports,
    looked_up,
    own_listeners,
    own_tables,
    shared_listener,
    shared_table,
    socket_listeners,
)
from mizzen.resolve.places import place_of, placed
from mizzen.resolve.plain import wider_scope
from mizzen.resolve.routes import (
    listener_viewer,
    reach,
    required_clusters,
    route_viewer,
    viewer,
    virtual_hosts,
)
from mizzen.resolve.services import MeshService, service_at
from mizzen.resolve.sidecars import Reach
from mizzen.resolve.upstreams import eds_clusters, upstreams
from mizzen.resolve.world import ROUTES_AT_HOST, SERVICES_AT_HOST

if TYPE_CHECKING:
    from mizzen.engine import Database

AgeRank = tuple[float, str, str]
Claims = Mapping[str, Mapping[str, "Claim"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A listener that a host wants, alone or together with others.

    ``shared`` is the route configuration of a port's HTTP listener, which all its hosts share.
    """

    rank: AgeRank
    listener: OutboundListener
    shared: RouteTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResources:
    """What one host adds to a scope; ``near`` are clusters whose endpoints depend on the client's place."""

    clusters: tuple[Entry, ...] = ()
    endpoints: tuple[Entry, ...] = ()
    routes: tuple[Entry, ...] = ()
    virtual_hosts: tuple[Entry, ...] = ()
    claims: tuple[Claim, ...] = ()
    near: tuple[EdsCluster, ...] = ()
    secrets: tuple[Entry, ...] = ()


NOTHING = HostResources()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScopeTables:
    """Everything outbound of a scope. ``claims`` are by listener name, then by host.

    ``near`` has the hosts whose endpoints depend on the client's place, each with the names of labels that
    count as well.
    """

    clusters: Table = EMPTY_TABLE
    endpoints: Table = EMPTY_TABLE
    listeners: Table = EMPTY_TABLE
    routes: Table = EMPTY_TABLE
    virtual_hosts: Table = EMPTY_TABLE
    claims: Claims = field(default_factory=dict)
    near: Near = field(default_factory=lambda: NOTHING_NEAR)
    secrets: Table = EMPTY_TABLE


@query
def host_clusters(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the clusters of a host, encoded."""
    scope, host = key
    alike = replace(scope, zones=False) if scope.zones else scope
    return tuple(
        Entry(render_upstream(upstream, zones=scope.zones), origins=upstream.origins)
        for upstream in upstreams(db, (alike, host))
    )


@query
def host_endpoints(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the load assignments of a host's EDS clusters that all clients use alike, encoded."""
    alike = (cluster for cluster in eds_clusters(db, key) if cluster.locality is None)
    groups = (endpoint_group(db, cluster) for cluster in alike)
    return tuple(Entry(render_endpoints(group), origins=group.origins) for group in groups)


@query
def host_near(db: Database, key: tuple[Scope, str]) -> tuple[EdsCluster, ...]:
    """Return a host's EDS clusters that a client uses by where it is."""
    return tuple(cluster for cluster in eds_clusters(db, key) if cluster.locality is not None)


@query
def host_secrets(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the secrets that a host's clusters take, encoded."""
    held = ((name, granted(db, wish)) for name, wish in client_secrets(db, key))
    return tuple(
        Entry(render_secret(replace(secret, name=name)), origins=secret.origins)
        for name, secret in held
        if secret is not None
    )


@query
def host_virtual_hosts(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the virtual hosts of a host, encoded, each with the clusters that it needs."""
    return tuple(
        Entry(
            render_virtual_host(host),
            origins=host.origins,
            requires=required_clusters(host.routes),
        )
        for host in virtual_hosts(db, key)
    )


@query
def host_route_tables(db: Database, key: tuple[Scope, str]) -> tuple[Entry, ...]:
    """Return the route configurations that a host has for itself, encoded."""
    tables = own_tables(db, key)
    return tuple(Entry(render_route_table(table), origins=table.origins) for table in tables)


def _shared_by(db: Database, scope: Scope, service: MeshService, port: int) -> OutboundListener:
    """Return the HTTP listener of a port as one of its services wants it."""
    listener = shared_listener(db, port, scope.unknown)
    return replace(listener, by_request=looked_up(scope, service))


@query
def host_claims(db: Database, key: tuple[Scope, str]) -> tuple[Claim, ...]:
    """Return the listeners that a host wants."""
    service = service_at(db, *key)
    if service is None:
        return ()
    rank, scope = service.meta.age_rank, key[0]
    shared = (
        Claim(
            rank=rank,
            listener=placed(
                scope,
                facing(_shared_by(db, scope, service, port), scope.families),
                place_of(db, scope, port),
            ),
            shared=shared_table(db, port, scope.unknown),
        )
        for port in http_ports(db, key)
    )
    own = (Claim(rank=rank, listener=listener) for listener in own_listeners(db, key))
    sockets = (
        Claim(rank=rank, listener=listener, shared=table)
        for listener, table in socket_listeners(db, key)
    )
    return (*shared, *own, *sockets)


@query
def host_resources(db: Database, key: tuple[Scope, str]) -> HostResources:
    """Return all that a host adds to a scope, made for the widest scope that sees the same."""
    scope, host = key
    if (wider := wider_scope(db, scope, host)) is not None:
        return host_resources(db, (wider, host))
    there = reach(db, key)
    if there is Reach.NOTHING:
        return NOTHING
    # Only listeners know of unknown destinations, only clusters of what may be given and of zones.
    bare = replace(scope, unknown="", zones=False) if scope.unknown or scope.zones else scope
    known = (replace(bare, credentials=False) if bare.credentials else bare), host
    seen_by = viewer(db, (bare, host))
    made_for = replace(seen_by, zones=True) if scope.zones else seen_by
    outbound = HostResources(
        clusters=host_clusters(db, (made_for, host)),
        endpoints=host_endpoints(db, (seen_by, host)),
        near=host_near(db, (seen_by, host)),
        secrets=host_secrets(db, (seen_by, host)),
    )
    if scope.gateway or there is Reach.CLUSTERS:
        return outbound
    listening = listener_viewer(db, known)
    return replace(
        outbound,
        routes=host_route_tables(db, (listening, host)),
        virtual_hosts=host_virtual_hosts(db, (route_viewer(db, known), host)),
        claims=host_claims(db, (replace(listening, unknown=scope.unknown), host)),
    )


@query
def all_hosts(db: Database, scope: Scope) -> frozenset[str]:
    """Return every host that services give and, for sidecars, that VirtualServices name."""
    hosts = SERVICES_AT_HOST.all_keys(db)
    return hosts if scope.gateway else hosts | ROUTES_AT_HOST.all_keys(db)


Changes = Mapping[str, tuple[HostResources | None, HostResources | None]]


def with_changes(tables: ScopeTables, changes: Changes) -> ScopeTables:
    """Return the tables with the changed hosts' entries in place of their old ones."""
    clusters: dict[str, Entry | None] = {}
    endpoints: dict[str, Entry | None] = {}
    routes: dict[str, Entry | None] = {}
    hosts: dict[str, Entry | None] = {}
    secrets: dict[str, Entry | None] = {}
    near = {host: new.near if new else () for host, (_, new) in changes.items()}
    for before, after in changes.values():
        old, new = before or NOTHING, after or NOTHING
        differ(old.clusters, new.clusters, clusters)
        differ(old.endpoints, new.endpoints, endpoints)
        differ(old.routes, new.routes, routes)
        differ(old.virtual_hosts, new.virtual_hosts, hosts)
        differ(old.secrets, new.secrets, secrets)
    updated = replace(
        tables,
        clusters=tables.clusters.updated(clusters),
        endpoints=tables.endpoints.updated(endpoints),
        routes=tables.routes.updated(routes),
        virtual_hosts=tables.virtual_hosts.updated(hosts),
        near=tables.near.with_changes(near),
        secrets=tables.secrets.updated(secrets),
    )
    return _apply_claims(updated, changes)


def differ(old: tuple[Entry, ...], new: tuple[Entry, ...], into: dict[str, Entry | None]) -> None:
    """Note the names that go and the entries that come. A name that moves between hosts stays."""
    if old is new:
        return
    for entry in old:
        into.setdefault(entry.resource.name, None)
    for entry in new:
        into[entry.resource.name] = entry


def _apply_claims(tables: ScopeTables, changes: Changes) -> ScopeTables:
    touched: dict[str, dict[str, Claim]] = {}
    for host, (before, after) in changes.items():
        old, new = (before or NOTHING).claims, (after or NOTHING).claims
        if old == new:
            continue
        for claim in old:
            _copied(tables, touched, claim.listener.name).pop(host, None)
        for claim in new:
            _copied(tables, touched, claim.listener.name)[host] = claim
    return _settle(tables, touched) if touched else tables


def _copied(
    tables: ScopeTables, touched: dict[str, dict[str, Claim]], name: str
) -> dict[str, Claim]:
    """Return the claims on a name that may be changed: a copy, made once however many hosts change."""
    if name not in touched:
        touched[name] = dict(tables.claims.get(name, {}))
    return touched[name]


def _settle(tables: ScopeTables, touched: Mapping[str, Mapping[str, Claim]]) -> ScopeTables:
    claims = {**tables.claims, **touched}
    listeners: dict[str, Entry | None] = {}
    routes: dict[str, Entry | None] = {}
    for name in sorted(touched):
        before, after = _shared(tables.claims.get(name, {})), _shared(touched[name])
        if before is not None:
            routes[before.name] = None
        if after is not None:
            routes[after.name] = Entry(render_route_table(after))
        if touched[name]:
            listeners[name] = _listener_entry(winner(touched[name]))
        else:
            del claims[name]
            listeners[name] = None
    return replace(
        tables,
        claims=claims,
        listeners=tables.listeners.updated(listeners),
        routes=tables.routes.updated(routes),
    )


def _shared(claims: Mapping[str, Claim]) -> RouteTable | None:
    """Return the route configuration of the HTTP listener that is among these claims."""
    return next((claim.shared for claim in claims.values() if claim.shared), None)


def winner(claims: Mapping[str, Claim]) -> OutboundListener:
    """Return the listener that comes of all claims on one name.

    Shared HTTP listeners are one and the same, but for the lookup of what requests ask for. Of the others the oldest gets what is not HTTP, and each
    adds the connections that it tells from the rest; of two that tell the same, the older gets them.
    """
    everyones = [claim.listener for claim in claims.values() if claim.shared]
    shared = max(everyones, key=lambda listener: listener.by_request is not None, default=None)
    own = sorted((claim.rank, host) for host, claim in claims.items() if not claim.shared)
    if not own:
        return cast("OutboundListener", shared)
    return _joined(shared, [claims[host].listener for _, host in own])


def _joined(shared: OutboundListener | None, own: list[OutboundListener]) -> OutboundListener:
    rest = next((listener for listener in own if listener.takes_rest), None)
    base = shared or rest or own[0]
    chains: dict[tuple[str, str, bool], TcpChain] = {}
    in_force = [each for each in (shared, rest) if each]
    for listener in own:
        new = {_spot(c): c for c in listener.chains if _spot(c) not in chains}
        chains |= new
        in_force += [listener] if new else []
    return replace(
        base,
        chains=tuple(chains.values()),
        tcp=(rest or base).tcp,
        origins=tuple(dict.fromkeys(key for listener in in_force for key in listener.origins)),
    )


def _spot(chain: TcpChain) -> tuple[str, str, bool]:
    """Return what tells a chain's connections from others."""
    return chain.server_name, chain.cidr, chain.tls


def _listener_entry(listener: OutboundListener) -> Entry:
    requires = required_by_connections(listener.chains, listener.tcp)
    return Entry(render_outbound(listener), origins=listener.origins, requires=requires)


def required_by_connections(chains: tuple[TcpChain, ...], rest: TcpProxy | None) -> frozenset[str]:
    """Return the clusters of services that a listener's bytes go to."""
    proxies = (*((rest,) if rest else ()), *(chain.tcp for chain in chains))
    clusters = (name for proxy in proxies for name in proxy.clusters)
    return frozenset(name for name in clusters if name.startswith("outbound|"))


SCOPE_TABLES: Fold[Scope, str, HostResources, ScopeTables] = Fold(
    "scope tables", all_hosts, host_resources, ScopeTables(), with_changes
)

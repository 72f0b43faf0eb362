"""The compiler: batches of objects in, a bundle for each class of proxies out.

It ties resolve, render and wire together as queries over the World, and holds nothing besides the memo.
One thread owns it. After every commit the live classes are pulled; what has not changed is the same
object as before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeVar

from mizzen.analyze import analysis, findings
from mizzen.bundle import EMPTY_TABLE, Bundle, Entry, Table
from mizzen.engine import Database, Fold, query
from mizzen.model.families import Families
from mizzen.model.mesh import MeshSettings
from mizzen.model.proxy import NodeInfo, ProxyClass, ProxyKind, Scope, Workload
from mizzen.model.world import Batch
from mizzen.passed import PASSED_TABLES
from mizzen.placed import NEAR_ENDPOINTS, local_tables, passing_for, placed_class
from mizzen.render.cluster import (
    gateway_clusters,
    render_inbound_cluster,
    render_upstream,
    static_clusters,
)
from mizzen.render.dns import render_dns
from mizzen.render.gateway import render_gateway
from mizzen.render.inbound import render_bound, render_inbound
from mizzen.render.listener import render_virtual_outbound
from mizzen.render.route import render_route_table, render_virtual_host
from mizzen.render.secrets import render_secret
from mizzen.resolve.allocation import Given, given_addresses
from mizzen.resolve.credentials import Wish, granted
from mizzen.resolve.dns import NAMES
from mizzen.resolve.gateway_listeners import gateway_listeners
from mizzen.resolve.gateway_tls import gateway_wishes
from mizzen.resolve.gateways import gateway_hosts, gateway_tables, gateway_virtual_host
from mizzen.resolve.inbound import inbound_policy
from mizzen.resolve.proxies import usual_scope
from mizzen.resolve.routes import required_clusters
from mizzen.resolve.sidecars import sidecar_for
from mizzen.resolve.world import PODS_IN, World, settings
from mizzen.tables import SCOPE_TABLES, ScopeTables
from mizzen.wire import Resource, TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mizzen.diagnostics import Diagnostic
    from mizzen.ir import InboundPolicy, InboundPort, Origins, Upstream
    from mizzen.model.world import Object
    from mizzen.names import ObjectKey

# How many clusters are compiled before anybody has asked: at about 2 KB each a bounded luxury.
_WARM_ENTRIES: Final = 10_000

K = TypeVar("K")
_NOTHING_PASSED: Final = (ScopeTables(), EMPTY_TABLE)
Layers = tuple[tuple[TypeUrl, tuple[Table, ...]], ...]


def _table(resources: Iterable[Resource]) -> Table:
    return Table({resource.name: Entry(resource) for resource in resources})


@query
def sidecar_statics(db: Database, key: tuple[str, Families]) -> tuple[Table, Table]:
    """Return the clusters and listeners that every sidecar has, by where unknown destinations go."""
    unknown, families = key
    outbound = render_virtual_outbound(
        registry_only=settings(db).registry_only, unknown=unknown, families=families
    )
    return _table(static_clusters(families)), _table([outbound])


@query
def outbound_table(db: Database, key: tuple[str, Families, ObjectKey]) -> Table:
    """Return the listener that every sidecar has, said to be of the Sidecar that holds for it.

    What a Sidecar does is mostly that things are not there. By this listener it is told whose proxies it
    concerns, though nothing else is made from it.
    """
    unknown, families, sidecar = key
    _, listeners = sidecar_statics(db, (unknown, families))
    return Table({name: replace(entry, origins=(sidecar,)) for name, entry in listeners.items()})


@query
def gateway_statics(_db: Database, _key: str) -> Table:
    """Return the clusters that every gateway has."""
    return _table(gateway_clusters())


@query
def inbound_listeners(_db: Database, key: tuple[InboundPolicy, bool]) -> tuple[Resource, ...]:
    """Return the listeners of an inbound side; true where its callers' addresses stay."""
    policy, transparent = key
    return (render_inbound(policy, transparent=transparent), *render_bound(policy))


@query
def inbound_cluster(_db: Database, key: tuple[InboundPort, Families]) -> Resource:
    """Return the cluster behind one of a workload's ports."""
    return render_inbound_cluster(*key)


@query
def inbound_tables(db: Database, key: tuple[InboundPolicy, bool]) -> tuple[Table, Table]:
    """Return the clusters and the listeners of an inbound side, made once for all that ask the same.

    Which services say so is told of at the tables' entries, and makes no other bytes.
    """
    policy, transparent = key
    bare = tuple(replace(port, host="", origins=()) for port in policy.ports)
    clusters = {
        resource.name: Entry(resource, origins=port.origins)
        for port, alike in zip(policy.ports, bare, strict=True)
        for resource in (inbound_cluster(db, (alike, policy.families)),)
    }
    clusters |= _key_servers(policy.key_servers, policy.all_origins)
    made = inbound_listeners(db, (replace(policy, ports=bare, origins=()), transparent))
    origins, needs = policy.all_origins, policy.clusters
    listeners = {one.name: Entry(one, origins=origins, requires=needs) for one in made}
    return Table(clusters), Table(listeners)


def _key_servers(servers: Iterable[Upstream], origins: Origins) -> dict[str, Entry]:
    """Return the clusters of servers of keys, made from what asks for tokens."""
    kinds = tuple(key for key in origins if key.kind == "RequestAuthentication")
    return {one.name: Entry(render_upstream(one), origins=kinds) for one in servers}


@query
def gateway_key_servers(db: Database, workload: Workload) -> Table:
    """Return the clusters of servers of keys of a router."""
    found: dict[str, Entry] = {}
    for listener in gateway_listeners(db, workload):
        found |= _key_servers(listener.tokens.servers, listener.tokens.origins)
    return Table(found) if found else EMPTY_TABLE


@query
def sidecar_inbound(db: Database, workload: Workload) -> tuple[Table, Table]:
    """Return the clusters and the listener of a workload's inbound side."""
    return inbound_tables(db, (inbound_policy(db, workload), workload.transparent))


@query
def names_table(db: Database, scope: Scope) -> Table:
    """Return the listener that answers the DNS of a scope's proxies."""
    return _table([render_dns(NAMES(db, scope), scope.families)])


@query
def gateway_listener_tables(db: Database, workload: Workload) -> tuple[Table, Table]:
    """Return the listeners and the route configurations' heads of a router."""
    listeners = {
        listener.name: Entry(
            render_gateway(listener),
            origins=(
                *listener.origins,
                *listener.authorization.origins,
                *listener.tokens.origins,
            ),
            requires=listener.awaits
            | listener.clusters
            | listener.authorization.clusters
            | listener.tokens.clusters,
        )
        for listener in gateway_listeners(db, workload)
    }
    routes = {
        table.name: Entry(render_route_table(table), origins=table.origins)
        for table in gateway_tables(db, workload)
    }
    return Table(listeners), Table(routes)


@query
def secret_entry(db: Database, key: tuple[Workload, Wish]) -> Entry | None:
    """Return one secret that a user wrote, for a workload that may have it; None where it is not there."""
    held = granted(db, key[1])
    return Entry(render_secret(held), origins=held.origins) if held else None


@query
def gateway_host_entry(db: Database, key: tuple[Workload, tuple[str, str]]) -> Entry | None:
    """Return one virtual host of a router, encoded; None where nothing is behind it."""
    host = gateway_virtual_host(db, key)
    if host is None:
        return None
    needs = required_clusters(host.routes)
    return Entry(render_virtual_host(host), origins=host.origins, requires=needs)


def _apply_entries(
    table: Table,
    changes: Mapping[K, tuple[Entry | None, Entry | None]],
) -> Table:
    updates: dict[str, Entry | None] = {}
    for old, new in changes.values():
        if old is not None:
            updates.setdefault(old.resource.name, None)
        if new is not None:
            updates[new.resource.name] = new
    return table.updated(updates)


GATEWAY_HOSTS: Fold[Workload, tuple[str, str], Entry | None, Table] = Fold(
    "gateway hosts", gateway_hosts, gateway_host_entry, EMPTY_TABLE, _apply_entries
)
GATEWAY_SECRETS: Fold[Workload, Wish, Entry | None, Table] = Fold(
    "gateway secrets", gateway_wishes, secret_entry, EMPTY_TABLE, _apply_entries
)


@query
def layers_of(db: Database, proxies: ProxyClass) -> Layers:
    """Return the tables of a class of proxies, by type."""
    if proxies.kind is ProxyKind.ROUTER:
        return _gateway_layers(db, proxies)
    own = own_tables(db, proxies)
    shared = SCOPE_TABLES(db, proxies.scope)
    near = NEAR_ENDPOINTS(db, (proxies.scope, proxies.where))
    return (
        (TypeUrl.CLUSTER, (*own.clusters, shared.clusters)),
        (TypeUrl.ENDPOINT, (shared.endpoints, near, *local_tables(db, proxies))),
        *(((TypeUrl.SECRET, (shared.secrets,)),) if shared.secrets else ()),
        (TypeUrl.LISTENER, (*own.listeners, _beside(shared, own.inbound))),
        (TypeUrl.ROUTE, (shared.routes,)),
        (TypeUrl.VIRTUAL_HOST, (shared.virtual_hosts,)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTables:
    """What a class of sidecars does not share with its whole scope; ``inbound`` are its own listeners."""

    clusters: tuple[Table, ...]
    listeners: tuple[Table, ...]
    inbound: Table


@query
def own_tables(db: Database, proxies: ProxyClass) -> OwnTables:
    """Return the tables of a class of sidecars that a change of what is shared does not touch."""
    static_cds, static_lds = sidecar_statics(db, (proxies.scope.unknown, proxies.scope.families))
    chosen = sidecar_for(db, proxies.workload.namespace, proxies.workload.labels)
    if chosen is not None:
        of = (proxies.scope.unknown, proxies.scope.families, chosen.meta.key)
        static_lds = outbound_table(db, of)
    inbound_cds, inbound_lds = sidecar_inbound(db, proxies.workload)
    names_lds = names_table(db, proxies.scope) if proxies.workload.dns else EMPTY_TABLE
    return OwnTables(
        clusters=(static_cds, inbound_cds),
        listeners=(static_lds, inbound_lds, names_lds),
        inbound=inbound_lds,
    )


def _beside(shared: ScopeTables, own: Table) -> Table:
    """Return the listeners that a scope shares, without those whose place a proxy's own have.

    Envoy has one listener for an address and port, even where one of two does not bind. It is a Sidecar
    that says so, for a port on which callers connect to the proxy themselves.
    """
    listeners = shared.listeners
    for name in own:
        if name in listeners:
            return Table({name: one for name, one in listeners.items() if name not in own})
    return listeners


def _gateway_layers(db: Database, proxies: ProxyClass) -> Layers:
    shared = SCOPE_TABLES(db, proxies.scope)
    near = NEAR_ENDPOINTS(db, (proxies.scope, proxies.where))
    passed, passed_near = passed_tables(db, proxies)
    listeners, routes = gateway_listener_tables(db, proxies.workload)
    own = (gateway_statics(db, ""), gateway_key_servers(db, proxies.workload))
    return (
        (TypeUrl.CLUSTER, (*own, passed.clusters, shared.clusters)),
        (
            TypeUrl.ENDPOINT,
            (
                passed.endpoints,
                passed_near,
                shared.endpoints,
                near,
                *local_tables(db, proxies),
            ),
        ),
        (TypeUrl.SECRET, (GATEWAY_SECRETS(db, proxies.workload), shared.secrets)),
        (TypeUrl.LISTENER, (listeners,)),
        (TypeUrl.ROUTE, (routes,)),
        (TypeUrl.VIRTUAL_HOST, (GATEWAY_HOSTS(db, proxies.workload),)),
    )


@query
def passed_tables(db: Database, proxies: ProxyClass) -> tuple[ScopeTables, Table]:
    """Return what a class of routers passes mutual TLS on to, and of its endpoints those used by place."""
    passing = passing_for(db, proxies)
    if passing is None:
        return _NOTHING_PASSED
    return PASSED_TABLES(db, passing), NEAR_ENDPOINTS(db, (passing, proxies.where))


@query
def busiest_namespaces(db: Database, _key: str) -> tuple[str, ...]:
    """Return the namespaces that have workloads, those with the most first."""
    sizes = {ns: len(PODS_IN(db, ns)) for ns in PODS_IN.all_keys(db)}
    return tuple(sorted(sizes, key=lambda namespace: (-sizes[namespace], namespace)))


class Compiler:
    """The World and what follows from it. Not thread-safe: one thread owns it."""

    def __init__(self, mesh: MeshSettings | None = None) -> None:
        self._db = Database()
        self._world = World(self._db, mesh or MeshSettings())
        self._bundles: dict[ProxyClass, tuple[Layers, Bundle]] = {}
        self._revision = 1

    @property
    def revision(self) -> int:
        """How many batches the World has seen."""
        return self._revision

    @property
    def objects(self) -> Mapping[ObjectKey, Object]:
        """All objects of the World that are in force."""
        return MappingProxyType(dict(self._world.objects))

    def commit(self, batch: Batch) -> int:
        """Take in a batch and return the World's new revision."""
        self._world.commit(batch)
        self._revision += 1
        return self._revision

    def warm(self) -> None:
        """Make what the first proxies will ask for: the tables of the namespaces that have workloads.

        Those with the most workloads come first, as far as the budget of entries goes. They are kept up to
        date from then on, as those of connected proxies are.
        """
        budget = _WARM_ENTRIES
        for namespace in busiest_namespaces(self._db, ""):
            tables = SCOPE_TABLES(self._db, usual_scope(self._db, namespace))
            budget -= len(tables.clusters)
            if budget <= 0:
                return

    def classify(self, node: NodeInfo) -> ProxyClass:
        """Return the class of a proxy; it may be another one after a commit."""
        return placed_class(self._db, node)

    def bundle(self, proxies: ProxyClass) -> Bundle:
        """Return the configuration of a class; the very same object where nothing has changed."""
        layers = layers_of(self._db, proxies)
        known = self._bundles.get(proxies)
        if known is not None and known[0] is layers:
            return known[1]
        bundle = Bundle(revision=self.revision, tables=MappingProxyType(dict(layers)))
        self._bundles[proxies] = (layers, bundle)
        return bundle

    def analyze(self) -> Mapping[ObjectKey, tuple[Diagnostic, ...]]:
        """Return what objects get wrong about one another, sorted by object."""
        return analysis(self._db)

    def given_addresses(self) -> Mapping[ObjectKey, Given]:
        """Return the addresses that hosts of ServiceEntries were given; the same object where none changed."""
        return given_addresses(self._db, "")

    def consider(self, key: ObjectKey, item: Object) -> tuple[Diagnostic, ...]:
        """Return what would be wrong between an object and the others, were it in force.

        It is, for as long as that takes; as nothing else is pulled meanwhile, nothing else sees it.
        """
        present = self._world.told(key)
        self._world.commit(Batch(changes={key: item}))
        try:
            return findings(self._db, ("", key))
        finally:
            self._world.commit(Batch(changes={key: present}))
            self._db.forget(findings, ("", key))

    def forget(self, proxies: ProxyClass) -> None:
        """Let go of a class of which no proxy is left."""
        self._bundles.pop(proxies, None)
        self._db.forget(layers_of, proxies)
        self._db.forget(own_tables, proxies)

    def forget_node(self, node: NodeInfo) -> None:
        """Let go of a proxy that has left."""
        self._db.forget(placed_class, node)

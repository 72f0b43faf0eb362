"""Whatever people write, Envoy is never offered what it would refuse for being there twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mizzen.compile import Compiler
from mizzen.model.world import Batch, Object
from mizzen.names import route_configuration_of
from mizzen.wire import Resource, TypeUrl
from tests.support.worlds import PROXIES, batch_of, edits

if TYPE_CHECKING:
    from mizzen.bundle import Bundle


def _resources(bundle: Bundle, type_url: TypeUrl) -> list[Resource]:
    return [entry.resource for table in bundle.layers(type_url) for entry in table.values()]


def _domains(bundle: Bundle) -> Counter[tuple[str, str]]:
    """Return how often each domain stands in each route configuration."""
    found: Counter[tuple[str, str]] = Counter()
    for resource in _resources(bundle, TypeUrl.VIRTUAL_HOST):
        table = route_configuration_of(resource.name)
        found.update((table, d) for d in VirtualHost.FromString(resource.body).domains)
    for resource in _resources(bundle, TypeUrl.ROUTE):
        for host in RouteConfiguration.FromString(resource.body).virtual_hosts:
            found.update((resource.name, d) for d in host.domains)
    return found


def _listening(bundle: Bundle) -> tuple[Counter[str], Counter[str]]:
    """Return how often each address stands among the listeners, and each match in each of them."""
    addresses: Counter[str] = Counter()
    matches: Counter[str] = Counter()
    for resource in _resources(bundle, TypeUrl.LISTENER):
        listener = Listener.FromString(resource.body)
        for address in (listener.address, *(a.address for a in listener.additional_addresses)):
            addresses[str(address.socket_address)] += 1
        matches.update(f"{resource.name} {c.filter_chain_match}" for c in listener.filter_chains)
    return addresses, matches


@given(st.lists(edits, min_size=4, max_size=24))
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_nothing_is_there_twice(edited: list[Object | int]) -> None:
    """No domain twice in a route configuration, no name in two layers, no address, no chain twice."""
    compiler = Compiler()
    compiler.commit(Batch(changes=batch_of(edited, {})))
    for node in PROXIES:
        bundle = compiler.bundle(compiler.classify(node))
        names = Counter(
            (type_url, resource.name)
            for type_url in TypeUrl
            for resource in _resources(bundle, type_url)
        )
        for counted in (names, _domains(bundle), *_listening(bundle)):
            assert [thing for thing, times in counted.items() if times > 1] == []

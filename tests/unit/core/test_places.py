"""Places of listening: addresses and sockets that a Sidecar gives, instead of destinations' own."""

from __future__ import annotations

import pytest

from mizzen.ir import OutboundListener
from mizzen.names import BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER
from mizzen.resolve.listeners import own_listeners, shared_listener, socket_listeners
from mizzen.resolve.places import place_of, placed
from mizzen.resolve.proxies import proxy_class
from mizzen.resolve.routes import sees_as_others, virtual_hosts
from mizzen.tables import SCOPE_TABLES, ScopeTables
from tests.support.small_mesh import SmallMesh, host, istio, service, sidecar

_MESH = (
    service("web", "http:80:8080", "http-admin:8081", "udp-log:53"),
    service("db", "tcp:3306", "any:7000", "tls:443", ip="10.96.0.3"),
    service("queue", "udp-log:53", "tcp:5672", ip="10.96.0.4"),
    service("logs", "udp-log:53", ip="10.96.0.5"),
)


def _mesh(egress: str) -> SmallMesh:
    return SmallMesh(*_MESH, istio("Sidecar", "some", f"egress:\n{egress}"))


def _tables(mesh: SmallMesh) -> ScopeTables:
    return SCOPE_TABLES(mesh.db, proxy_class(mesh.db, sidecar()).scope)


def _listener(mesh: SmallMesh, of: str, port: int) -> OutboundListener:
    scope = proxy_class(mesh.db, sidecar()).scope
    (found,) = (each for each in own_listeners(mesh.db, (scope, host(of))) if each.port == port)
    return found


@pytest.mark.parametrize(
    ("place", "address", "binds"),
    [
        ("captureMode: NONE", "127.0.0.1", True),
        ("bind: 127.0.0.2, captureMode: NONE", "127.0.0.2", True),
        ("bind: 10.1.2.3", "10.1.2.3", False),
        ("bind: 10.1.2.3, captureMode: IPTABLES", "10.1.2.3", False),
    ],
)
def test_a_port_has_the_place_that_its_entry_gives(place: str, address: str, binds: bool) -> None:
    """Other ports stay where destinations are."""
    mesh = _mesh(f"""
- {{port: {{number: 80, protocol: HTTP}}, {place}, hosts: ['*/*']}}
- {{port: {{number: 3306, protocol: TCP}}, {place}, hosts: ['*/*']}}
- {{hosts: ['*/*']}}
""")
    names = set(_tables(mesh).listeners)
    assert {f"{address}_80", f"{address}_3306", "0.0.0.0_8081", "10.96.0.3_7000"} <= names
    assert not {"0.0.0.0_80", "10.96.0.3_3306"} & names
    found = _listener(mesh, "db", 3306)
    assert (found.bind, found.binds) == (address, binds)
    assert found.tcp.cluster == f"outbound|3306||{host('db')}"


def test_what_is_captured_passes_on_and_what_calls_the_proxy_ends_there() -> None:
    """Bytes that are not HTTP have another destination only if they were on their way to it."""
    mesh = _mesh("""
- {port: {number: 80}, bind: 10.1.2.3, hosts: ['*/*']}
- {hosts: ['*/*'], captureMode: NONE}
""")
    scope = proxy_class(mesh.db, sidecar()).scope
    ahead = [
        placed(scope, shared_listener(mesh.db, port), place_of(mesh.db, scope, port)).tcp.cluster
        for port in (80, 8081)
    ]
    assert ahead == [PASSTHROUGH_CLUSTER, BLACK_HOLE_CLUSTER]


def test_a_place_tells_names_and_http_from_the_rest() -> None:
    """All services of a port share it: TLS goes by its server name, an undeclared port is looked at."""
    mesh = _mesh("- {hosts: ['*/*'], captureMode: NONE}")
    tls, undeclared = _listener(mesh, "db", 443), _listener(mesh, "db", 7000)
    assert [chain.server_name for chain in tls.chains] == [host("db")]
    assert tls.tcp.cluster == BLACK_HOLE_CLUSTER
    assert (undeclared.sniff, undeclared.routes) == (True, f"{host('db')}:7000")
    assert undeclared.tcp.cluster == f"outbound|7000||{host('db')}"


_SOCKET = "- {port: {number: 0, protocol: HTTP}, bind: 'unix:///run/web', hosts: ['%s']}\n- hosts: ['~/*']"


def test_behind_a_socket_are_all_ports_of_what_is_imported_there() -> None:
    """The Host header says the port; without one it is the first."""
    mesh = _mesh(_SOCKET % "./web.shop.svc.cluster.local")
    tables = _tables(mesh)
    assert set(tables.listeners) == {"unix:///run/web_0"}
    assert set(tables.routes) == {"unix:///run/web"}
    scope = proxy_class(mesh.db, sidecar()).scope
    first, second = virtual_hosts(mesh.db, (scope, host("web")))
    assert (first.route_configuration, first.host) == ("unix:///run/web", f"{host('web')}:80")
    assert {f"{host('web')}:80", "web:80", "web"} <= set(first.domains)
    assert {f"{host('web')}:8081", "web:8081"} <= set(second.domains)
    assert all(":" in domain for domain in second.domains)


def test_a_service_without_http_is_behind_a_socket_with_its_first_port() -> None:
    """Datagrams are not carried."""
    mesh = _mesh(_SOCKET % "./*")
    scope = proxy_class(mesh.db, sidecar()).scope
    ((listener, table),) = socket_listeners(mesh.db, (scope, host("queue")))
    assert listener.tcp.cluster == f"outbound|5672||{host('queue')}"
    assert (listener.binds, listener.port, table) == (True, 0, None)
    assert not list(socket_listeners(mesh.db, (scope, host("logs"))))
    assert not list(socket_listeners(mesh.db, (scope, "nobody.example")))


def test_a_host_that_is_where_it_always_was_is_seen_as_by_others() -> None:
    """So that its listeners and routes are shared with them."""
    mesh = _mesh("- {port: {number: 80}, captureMode: NONE, hosts: ['*/*']}\n- hosts: ['*/*']")
    scope = proxy_class(mesh.db, sidecar()).scope
    assert not sees_as_others(mesh.db, (scope, host("web")))
    assert sees_as_others(mesh.db, (scope, host("db")))

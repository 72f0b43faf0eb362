"""Policies that are attached to objects: to Gateways of the Gateway API, to Services, to ServiceEntries.

A connection keeps the policies under which it was made, so here proxies make one for each request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    ANY_PORT,
    HTTP_PORT,
    HUB,
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    router,
    service,
)
from tests.support.small_mesh import istio
from tests.support.tokens import ISSUER, key_set, token

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_OTHER_GATE: Final = pod_ip(81)
_GATEWAY: Final = """
selector: {role: gate}
servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}]
"""
_RULES: Final = """
hosts: ['*']
gateways: [gate]
http: [{route: [{destination: {host: web, port: {number: 80}}}]}]
"""
_ENTRY: Final = f"""
hosts: [web.example]
location: MESH_INTERNAL
resolution: STATIC
ports: [{{number: 7001, name: tcp-other, protocol: TCP, targetPort: {ANY_PORT}}}]
workloadSelector: {{labels: {{app: web}}}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a server that two services and an entry give, and two gateways, one of them called edge."""
    gates = [
        router(name, number).replace("labels: {", f"labels: {{role: gate, {more}", 1)
        for name, number, more in (
            ("gate", 80, "gateway.networking.k8s.io/gateway-name: edge, "),
            ("side", 81, ""),
        )
    ]
    alias = service("alias", 12, ("web", 11), ports=f"tcp:9100:{TCP_PORT}")
    files = {
        "web.yaml": pod("web", 11)
        + service("web", 11, ("web", 11), ports=f"http:80:{HTTP_PORT}")
        + alias.replace("selector: {app: alias}", "selector: {app: web}"),
        "entry.yaml": istio("ServiceEntry", "entry", _ENTRY, namespace="test"),
        "anew.yaml": istio(
            "DestinationRule",
            "anew",
            """
            host: "*.test.svc.cluster.local"
            trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}
            """,
            namespace="test",
        ),
        "clients.yaml": pod("ann", 2),
        "gate.yaml": "".join(gates),
        "door.yaml": istio("Gateway", "gate", _GATEWAY, namespace="test"),
        "rules.yaml": istio("VirtualService", "web", _RULES, namespace="test"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _policy(target: str, rules: str = "[{}]", action: str = "DENY", written: str = "") -> str:
    written = written or f"targetRefs: [{target}]"
    spec = f"{written}\naction: {action}\nrules: {rules}"
    return istio("AuthorizationPolicy", "attached", spec, namespace="test")


def _visit(mesh: LiveMesh, at: str, bearer: str = "") -> int:
    headers = {"Host": "web.example"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    return mesh.call(HUB, "http://web.example:8080/", headers=headers, at=at).status


def _call(mesh: LiveMesh) -> int:
    return mesh.call("ann", "http://web.test/").status


def _bytes(mesh: LiveMesh, port: int) -> bool:
    return bool(mesh.tcp("ann", pod_ip(11), port))


_EDGE: Final = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}"


@pytest.mark.parametrize("written", ["", f"targetRef: {_EDGE}"])
def test_a_policy_of_a_gateway_is_for_its_pods(mesh: LiveMesh, written: str) -> None:
    """Those with its name in their label; other gateways and sidecars do not know of it."""
    with mesh.having(_policy(_EDGE, written=written)):
        eventually(lambda: _visit(mesh, _GATE) == 403, "visitors of edge are denied")
        assert _visit(mesh, _OTHER_GATE) == 200
        assert _call(mesh) == 200
    eventually(lambda: _visit(mesh, _GATE) == 200, "visitors are let in")


def test_tokens_are_asked_for_at_a_gateway(mesh: LiveMesh) -> None:
    """By a RequestAuthentication that is attached to it."""
    for written in (f"targetRefs: [{_EDGE}]", f"targetRef: {_EDGE}"):
        spec = f"{written}\njwtRules: [{{issuer: {ISSUER}, jwks: '{key_set()}'}}]"
        with mesh.having(istio("RequestAuthentication", "attached", spec, namespace="test")):
            eventually(lambda: _visit(mesh, _GATE, "rubbish") == 401, "tokens are looked at")
            assert _visit(mesh, _GATE, token()) == 200
            assert _visit(mesh, _OTHER_GATE, "rubbish") == 200
        eventually(lambda: _visit(mesh, _GATE, "rubbish") == 200, "they are not any more")


def test_a_policy_of_a_service_is_for_its_ports(mesh: LiveMesh) -> None:
    """Whoever calls, and whatever else the same pods serve."""
    with mesh.having(_policy("{kind: Service, name: web}")):
        eventually(lambda: _call(mesh) == 403, "requests to the service are denied")
        assert mesh.call("ann", f"http://{pod_ip(11)}:{HTTP_PORT}/").status == 403
        assert _bytes(mesh, TCP_PORT)
        assert _visit(mesh, _GATE) == 403
    eventually(lambda: _call(mesh) == 200, "requests are let in")


def test_allowing_at_a_service_closes_no_other(mesh: LiveMesh) -> None:
    """Of ports that it does not give nothing is said."""
    with mesh.having(_policy("{kind: Service, name: alias}", rules="[]", action="ALLOW")):
        eventually(lambda: not _bytes(mesh, TCP_PORT), "its port is closed")
        assert _call(mesh) == 200
        assert _bytes(mesh, ANY_PORT)


def test_a_policy_of_an_entry_is_for_its_ports(mesh: LiveMesh) -> None:
    """As of a Service."""
    entry = "{group: networking.istio.io, kind: ServiceEntry, name: entry}"
    with mesh.having(_policy(entry)):
        eventually(lambda: not _bytes(mesh, ANY_PORT), "its port is closed")
        assert _call(mesh) == 200


def test_the_address_of_a_visitor_is_known_behind_a_gateway(mesh: LiveMesh) -> None:
    """By what the gateway adds; the gateway itself believes nobody but its own eyes."""
    forged = {"Host": "web.example", "X-Forwarded-For": "192.0.2.1"}
    reply = mesh.call(HUB, "http://web.example:8080/", headers=forged, at=_GATE)
    visitor = reply.seen["headers"]["x-forwarded-for"].rpartition(",")[2].strip()
    for source, denied in (
        (f"remoteIpBlocks: ['{visitor}']", True),
        (f"notRemoteIpBlocks: ['{visitor}/32']", False),
        ("remoteIpBlocks: [192.0.2.1]", False),
    ):
        for name in ("web", "gate"):
            selector = f"selector: {{matchLabels: {{app: {name}}}}}"
            rules = f"[{{from: [{{source: {{{source}}}}}]}}]"
            with mesh.having(_policy("", rules=rules, written=selector)):
                wanted = 403 if denied else 200
                eventually(lambda: _visit(mesh, _GATE) == wanted, f"{name} {source}")  # noqa: B023 - at once
    condition = f"[{{when: [{{key: remote.ip, values: ['{visitor}']}}]}}]"
    with mesh.having(_policy("", rules=condition, written="selector: {matchLabels: {app: web}}")):
        eventually(lambda: _visit(mesh, _GATE) == 403, "the visitor is denied")
        assert _call(mesh) == 200


def test_a_target_that_is_not_there_is_told_of(mesh: LiveMesh) -> None:
    """And closes nothing."""
    with mesh.having(_policy("{kind: Service, name: nobody}")):
        (found,) = mesh.object("AuthorizationPolicy", "test/attached")["diagnostics"]
        assert (found["code"], found["field"]) == ("MZ0341", "spec.targetRefs[0]")
        assert _call(mesh) == 200

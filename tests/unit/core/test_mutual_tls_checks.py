"""Rules of clients' TLS that no workload takes."""

from __future__ import annotations

import pytest

from mizzen.analyze import analysis
from tests.support.small_mesh import SmallMesh, endpoints, istio, key, pod, service

_CART = service("cart", "http-a:80:8080", "tcp-b:90:9090")
_R = key("DestinationRule", "r")
_BASE = "spec.trafficPolicy.tls.mode"


def _mesh(policy: str, mode: str, *, more: str = "", mtls: bool = True) -> SmallMesh:
    return SmallMesh(
        _CART,
        pod("10.0.0.1", "cart", mtls=mtls),
        endpoints("cart", "10.0.0.1", ports="http-a:8080 tcp-b:9090"),
        istio("DestinationRule", "r", f"{{host: cart, {policy}}}"),
        istio("PeerAuthentication", "p", f"mtls: {{mode: {mode}}}\n{more}"),
    )


def _told(mesh: SmallMesh) -> list[tuple[str, str, str]]:
    found = analysis(mesh.db).get(_R, ())
    return [(one.code.id, one.path, one.message.split(" take ")[-1]) for one in found]


def _policy(mode: str, more: str = "") -> str:
    return f"trafficPolicy: {{tls: {{mode: {mode}}}{more}}}"


_ALONE = ("MZ0413", _BASE, "mutual TLS alone")
_NONE = ("MZ0413", _BASE, "no mutual TLS")


@pytest.mark.parametrize(
    ("policy", "mode", "told"),
    [
        (_policy("DISABLE"), "STRICT", [_ALONE]),
        (_policy("SIMPLE"), "STRICT", [_ALONE]),
        (_policy("ISTIO_MUTUAL"), "DISABLE", [_NONE]),
        (_policy("DISABLE"), "PERMISSIVE", []),
        (_policy("ISTIO_MUTUAL"), "PERMISSIVE", []),
        (_policy("DISABLE"), "DISABLE", []),
        (_policy("ISTIO_MUTUAL"), "STRICT", []),
        (
            _policy(
                "DISABLE", ", portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]"
            ),
            "STRICT",
            [("MZ0413", _BASE, "mutual TLS alone on 90")],
        ),
        (
            "trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]}",
            "STRICT",
            [
                (
                    "MZ0413",
                    "spec.trafficPolicy.portLevelSettings[0].tls.mode",
                    "mutual TLS alone on 80",
                )
            ],
        ),
        (
            f"subsets: [{{name: a, labels: {{app: cart}}, {_policy('DISABLE')}}}]",
            "STRICT",
            [("MZ0413", "spec.subsets[0].trafficPolicy.tls.mode", "mutual TLS alone")],
        ),
    ],
)
def test_what_clients_begin_the_workloads_have_to_take(
    policy: str, mode: str, told: list[tuple[str, str, str]]
) -> None:
    """By block, port and subset; the finding goes with its cause."""
    mesh = _mesh(policy, mode)
    assert _told(mesh) == told
    mesh.delete("PeerAuthentication", "p")
    assert _told(mesh) == []


def test_a_port_of_the_workload_may_differ() -> None:
    """It is the workload's own number that a PeerAuthentication has."""
    more = "selector: {matchLabels: {app: cart}}\nportLevelMtls: {8080: {mode: PERMISSIVE}}"
    mesh = _mesh(_policy("DISABLE"), "STRICT", more=more)
    assert _told(mesh) == [("MZ0413", _BASE, "mutual TLS alone on 90")]


def test_a_workload_without_a_sidecar_takes_no_mutual_tls() -> None:
    """No policy makes it, and one that takes it beside it is enough for clients to get somewhere."""
    mesh = _mesh(_policy("ISTIO_MUTUAL"), "STRICT", mtls=False)
    assert _told(mesh) == [_NONE]
    assert _told(_mesh(_policy("DISABLE"), "STRICT", mtls=False)) == []
    mesh.apply(
        pod("10.0.0.2", "cart"),
        endpoints("cart", "10.0.0.1", "10.0.0.2", ports="http-a:8080 tcp-b:9090"),
    )
    assert _told(mesh) == []


def test_nothing_is_known_of_servers_outside() -> None:
    """What they take, and with which certificates, is theirs to say."""
    spec = "{hosts: [a.example], resolution: STATIC, endpoints: [{address: 9.9.9.9}],"
    mesh = SmallMesh(
        istio(
            "ServiceEntry", "e", f"{spec} ports: [{{number: 80, name: http-a, protocol: HTTP}}]}}"
        ),
        istio("DestinationRule", "r", f"{{host: a.example, {_policy('ISTIO_MUTUAL')}}}"),
    )
    assert _told(mesh) == []


def test_what_a_gateway_takes_its_servers_say() -> None:
    """No label and no PeerAuthentication is asked for that."""
    mesh = _mesh(_policy("ISTIO_MUTUAL"), "DISABLE", mtls=False)
    servers = "[{port: {number: 80, name: h, protocol: HTTP}, hosts: ['*']}]"
    gateway = istio("Gateway", "g", f"{{selector: {{app: cart}}, servers: {servers}}}")
    mesh.apply(gateway)
    assert _told(mesh) == []
    mesh.delete("Gateway", "g")
    assert _told(mesh) == [_NONE]

"""Policies that are attached to objects: which workloads enforce them, and on which ports."""

from __future__ import annotations

import pytest

from mizzen.model.meta import labels
from mizzen.model.proxy import Workload
from mizzen.names import ObjectKey
from mizzen.resolve.authorization import authorization_for
from mizzen.resolve.inbound import attached_services, inbound_policy
from tests.support.small_mesh import SmallMesh, istio, key, pod, service, workload

CART = workload("cart")


def _attached(*targets: str, name: str = "p", namespace: str = "shop") -> str:
    spec = f"targetRefs: [{', '.join(targets)}]\nrules: [{{}}]"
    return istio("AuthorizationPolicy", name, spec, namespace=namespace)


def _service(name: str) -> str:
    return f"{{kind: Service, name: {name}}}"


def _services(*names: str) -> frozenset[ObjectKey]:
    return frozenset(key("Service", name) for name in names)


@pytest.mark.parametrize(
    "label", ["gateway.networking.k8s.io/gateway-name", "istio.io/gateway-name"]
)
def test_pods_of_a_gateway_have_its_name_in_a_label(label: str) -> None:
    """They enforce its policies, of their own namespace; other pods don't."""
    edge = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}"
    mesh = SmallMesh(_attached(edge))
    of_mesh = SmallMesh(_attached(edge, namespace="istio-system"))
    for of, namespace, is_for in (
        *(("edge", "shop", True), ("x", "shop", False), ("edge", "bank", False)),
    ):
        gate = Workload(namespace=namespace, labels=labels({label: of}))
        assert bool(authorization_for(mesh.db, gate).http) is is_for
        assert not authorization_for(of_mesh.db, gate).http


def test_ports_are_those_of_services_with_policies() -> None:
    """A port that two of them give has both; of services without policies nothing is said."""
    mesh = SmallMesh(
        service("cart", "http:80:8080", "tcp:9000"),
        service("alias", "http:81:main", "udp:53").replace("app: alias", "app: cart"),
        service("other", "http:80:8080").replace("app: other", "app: cart"),
        _attached(_service("cart"), _service("alias"), _service("nobody")),
    )
    assert attached_services(mesh.db, CART) == (
        (53, _services("alias")),
        (8080, _services("alias", "cart")),
        (9000, _services("cart")),
    )
    assert attached_services(mesh.db, workload("web")) == ()


def test_a_port_asks_what_is_asked_everywhere_and_what_its_services_ask() -> None:
    """And brings the policies' keys along."""
    mesh = SmallMesh(
        service("cart", "http:80:8080"),
        _attached(_service("cart"), name="own"),
        istio("AuthorizationPolicy", "all", "rules: [{}]"),
    )
    policy = inbound_policy(mesh.db, CART)
    assert [k.name for k in policy.authorization.origins] == ["all"]
    (port,) = policy.attached
    assert (port.port, [k.name for k in port.authorization.origins]) == (8080, ["all", "own"])
    assert [k.name for k in policy.all_origins] == ["all", "own"]


def test_what_nobody_enforces_is_told_of() -> None:
    """A service that is not there or selects nobody, a class of gateways, a gateway without pods."""
    group = "gateway.networking.k8s.io"
    targets = (
        _service("cart"),
        _service("nobody"),
        _service("idle"),
        _service("bare"),
        f"{{group: {group}, kind: Gateway, name: edge}}",
        f"{{group: {group}, kind: Gateway, name: nobody}}",
        f"{{group: {group}, kind: GatewayClass, name: istio-waypoint}}",
    )
    mesh = SmallMesh(
        service("cart"),
        service("idle"),
        service("bare").replace("selector: {app: bare}", "selector: {}"),
        pod("10.0.0.1", "cart"),
        pod("10.0.0.2", "gate", f"{group}/gateway-name: edge"),
        _attached(*targets),
    )
    found = [path for code, _, path in mesh.findings() if code == "MZ0341"]
    assert found == [f"spec.targetRefs[{number}]" for number in (1, 2, 3, 5, 6)]


def test_only_the_ports_of_a_target_can_lose_rules() -> None:
    """What a policy of one service asks of requests is nothing to another's TCP ports."""
    spec = "action: DENY\nrules: [{to: [{operation: {methods: [GET]}}]}]"
    texts = (
        service("cart", "http:80:8080"),
        service("alias", "tcp:9000").replace("app: alias", "app: cart"),
        pod("10.0.0.1", "cart"),
    )
    for name, told in (("cart", False), ("alias", True)):
        policy = istio("AuthorizationPolicy", "p", f"targetRefs: [{_service(name)}]\n{spec}")
        codes = [code for code, _, _ in SmallMesh(*texts, policy).findings()]
        assert ("MZ0406" in codes) is told

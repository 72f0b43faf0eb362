"""Routes of a gateway by what a visitor's token says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import HUB, LiveMesh, Reply, eventually, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tokens import ISSUER, key_set, token

if TYPE_CHECKING:
    from collections.abc import Iterator

_GATE: Final = pod_ip(80)
_GATEWAY: Final = """
selector: {istio: gate}
servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
"""
_TOKENS: Final = f"""
selector: {{matchLabels: {{istio: gate}}}}
jwtRules: [{{issuer: {ISSUER}, jwks: '{key_set()}'}}]
"""
_RULES: Final = """
hosts: [shop.example]
gateways: [ingress/gate]
http:
  - match: [{headers: {"@request.auth.claims.group": {exact: admin}}}]
    route: [{destination: {host: api, port: {number: 80}}}]
  - match: [{headers: {"@request.auth.claims[of][team]": {prefix: blue}}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: web, port: {number: 80}}}]
  - match: [{uri: {prefix: /strangers}, withoutHeaders: {"@request.auth.claims.group": {}}}]
    directResponse: {status: 222}
  - route: [{destination: {host: web, port: {number: 80}}}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A gateway that validates tokens, and two services behind it."""
    files = {
        "gate.yaml": router("gate", 80, namespace="ingress")
        + service("gate", 80, ("gate", 80), ports="http:80:8080", namespace="ingress"),
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "door.yaml": istio("Gateway", "gate", _GATEWAY, namespace="ingress"),
        "tokens.yaml": istio("RequestAuthentication", "tokens", _TOKENS, namespace="ingress"),
        "rules.yaml": istio("VirtualService", "rules", _RULES, namespace="test"),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        eventually(lambda: _visit(made, bearer="rubbish").status == 401, "tokens are looked at")
        yield made


def _visit(mesh: LiveMesh, path: str = "/", bearer: str = "") -> Reply:
    headers = {"Host": "shop.example"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    return mesh.call(HUB, f"http://shop.example:8080{path}", headers=headers, at=_GATE)


def test_a_claim_chooses_the_route(mesh: LiveMesh) -> None:
    """As a text or in a list; without the claim, or without a token, other rules hold."""
    assert _visit(mesh, bearer=token(group="admin")).pod == "api"
    assert _visit(mesh, bearer=token(group=["guest", "admin"])).pod == "api"
    assert _visit(mesh, bearer=token(group="guest")).pod == "web"
    assert _visit(mesh).pod == "web"


def test_a_route_that_a_claim_chose_has_its_faults(mesh: LiveMesh) -> None:
    """Though Envoy looked for faults before it knew the claim."""
    assert _visit(mesh, bearer=token(of={"team": "blue-1"})).status == 418
    assert _visit(mesh, bearer=token(of={"team": "red"})).pod == "web"


def test_the_absence_of_a_claim_chooses_too(mesh: LiveMesh) -> None:
    """With no token there is no claim."""
    assert _visit(mesh, "/strangers").status == 222
    assert _visit(mesh, "/strangers", bearer=token(group="guest")).pod == "web"

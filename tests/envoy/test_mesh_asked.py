"""CUSTOM policies as callers meet them: who decides is a server of the mesh, over HTTP and over gRPC.

A connection keeps the policies under which it was made, so here proxies make one for each request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.live_mesh import (
    HTTP_PORT,
    HUB,
    TCP_PORT,
    LiveMesh,
    Reply,
    eventually,
    pod,
    pod_ip,
    router,
    service,
)
from tests.support.small_mesh import istio
from tests.support.tokens import ISSUER, key_set, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_URL: Final = "http://web.test"
_GATE: Final = pod_ip(80)
_AUTHORIZER: Final = "/app/live_authorizer.py"
_HOST: Final = "judge.test.svc.cluster.local"
_PROVIDERS: Final = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: mizzen, namespace: istio-system}}
data:
  mesh: |
    extensionProviders:
      - name: plain
        envoyExtAuthzHttp: {{service: {_HOST}, port: 80}}
      - name: plain-ns
        envoyExtAuthzHttp:
          service: test/{_HOST}
          port: 80
          timeout: 0.5s
          pathPrefix: /judge
          statusOnError: "503"
          includeRequestHeadersInCheck: [x-one, "x-a-*", "*-z"]
          includeAdditionalHeadersInCheck: {{x-from: mesh}}
          includeRequestBodyInCheck: {{maxRequestBytes: 10, allowPartialMessage: true}}
          headersToUpstreamOnAllow: [x-saw]
          headersToDownstreamOnDeny: ["x-wh*", location]
          headersToDownstreamOnAllow: [x-why]
      - name: grpc
        envoyExtAuthzGrpc:
          service: {_HOST}
          port: 9000
          includeRequestBodyInCheck: {{maxRequestBytes: 10, packAsBytes: true}}
      - name: quick
        envoyExtAuthzGrpc: {{service: {_HOST}, port: 9000, timeout: 0.2s, statusOnError: "429"}}
      - name: lenient
        envoyExtAuthzGrpc: {{service: {_HOST}, port: 9000, timeout: 0.2s, failOpen: true}}
      - name: router
        envoyExtAuthzGrpc: {{service: {_HOST}, port: 9000, clearRouteCache: true}}
      - name: council
        envoyExtAuthzGrpc: {{service: test/council.test.svc.cluster.local, port: 9000}}
      - name: stranger
        envoyExtAuthzHttp: {{service: test/other.example, port: 80}}
      - name: wrong-port
        envoyExtAuthzHttp: {{service: {_HOST}, port: 81}}
"""
_RULES: Final = """
hosts: [web.example]
gateways: [gate]
http:
  - match: [{headers: {x-saw: {regex: ".+"}}}]
    route: [{destination: {host: web, port: {number: 80}}}]
  - directResponse: {status: 222}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Two clients, a server, a gateway, and one who decides."""
    judge = pod("judge", 20).replace("/app/live_app.py", _AUTHORIZER)
    gate = "{selector: {istio: gate}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}"
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "judge.yaml": judge
        + service("judge", 20, ("judge", 20), ports=f"http:80:{HTTP_PORT} grpc:9000:{TCP_PORT}"),
        "anew.yaml": istio(
            "DestinationRule",
            "anew",
            """
            host: "*.test.svc.cluster.local"
            trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}
            """,
            namespace="test",
        ),
        "clients.yaml": pod("ann", 2) + pod("bob", 3),
        "gate.yaml": router("gate", 80)
        + service("gate", 80, ("gate", 80), ports="http:80:8080")
        + istio("Gateway", "gate", gate, namespace="test")
        + "---"
        + istio("VirtualService", "web", _RULES, namespace="test"),
        "providers.yaml": _PROVIDERS,
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _asking(provider: str, *rules: str, app: str = "web", name: str = "ask") -> str:
    """Return a policy whose provider decides of what begins with ``/asked``, unless rules are given."""
    lines = "\n".join(
        f"  - {rule}" for rule in rules or ("{to: [{operation: {paths: ['/asked*']}}]}",)
    )
    spec = f"""
selector: {{matchLabels: {{app: {app}}}}}
action: CUSTOM
provider: {{name: {provider}}}
rules:
{lines}
"""
    return istio("AuthorizationPolicy", name, spec, namespace="test")


def _get(mesh: LiveMesh, path: str, who: str = "ann", **headers: str) -> Reply:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return mesh.call(who, f"{_URL}{path}", headers=sent)


def _post(mesh: LiveMesh, path: str, body: bytes) -> Reply:
    return mesh.call("ann", f"{_URL}{path}", method="POST", body=body)


def _is_asked(mesh: LiveMesh, path: str = "/asked") -> bool:
    return _get(mesh, f"{path}?verdict=401").status == 401


def _saw(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what the one who decides has seen."""
    found: dict[str, Any] = json.loads(headers["x-saw"])
    return found


@pytest.mark.parametrize("provider", ["plain", "grpc"])
def test_somebody_else_decides(mesh: LiveMesh, provider: str) -> None:
    """Of what the rules match, and of nothing else; a refusal is as they say it."""
    with mesh.having(_asking(provider)):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        assert _get(mesh, "/asked").pod == "web"
        assert _get(mesh, "/asked?verdict=404").status == 404
        assert _get(mesh, "/free?verdict=401").pod == "web"
    eventually(lambda: not _is_asked(mesh), "nobody is asked any more")


def test_who_is_asked_over_http_sees_what_is_to_be_shown(mesh: LiveMesh) -> None:
    """The path behind its prefix, some headers, and the beginning of the body."""
    with mesh.having(_asking("plain-ns")):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        reply = mesh.call(
            "ann",
            f"{_URL}/asked?x=1",
            method="POST",
            headers={"x-one": "1", "x-a-b": "2", "y-z": "3", "x-none": "4"},
            body=b"0123456789abcdef",
        )
        saw = _saw(reply.seen["headers"])
        assert (saw["method"], saw["path"]) == ("POST", "/judge/asked?x=1")
        assert saw["body"] == "0123456789"
        shown = saw["headers"]
        assert [shown[name] for name in ("x-one", "x-a-b", "y-z", "x-from")] == [
            *("1", "2", "3", "mesh")
        ]
        assert "x-none" not in shown


def test_what_they_answer_goes_where_it_is_to_go(mesh: LiveMesh) -> None:
    """Headers of a yes to the application and to the client, those of a no to the client."""
    with mesh.having(_asking("plain-ns")):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        allowed = _get(mesh, "/asked", x_saw="forged")
        assert _saw(allowed.seen["headers"])["path"] == "/judge/asked"
        assert "x-secret" not in allowed.seen["headers"]
        assert allowed.headers["x-why"] == "so"
        assert "x-saw" not in allowed.headers
        refused = _get(mesh, "/asked?verdict=302")
        assert (refused.status, refused.headers["location"]) == (302, "/login")
        assert refused.headers["x-why"] == "so"
        assert "x-secret" not in refused.headers


def test_who_is_asked_over_grpc_sees_all(mesh: LiveMesh) -> None:
    """Headers, the caller, and the whole body as bytes; where that is too long, 413."""
    with mesh.having(_asking("grpc")):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        saw = _saw(_post(mesh, "/asked", b"0123").seen["headers"])
        assert (saw["method"], saw["path"], saw["body"], saw["raw"]) == (
            *("POST", "/asked", "0123", True),
        )
        assert saw["caller"] == "spiffe://cluster.local/ns/test/sa/ann"
        assert _post(mesh, "/asked", b"0123456789abcdef").status == 413


def test_connections_are_asked_about_over_grpc_alone(mesh: LiveMesh) -> None:
    """Bytes of whom they refuse do not come through; over HTTP nobody asks about connections."""
    everything = "{to: [{operation: {methods: [GET, POST]}}]}"
    with mesh.having(_asking("grpc", everything)):
        eventually(lambda: not mesh.tcp("bob", "web.test", TCP_PORT), "bob is refused")
        assert mesh.tcp("ann", "web.test", TCP_PORT) == b"web: hello\n"
    with mesh.having(_asking("plain", everything)):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        assert mesh.tcp("bob", "web.test", TCP_PORT) == b"web: hello\n"


@pytest.mark.parametrize(
    ("provider", "status"), [("plain-ns", 503), ("quick", 429), ("lenient", 200)]
)
def test_where_nobody_decides_in_time(mesh: LiveMesh, provider: str, status: int) -> None:
    """The status that is written, or, where it is written, whatever the application says."""
    with mesh.having(_asking(provider)):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        assert _get(mesh, "/asked?delay=1").status == status


@pytest.mark.parametrize("provider", ["nobody", "stranger", "wrong-port"])
def test_where_nobody_can_be_asked_it_is_denied(mesh: LiveMesh, provider: str) -> None:
    """A provider that is not there, or is nowhere; what the rules do not match passes."""
    with mesh.having(_asking(provider)):
        eventually(lambda: _get(mesh, "/asked").status == 403, "what matches is denied")
        assert _get(mesh, "/free").status == 200
        found = mesh.object("AuthorizationPolicy", "test/ask")["diagnostics"]
        assert ("MZ0340", "spec.provider.name") in {(one["code"], one["field"]) for one in found}


def test_who_goes_away_and_comes_back_is_asked_again(mesh: LiveMesh) -> None:
    """No proxy is ever offered a question to somebody whom it cannot reach; meanwhile it is denied."""
    council = service("council", 21, ("judge", 20), ports=f"grpc:9000:{TCP_PORT}")
    with mesh.having(council), mesh.load("ann", f"{_URL}/free") as load:
        mesh.apply("council-ask.yaml", _asking("council"))
        try:
            eventually(lambda: _is_asked(mesh), "requests are asked about")
            mesh.apply("having-0.yaml", "")
            eventually(lambda: _get(mesh, "/asked").status == 403, "what matches is denied")
            mesh.apply("having-0.yaml", council)
            eventually(lambda: _is_asked(mesh), "requests are asked about again")
            assert mesh.status()["mesh"]["proxies"]["rejecting"] == 0
        finally:
            mesh.remove("council-ask.yaml")
            mesh.settle()
    assert not load.failures


def test_several_are_all_asked(mesh: LiveMesh) -> None:
    """Though the name of one is the beginning of another's; each of its own rules."""
    one = _asking("plain", "{to: [{operation: {paths: [/one, /both]}}]}", name="one")
    two = _asking("plain-ns", "{to: [{operation: {paths: [/two, /both]}}]}", name="two")
    with mesh.having(one, two):
        eventually(lambda: _is_asked(mesh, "/one") and _is_asked(mesh, "/two"), "both are asked")
        assert "x-saw" not in _get(mesh, "/one").seen["headers"]
        for path in ("/two", "/both"):
            assert _saw(_get(mesh, path).seen["headers"])["path"] == f"/judge{path}"


def test_other_policies_hold_too(mesh: LiveMesh) -> None:
    """Who is allowed by others may be denied here, and claims of tokens come after the question."""
    tokens = istio(
        "RequestAuthentication",
        "tokens",
        f"selector: {{matchLabels: {{app: web}}}}\njwtRules: [{{issuer: {ISSUER}, jwks: '{key_set()}'}}]",
        namespace="test",
    )
    allow = istio(
        "AuthorizationPolicy",
        "allow",
        "selector: {matchLabels: {app: web}}\nrules: [{from: [{source: {requestPrincipals: ['*/ann']}}]}]",
        namespace="test",
    )
    with mesh.having(_asking("grpc"), tokens, allow):
        bearer = {"authorization": f"Bearer {token()}"}
        eventually(lambda: _is_asked(mesh), "requests are asked about, though they have no token")
        eventually(lambda: _get(mesh, "/asked").status == 403, "a token is asked for")
        assert _get(mesh, "/asked", **bearer).pod == "web"
        assert _get(mesh, "/asked?verdict=401", **bearer).status == 401


def _visit(mesh: LiveMesh, path: str) -> Reply:
    host = {"Host": "web.example"}
    return mesh.call(HUB, f"http://web.example:8080{path}", headers=host, at=_GATE)


def test_a_gateway_asks_too(mesh: LiveMesh) -> None:
    """And chooses the route anew, where that is written, with what the answer brought."""
    with mesh.having(_asking("plain", app="gate")):
        eventually(lambda: _visit(mesh, "/asked?verdict=401").status == 401, "visitors are asked")
        assert _visit(mesh, "/asked").status == 222
        assert _visit(mesh, "/free?verdict=401").status == 222
    with mesh.having(_asking("router", app="gate")):
        eventually(lambda: _visit(mesh, "/asked").pod == "web", "the route is chosen anew")
        assert _visit(mesh, "/free").status == 222


def test_who_decides_may_be_changed(mesh: LiveMesh) -> None:
    """A provider's settings are in force as soon as they are saved."""
    with mesh.having(_asking("plain-ns")):
        eventually(lambda: _is_asked(mesh), "requests are asked about")
        mesh.apply("providers.yaml", _PROVIDERS.replace("pathPrefix: /judge", "pathPrefix: /court"))
        try:
            eventually(
                lambda: _saw(_get(mesh, "/asked").seen["headers"])["path"] == "/court/asked",
                "the new prefix",
            )
        finally:
            mesh.apply("providers.yaml", _PROVIDERS)

"""AuthorizationPolicies as callers meet them: over HTTP and TCP, with identities and without.

A connection keeps the policies under which it was made until its Envoy retires it. So here clients' Envoys
make one for each request, but where that itself is the matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    ANY_PORT,
    HTTP_PORT,
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANN: Final = "cluster.local/ns/test/sa/ann"
_BOB: Final = "cluster.local/ns/other/sa/bob"
_URL: Final = "http://web.test"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients of two namespaces, one without a sidecar, a server, and one that no policy selects."""
    files = {
        "servers.yaml": pod("web", 11)
        + service("web", 11, ("web", 11))
        + pod("free", 12)
        + service("free", 12, ("free", 12)),
        "anew.yaml": istio(
            "DestinationRule",
            "anew",
            """
            host: "*.test.svc.cluster.local"
            trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}
            """,
            namespace="test",
        ),
        "clients.yaml": pod("ann", 2)
        + pod("bob", 3, namespace="other")
        + pod("stranger", 4, sidecar=False),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _policy(action: str, *rules: str, name: str = "", selector: str = "{app: web}") -> str:
    """Return a policy for the server, each rule written in one line."""
    lines = [f"action: {action}", f"selector: {{matchLabels: {selector}}}" if selector else ""]
    lines += ["rules:", *(f"  - {rule}" for rule in rules)] if rules else []
    spec = "\n".join(line for line in lines if line)
    return istio("AuthorizationPolicy", name or action.lower(), spec, namespace="test")


def _get(mesh: LiveMesh, who: str, path: str = "/", method: str = "GET", port: int = 80) -> int:
    """Return the status of a request; a stranger knows no services and goes to the pod."""
    if who == "stranger":
        url = f"http://{pod_ip(11)}:{HTTP_PORT if port == 80 else port}{path}"
        return mesh.call(who, url, method=method).status
    return mesh.call(who, f"{_URL}:{port}{path}", method=method).status


def _tcp(mesh: LiveMesh, who: str, port: int = TCP_PORT) -> bool:
    """Tell whether bytes come back."""
    host = pod_ip(11) if who == "stranger" else "web.test"
    return bool(mesh.tcp(who, host, port))


def _all(mesh: LiveMesh, *who: str) -> list[int]:
    return [_get(mesh, one) for one in who]


# --- Who ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        (f"principals: [{_ANN}]", {"ann"}),
        (f"principals: [{_ANN}, {_BOB}]", {"ann", "bob"}),
        ("principals: ['cluster.local/ns/test/*']", {"ann"}),
        ("principals: ['*/sa/bob']", {"bob"}),
        ("principals: ['*']", {"ann", "bob"}),
        (f"notPrincipals: [{_ANN}]", {"bob", "stranger"}),
        ("namespaces: [other]", {"bob"}),
        ("namespaces: ['te*']", {"ann"}),
        ("notNamespaces: [other]", {"ann", "stranger"}),
        (f"ipBlocks: ['{pod_ip(4)}/32', '{pod_ip(3)}']", {"bob", "stranger"}),
        (f"notIpBlocks: ['{pod_ip(0)}/30']", {"stranger"}),
        (f"namespaces: [test], notPrincipals: [{_ANN}]", set()),
        ("serviceAccounts: [ann, other/bob]", {"ann", "bob"}),
        ("notServiceAccounts: [ann]", {"bob", "stranger"}),
        ("trustDomains: ['cluster.*']", {"ann", "bob"}),
        ("notTrustDomains: [cluster.local]", {"stranger"}),
    ],
)
def test_a_source_is_let_in_and_nobody_else(mesh: LiveMesh, source: str, allowed: set[str]) -> None:
    """ALLOW by identity, namespace and address, over HTTP and TCP alike."""
    everyone = ("ann", "bob", "stranger")
    wanted = [200 if who in allowed else 403 for who in everyone]
    with mesh.having(_policy("ALLOW", f"{{from: [{{source: {{{source}}}}}]}}")):
        eventually(lambda: _all(mesh, *everyone) == wanted, f"{source} lets in {allowed}")
        assert {who for who in everyone if _tcp(mesh, who)} == allowed
        assert mesh.call("ann", "http://free.test/").status == 200
    eventually(lambda: _all(mesh, *everyone) == [200] * 3, "everyone is let in")


def test_denying_is_the_opposite(mesh: LiveMesh) -> None:
    """DENY shuts out whom it names and lets in everyone else."""
    with mesh.having(_policy("DENY", "{from: [{source: {namespaces: [other]}}]}")):
        eventually(lambda: _get(mesh, "bob") == 403, "bob is shut out")
        assert _all(mesh, "ann", "bob", "stranger") == [200, 403, 200]
        assert [_tcp(mesh, who) for who in ("ann", "bob", "stranger")] == [True, False, True]


def test_denying_comes_before_allowing(mesh: LiveMesh) -> None:
    """Who is both allowed and denied is denied; who is neither is not allowed."""
    allow = _policy("ALLOW", f"{{from: [{{source: {{principals: [{_ANN}, {_BOB}]}}}}]}}")
    deny = _policy("DENY", "{from: [{source: {namespaces: [other]}}]}")
    with mesh.having(allow, deny):
        eventually(
            lambda: _all(mesh, "ann", "bob", "stranger") == [200, 403, 403], "only ann is let in"
        )


def test_a_policy_is_for_whom_it_selects(mesh: LiveMesh) -> None:
    """Of its own namespace; of all where it stands in the root namespace."""

    def _found() -> list[int]:
        return [mesh.call("ann", f"http://{name}.test/").status for name in ("web", "free")]

    some = "selector: {matchLabels: {app: web, version: v1}}\n"
    for namespace, selector, wanted in (
        ("test", some, [403, 200]),
        ("test", "", [403, 403]),
        ("test", some.replace("v1", "v2"), [200, 200]),
        ("istio-system", some, [403, 200]),
        ("istio-system", "", [403, 403]),
        ("other", some, [200, 200]),
    ):
        spec = f"action: DENY\n{selector}rules: [{{}}]"
        with mesh.having(istio("AuthorizationPolicy", "p", spec, namespace=namespace)):
            eventually(lambda: _found() == wanted, f"{namespace} {selector}")  # noqa: B023 - at once


def test_a_policy_without_rules_allows_nobody(mesh: LiveMesh) -> None:
    """The default deny of a workload, and of a namespace when it selects none."""
    with mesh.having(_policy("ALLOW")):
        eventually(lambda: _all(mesh, "ann", "bob", "stranger") == [403] * 3, "nobody is let in")
        assert not _tcp(mesh, "ann")
        assert mesh.call("ann", "http://free.test/").status == 200
    with mesh.having(_policy("ALLOW", selector="")):
        eventually(lambda: mesh.call("ann", "http://free.test/").status == 403, "free is shut")
        assert _get(mesh, "ann") == 403
    eventually(lambda: mesh.call("ann", "http://free.test/").status == 200, "free is open again")


def test_a_rule_without_conditions_allows_everyone(mesh: LiveMesh) -> None:
    """Beside the default deny, ``rules: [{}]`` opens everything."""
    with mesh.having(_policy("ALLOW", name="nobody"), _policy("ALLOW", "{}", name="everybody")):
        assert _all(mesh, "ann", "bob", "stranger") == [200] * 3
        assert _tcp(mesh, "stranger")


# --- What -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "allowed"),
    [
        ("methods: [GET]", {("GET", "/"), ("GET", "/a/b"), ("GET", "/c")}),
        ("paths: [/c]", {("GET", "/c"), ("POST", "/c")}),
        ("paths: ['/a/*']", {("GET", "/a/b"), ("POST", "/a/b")}),
        ("paths: ['*/b']", {("GET", "/a/b"), ("POST", "/a/b")}),
        ("paths: ['/a/{*}'], methods: [POST]", {("POST", "/a/b")}),
        ("notPaths: ['/a/*'], notMethods: [POST]", {("GET", "/"), ("GET", "/c")}),
    ],
)
def test_an_operation_is_allowed_and_no_other(
    mesh: LiveMesh, operation: str, allowed: set[tuple[str, str]]
) -> None:
    """By method and path, both together where both are written."""
    asked = [(method, path) for method in ("GET", "POST") for path in ("/", "/a/b", "/c")]

    def got() -> set[tuple[str, str]]:
        return {(m, p) for m, p in asked if _get(mesh, "ann", p, m) == 200}

    with mesh.having(_policy("ALLOW", f"{{to: [{{operation: {{{operation}}}}}]}}")):
        eventually(lambda: got() == allowed, f"{operation} allows {allowed}")


def test_a_path_cannot_be_disguised(mesh: LiveMesh) -> None:
    """Dots and needless percent signs are taken out before the policy looks."""
    with mesh.having(_policy("DENY", "{to: [{operation: {paths: ['/secret*']}}]}")):
        eventually(lambda: _get(mesh, "ann", "/secret") == 403, "the path is denied")
        for path in ("/secret/x", "/open/../secret", "/./secret", "/secret?x=1", "/%73ecret"):
            assert _get(mesh, "ann", path) == 403, path
        assert _get(mesh, "ann", "/open") == 200


def test_ports_are_those_of_the_pod(mesh: LiveMesh) -> None:
    """A rule for one port closes all others, HTTP and TCP."""
    with mesh.having(_policy("ALLOW", f"{{to: [{{operation: {{ports: ['{HTTP_PORT}']}}}}]}}")):
        eventually(lambda: not _tcp(mesh, "ann"), "the TCP port is closed")
        assert _get(mesh, "ann") == 200
        assert _get(mesh, "ann", port=ANY_PORT) == 403
    with mesh.having(_policy("ALLOW", f"{{to: [{{operation: {{ports: ['{TCP_PORT}']}}}}]}}")):
        eventually(lambda: _get(mesh, "ann") == 403, "the HTTP port is closed")
        assert _tcp(mesh, "ann")
        assert not _tcp(mesh, "ann", ANY_PORT)


def test_hosts_and_headers_are_looked_at(mesh: LiveMesh) -> None:
    """``hosts`` in an operation, ``request.headers`` among the conditions."""
    rule = "{to: [{operation: {hosts: ['web.test*']}}], when: [{key: 'request.headers[x-who]', values: [me]}]}"
    with mesh.having(_policy("ALLOW", rule)):
        eventually(lambda: _get(mesh, "ann") == 403, "the rule is in force")
        assert mesh.call("ann", f"{_URL}/", headers={"X-Who": "me"}).status == 200
        assert mesh.call("ann", f"{_URL}/", headers={"X-Who": "you"}).status == 403
        assert mesh.call("ann", "http://web/", headers={"X-Who": "me"}).status == 403


@pytest.mark.parametrize(
    ("operation", "allowed"),
    [
        ("hosts: [web.test]", {"web.test"}),
        ("hosts: ['WEB.test*']", {"web.test", "web.test.svc.cluster.local"}),
        ("hosts: ['*.local']", {"web.test.svc.cluster.local"}),
        ("notHosts: ['web.test*']", {"web"}),
        (f"notPorts: ['{TCP_PORT}']", {"web", "web.test", "web.test.svc.cluster.local"}),
        (f"notPorts: ['{HTTP_PORT}']", set()),
    ],
)
def test_an_authority_is_allowed_and_no_other(
    mesh: LiveMesh, operation: str, allowed: set[str]
) -> None:
    """In any case; and all but some ports."""
    asked = ("web", "web.test", "web.test.svc.cluster.local")

    def got() -> set[str]:
        return {host for host in asked if mesh.call("ann", f"http://{host}/").status == 200}

    with mesh.having(_policy("ALLOW", f"{{to: [{{operation: {{{operation}}}}}]}}")):
        eventually(lambda: got() == allowed, f"{operation} allows {allowed}")


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [
        ("key: source.principal, values: ['*/sa/ann']", {"ann"}),
        ("key: source.principal, notValues: ['*']", {"stranger"}),
        ("key: source.namespace, values: [other]", {"bob"}),
        ("key: source.serviceAccount, values: [ann]", {"ann"}),
        ("key: source.serviceAccount, notValues: [other/bob]", {"ann", "stranger"}),
        ("key: source.trustDomain, values: [cluster.local]", {"ann", "bob"}),
        (f"key: source.ip, values: ['{pod_ip(4)}/32']", {"stranger"}),
        (f"key: source.ip, notValues: ['{pod_ip(4)}/32']", {"ann", "bob"}),
        (f"key: destination.ip, values: ['{pod_ip(11)}']", {"ann", "bob", "stranger"}),
        (f"key: destination.ip, notValues: ['{pod_ip(0)}/24']", set()),
        (f"key: destination.port, values: ['{HTTP_PORT}']", {"ann", "bob", "stranger"}),
        ("key: connection.sni, values: ['outbound_.80_*']", {"ann", "bob"}),
        ("key: connection.sni, notValues: ['outbound_.80_*']", {"stranger"}),
        ("key: 'request.headers[x-who]', values: ['m*']", {"ann", "bob", "stranger"}),
        ("key: 'request.headers[x-who]', notValues: [me]", set()),
    ],
)
def test_a_condition_is_met_and_no_other(mesh: LiveMesh, condition: str, allowed: set[str]) -> None:
    """On who asks, on the connection, and on headers."""

    def got() -> set[str]:
        return {who for who in ("ann", "bob", "stranger") if _says_me(mesh, who) == 200}

    with mesh.having(_policy("ALLOW", f"{{when: [{{{condition}}}]}}")):
        eventually(lambda: got() == allowed, f"{condition} lets in {allowed}")


def _says_me(mesh: LiveMesh, who: str) -> int:
    url = f"http://{pod_ip(11)}:{HTTP_PORT}/" if who == "stranger" else f"{_URL}/"
    return mesh.call(who, url, headers={"X-Who": "me"}).status


def test_what_other_filters_have_noted_is_a_condition(mesh: LiveMesh) -> None:
    """For one, which rule of a dry run has matched."""
    dry = _policy("DENY", "{to: [{operation: {paths: ['/dry']}}]}", name="dry").replace(
        "  namespace:", "  annotations: {istio.io/dry-run: 'true'}\n  namespace:", 1
    )
    key = "experimental.envoy.filters.http.rbac[istio_dry_run_deny_shadow_effective_policy_id]"
    allow = _policy("ALLOW", f"{{when: [{{key: '{key}', values: ['ns[[]test]-policy[[]dry]*']}}]}}")
    with mesh.having(dry, allow.replace("[[]", "[")):
        eventually(lambda: _get(mesh, "ann", "/other") == 403, "what is not noted is refused")
        assert _get(mesh, "ann", "/dry") == 200


def test_conditions_narrow_a_rule(mesh: LiveMesh) -> None:
    """``when`` on the source's namespace and on the port."""
    rule = (
        "{when: [{key: source.namespace, values: [test]},"
        f" {{key: destination.port, values: ['{TCP_PORT}']}}]}}"
    )
    with mesh.having(_policy("DENY", rule)):
        eventually(lambda: not _tcp(mesh, "ann"), "ann is denied the TCP port")
        assert _tcp(mesh, "bob")
        assert _get(mesh, "ann") == 200


def test_over_tcp_a_rule_about_requests_is_never_wider(mesh: LiveMesh) -> None:
    """ALLOW with a method allows nothing there; DENY with a method denies all of the port (as in Istio)."""
    with mesh.having(_policy("ALLOW", "{to: [{operation: {methods: [GET]}}]}")):
        eventually(lambda: not _tcp(mesh, "ann"), "the TCP port is closed")
        assert _get(mesh, "ann") == 200
    rule = f"{{to: [{{operation: {{methods: [POST], ports: ['{TCP_PORT}', '{HTTP_PORT}']}}}}]}}"
    with mesh.having(_policy("DENY", rule)):
        eventually(lambda: not _tcp(mesh, "ann"), "the TCP port is closed")
        assert _get(mesh, "ann") == 200
        assert _get(mesh, "ann", method="POST") == 403


def test_whom_nobody_knows_is_shut_out_of_the_way_past_services(mesh: LiveMesh) -> None:
    """A port that no service has is guarded as well."""
    with mesh.having(_policy("ALLOW", f"{{from: [{{source: {{principals: [{_ANN}]}}}}]}}")):
        eventually(lambda: _get(mesh, "stranger") == 403, "the stranger is shut out")
        assert not bool(mesh.tcp("stranger", pod_ip(11), 5555))


def test_what_a_custom_policy_of_nobody_matches_is_denied(mesh: LiveMesh) -> None:
    """Nobody can be asked, so nothing that would be asked for gets in; all else does."""
    custom = "CUSTOM\nprovider: {name: nobody}"
    rule = f"{{to: [{{operation: {{paths: ['/admin*'], ports: ['{HTTP_PORT}']}}}}]}}"
    with mesh.having(_policy(custom, rule, name="custom")):
        eventually(lambda: _get(mesh, "ann", "/admin/x") == 403, "the path is denied")
        assert _get(mesh, "ann", "/public") == 200
        assert _tcp(mesh, "ann")


def test_an_audited_request_is_marked_and_passes(mesh: LiveMesh) -> None:
    """The server's Envoy has looked at it."""
    with mesh.having(_policy("AUDIT", "{to: [{operation: {paths: ['/audited']}}]}")):
        eventually(lambda: _counted(mesh, r"rbac\.allowed$", "/audited"), "a request is looked at")
        assert _get(mesh, "ann", "/other") == 200


@pytest.mark.parametrize("action", ["DENY", "ALLOW"])
def test_a_dry_run_only_counts(mesh: LiveMesh, action: str) -> None:
    """What would be refused passes, and stands in the statistics under Istio's names."""
    dry = _policy(action, "{to: [{operation: {paths: ['/dry']}}]}").replace(
        "  namespace:", "  annotations: {istio.io/dry-run: 'true'}\n  namespace:", 1
    )
    refused = "/dry" if action == "DENY" else "/other"
    pattern = f"istio_dry_run_{action.lower()}_.shadow_denied$"
    with mesh.having(dry):
        eventually(lambda: _counted(mesh, pattern, refused), "a request is counted")


def _counted(mesh: LiveMesh, pattern: str, path: str) -> bool:
    """Make a request, which passes, and tell whether the server's Envoy has counted one."""
    assert _get(mesh, "ann", path) == 200
    return any(mesh.stats("web", pattern).values())


def test_a_refusal_says_so(mesh: LiveMesh) -> None:
    """403 with Istio's words; the server is not reached."""
    with mesh.having(_policy("ALLOW")):
        eventually(lambda: _get(mesh, "ann") == 403, "nobody is let in")
        reply = mesh.call("ann", f"{_URL}/")
        assert reply.body == b"RBAC: access denied"
        assert not reply.seen


def test_no_request_fails_while_a_policy_changes_that_allows_it(mesh: LiveMesh) -> None:
    """Listeners are replaced under load, ten times, and nobody who is allowed notices."""
    rules = [
        f"{{from: [{{source: {{principals: [{_ANN}, '*/sa/x{number}']}}}}]}}"
        for number in range(10)
    ]
    with mesh.having(_policy("ALLOW", rules[0])), mesh.load("ann", f"{_URL}/") as load:
        for rule in rules[1:]:
            mesh.apply("having-0.yaml", _policy("ALLOW", rule))
    assert load.requests > 20
    assert not load.failures


def test_a_kept_connection_takes_one_more_request_under_its_old_policies(mesh: LiveMesh) -> None:
    """Whose answer ends it: a caller who keeps connections has at most one more, on each of them."""
    url = f"http://{pod_ip(11)}:{HTTP_PORT}/"
    client = mesh._client("stranger")
    try:
        assert client.call(url).headers.get("connection") is None
        with mesh.having(_policy("DENY", "{}")):
            late = client.call(url)
            assert (late.status, late.headers.get("connection")) == (200, "close")
            assert client.call(url).status == 403
            assert client.call(url).status == 403
    finally:
        client.close()


def test_a_connection_is_not_kept_beyond_its_policies(mesh: LiveMesh) -> None:
    """Bytes flow on over an open connection when it comes to be denied, until its Envoy retires it."""
    with mesh.connect("ann", (mesh.address("web"), TCP_PORT)) as made:
        made.sendall(b"one\n")
        assert made.recv(100) == b"web: one\n"
        with mesh.having(_policy("DENY", "{}")):
            assert not _tcp(mesh, "ann")
            made.sendall(b"two\n")
            assert made.recv(100) == b"web: two\n"
            assert made.recv(100) == b""  # closed once the time for draining is over

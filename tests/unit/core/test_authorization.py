"""Which policies hold, in which order they are asked, and what is left of them on TCP."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mizzen.compile import Compiler
from mizzen.ir import (
    AllOf,
    AnyOf,
    Anything,
    Authorization,
    DestinationPort,
    FilterMetadata,
    Not,
    Predicate,
    RequestHeader,
    RequestPath,
    RuleSet,
    SourceAddress,
    Text,
    TextKind,
)
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import Labels
from mizzen.model.providers import Authorizer, HttpCheck
from mizzen.model.proxy import Workload
from mizzen.model.security import PolicyAction
from mizzen.model.world import Batch
from mizzen.resolve.authorization import authorization_for, rules_of
from mizzen.resolve.predicates import namespace, trust_domain
from mizzen.wire import TypeUrl
from tests.support.small_mesh import (
    SmallMesh,
    host,
    istio,
    key,
    read,
    router,
    service,
    sidecar,
    workload,
)

CART = workload("cart")


def policy(name: str, spec: str, **meta: object) -> str:
    return istio("AuthorizationPolicy", name, spec, **meta)  # type: ignore[arg-type]


def held(*policies: str, of: Workload = CART) -> Authorization:
    return authorization_for(SmallMesh(*policies).db, of)


def get(text: str) -> Predicate:
    return RequestHeader(":method", Text(TextKind.EXACT, text))


def names(sets: tuple[RuleSet, ...]) -> list[tuple[str, list[str]]]:
    return [(s.action.value, [rule.name for rule in s.rules]) for s in sets]


def test_without_policies_everything_is_allowed() -> None:
    """No rule sets at all."""
    assert held() == Authorization()


def test_deny_is_asked_before_allow() -> None:
    """One set for each action, the rules of all its policies in it."""
    found = held(
        policy("b", "rules: [{}, {from: [{source: {namespaces: [x]}}]}]"),
        policy("a", "action: ALLOW\nrules: [{}]"),
        policy("refuse", "action: DENY\nrules: [{from: [{source: {namespaces: [y]}}]}]"),
    )
    expected = [
        ("DENY", ["ns[shop]-policy[refuse]-rule[0]"]),
        (
            "ALLOW",
            [
                "ns[shop]-policy[a]-rule[0]",
                "ns[shop]-policy[b]-rule[0]",
                "ns[shop]-policy[b]-rule[1]",
            ],
        ),
    ]
    assert names(found.http) == names(found.tcp) == expected
    assert [key.name for key in found.origins] == ["a", "b", "refuse"]


def test_an_allow_policy_without_rules_allows_nothing() -> None:
    """``spec: {}`` is a set that nothing matches."""
    assert names(held(policy("nothing", "{}")).http) == [("ALLOW", [])]


def test_audit_is_asked_first_and_dry_runs_beside_the_others() -> None:
    """A set for each action and for each action's dry runs; on TCP the same."""
    dry = istio("AuthorizationPolicy", "dry", "action: DENY\nrules: [{}]").replace(
        "  namespace:", "  annotations: {istio.io/dry-run: 'true'}\n  namespace:", 1
    )
    found = held(
        policy("allow", "rules: [{}]"),
        policy("deny", "action: DENY\nrules: [{}]"),
        policy("audit", "action: AUDIT\nrules: [{}]"),
        dry,
    )
    expected = [("AUDIT", False), ("DENY", False), ("DENY", True), ("ALLOW", False)]
    assert [(each.action.value, each.dry_run) for each in found.http] == expected
    assert [(each.action.value, each.dry_run) for each in found.tcp] == expected


def test_what_custom_matches_is_denied_where_nobody_is_known() -> None:
    """The mesh has no such provider; what it does not match is none of its business."""
    rule = "rules: [{to: [{operation: {methods: [GET]}}]}]"
    found = held(
        policy("ask", f"action: CUSTOM\nprovider: {{name: x}}\n{rule}"),
        policy("deny", "action: DENY\nrules: [{}]"),
    )
    assert names(found.http) == [
        ("DENY", ["ns[shop]-policy[ask]-rule[0]", "ns[shop]-policy[deny]-rule[0]"])
    ]
    assert found.http[0].rules[0].operation == get("GET")


JUDGE = service("judge", "http:80", "grpc:9000", "tcp:7000")
HTTP = Authorizer(name="a", host=host("judge"), port=80, http=HttpCheck())
GRPC = Authorizer(name="b", host=host("judge"), port=9000, namespace="shop")


def custom(name: str, provider: str, rule: str = "{}") -> str:
    return policy(name, f"action: CUSTOM\nprovider: {{name: {provider}}}\nrules: [{rule}]")


def asking(*texts: str, of: Workload = CART, gateway: bool = False) -> Authorization:
    known = MeshSettings(authorizers=(HTTP, GRPC))
    return authorization_for(SmallMesh(*texts, settings=known).db, of, gateway=gateway)


def test_those_who_decide_are_asked_of_their_own_rules() -> None:
    """In the order of their names; on TCP those that are asked over gRPC, without what TCP does not have."""
    get_only = "{to: [{operation: {methods: [GET]}}]}"
    found = asking(JUDGE, custom("x", "b", get_only), custom("y", "a"), custom("z", "b"))
    cluster = f"outbound|{{}}||{host('judge')}"
    assert [(q.authorizer, q.cluster) for q in found.asked_http] == [
        (HTTP, cluster.format(80)),
        (GRPC, cluster.format(9000)),
    ]
    assert [[rule.name for rule in q.rules] for q in found.asked_http] == [
        ["ns[shop]-policy[y]-rule[0]"],
        ["ns[shop]-policy[x]-rule[0]", "ns[shop]-policy[z]-rule[0]"],
    ]
    (on_tcp,) = found.asked_tcp
    assert (on_tcp.authorizer, on_tcp.rules[0].operation) == (GRPC, Anything())
    assert (found.http, found.tcp) == ((), ())
    assert found.clusters == {cluster.format(80), cluster.format(9000)}
    assert [key.name for key in found.origins] == ["x", "y", "z"]


def test_a_listener_waits_for_those_who_decide() -> None:
    """Make before break: their clusters are there before anything asks them; also at a gateway."""
    gate = "selector: {app: gate}\nservers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}]"
    compiler = Compiler(MeshSettings(authorizers=(HTTP, GRPC)))
    compiler.commit(
        Batch(
            changes=dict(
                read(
                    JUDGE,
                    custom("x", "b"),
                    istio("Gateway", "gate", gate),
                    service("cart"),
                )
            )
        )
    )
    for node, name in (
        (sidecar(of=CART.labels), "virtualInbound"),
        (router(namespace="shop"), "0.0.0.0_80"),
    ):
        entry = compiler.bundle(compiler.classify(node)).get(TypeUrl.LISTENER, name)
        assert entry is not None
        assert f"outbound|9000||{host('judge')}" in entry.requires


def test_who_is_nowhere_cannot_be_asked() -> None:
    """Without the service or its port, and where a Sidecar does not see it, what matches is denied."""
    everything = custom("x", "b")
    hidden = istio("Sidecar", "default", "egress: [{hosts: ['bank/*']}]")
    for texts in ((), (service("judge", "http:80"),), (JUDGE, hidden)):
        found = asking(*texts, everything)
        assert names(found.http) == [("DENY", ["ns[shop]-policy[x]-rule[0]"])]
        assert found.asked_http == found.asked_tcp == ()
    gate = workload("gate", namespace="shop")
    assert asking(JUDGE, hidden, everything, of=gate, gateway=True).asked_http


def test_who_decides_is_of_the_namespace_that_is_written() -> None:
    """Where the provider names one."""
    elsewhere = replace(GRPC, namespace="bank")
    mesh = SmallMesh(JUDGE, custom("x", "b"), settings=MeshSettings(authorizers=(elsewhere,)))
    assert not authorization_for(mesh.db, CART).asked_http


def test_trust_domains_are_of_the_source() -> None:
    """Beside other fields of a source, and as a condition."""
    source = "{trustDomains: [a.example], notTrustDomains: [b.example]}"
    condition = "{key: source.trustDomain, values: [c.example]}"
    (rules,) = held(
        policy("p", f"rules: [{{from: [{{source: {source}}}], when: [{condition}]}}]")
    ).http
    assert rules.rules[0].source == AllOf(
        (
            AllOf((trust_domain("a.example"), Not(trust_domain("b.example")))),
            trust_domain("c.example"),
        )
    )


def test_the_metadata_of_filters_is_of_the_operation() -> None:
    """On TCP too: filters of databases leave it there."""
    condition = "{key: 'experimental.envoy.filters.network.mysql_proxy[a]', values: ['[b]']}"
    found = held(policy("p", f"rules: [{{when: [{condition}]}}]"))
    asked = FilterMetadata(
        "envoy.filters.network.mysql_proxy", "a", Text(TextKind.EXACT, "b"), listed=True
    )
    assert [one.rules[0].operation for one in (*found.http, *found.tcp)] == [asked, asked]


SELECTED = "selector: {matchLabels: {app: cart}}\nrules: [{}]"


@pytest.mark.parametrize(
    ("written", "holds"),
    [
        (policy("p", "rules: [{}]"), True),
        (policy("p", SELECTED), True),
        (policy("p", SELECTED.replace("cart", "web")), False),
        (policy("p", "rules: [{}]", namespace="bank"), False),
        (policy("p", "rules: [{}]", namespace="istio-system"), True),
        (policy("p", SELECTED, namespace="istio-system"), True),
        (policy("p", SELECTED.replace("cart", "web"), namespace="istio-system"), False),
    ],
)
def test_a_policy_holds_for_whom_it_selects(written: str, *, holds: bool) -> None:
    """In its namespace, or in the whole mesh where it stands in the root namespace."""
    assert bool(held(written).http) is holds


def test_the_mesh_comes_before_the_namespace() -> None:
    """The order is that of names within each."""
    found = held(
        policy("z", "rules: [{}]", namespace="istio-system"),
        policy("a", "rules: [{}]"),
    )
    assert [key.namespace for key in found.origins] == ["istio-system", "shop"]
    inside = held(
        policy("a", "rules: [{}]", namespace="istio-system"),
        of=Workload(namespace="istio-system", labels=Labels(())),
    )
    assert len(inside.origins) == 1


def test_a_rule_is_any_source_any_operation_and_all_conditions() -> None:
    """Values of one field are alternatives, fields are not; ``not`` fields exclude."""
    found = held(
        policy(
            "p",
            """
            rules:
            - from:
              - source: {namespaces: [a, b], notIpBlocks: [10.0.0.0/8]}
              - source: {ipBlocks: [10.1.0.1]}
              to:
              - operation: {methods: [GET], ports: ["80"]}
              - operation: {notMethods: [PUT]}
              when:
              - {key: destination.port, values: ["81"]}
              - {key: source.ip, notValues: [10.2.0.0/16]}
            """,
        )
    )
    (rule,) = found.http[0].rules
    assert rule.operation == AllOf(
        (
            AnyOf((AllOf((DestinationPort(80), get("GET"))), Not(get("PUT")))),
            DestinationPort(81),
        )
    )
    assert rule.source == AllOf(
        (
            AnyOf(
                (
                    AllOf(
                        (
                            AnyOf((namespace("a"), namespace("b"))),
                            Not(SourceAddress("10.0.0.0/8")),
                        )
                    ),
                    SourceAddress("10.1.0.1"),
                )
            ),
            Not(SourceAddress("10.2.0.0/16")),
        )
    )


def test_an_empty_rule_is_for_everything() -> None:
    """Nothing asked, nothing refused."""
    (rule,) = held(policy("p", "rules: [{}]")).http[0].rules
    assert (rule.operation, rule.source) == (Anything(), Anything())


def test_what_is_said_twice_counts_once() -> None:
    """Equal values make one term."""
    (rule,) = held(policy("p", "rules: [{to: [{operation: {ports: ['80', '80']}}]}]")).http[0].rules
    assert rule.operation == DestinationPort(80)


PORT = DestinationPort(80)


@pytest.mark.parametrize(
    ("rule", "operation", "source"),
    [
        # Only what TCP knows: kept as it is.
        ("to: [{operation: {ports: ['80']}}]", PORT, Anything()),
        # A property of requests beside one of connections: it is dropped, the rest stays.
        ("to: [{operation: {ports: ['80'], methods: [GET]}}]", PORT, Anything()),
        ("to: [{operation: {ports: ['80'], notPaths: [/a]}}]", PORT, Anything()),
        ("to: [{operation: {notPorts: ['80'], hosts: [a]}}]", Not(PORT), Anything()),
        # Nothing but properties of requests: everything is refused.
        ("to: [{operation: {paths: [/a]}}]", Anything(), Anything()),
        # An alternative that cannot be told makes the whole choice true.
        (
            "to: [{operation: {ports: ['80']}}, {operation: {methods: [GET]}}]",
            Anything(),
            Anything(),
        ),
        (
            "from: [{source: {requestPrincipals: ['*'], ipBlocks: [10.0.0.1]}}]",
            Anything(),
            SourceAddress("10.0.0.1"),
        ),
        (
            "to: [{operation: {ports: ['80']}}]\n  when: [{key: 'request.headers[a]', values: [b]}]",
            PORT,
            Anything(),
        ),
    ],
)
def test_deny_is_wider_on_tcp(rule: str, operation: Predicate, source: Predicate) -> None:
    """What cannot be told is taken to be true: more are refused, never fewer."""
    written = policy("p", f"action: DENY\nrules:\n- {rule}")
    (found,) = held(written).tcp[0].rules
    assert (found.operation, found.source) == (operation, source)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("to: [{operation: {ports: ['80']}}]", True),
        ("from: [{source: {namespaces: [a]}}]", True),
        ("to: [{operation: {ports: ['80'], methods: [GET]}}]", False),
        ("from: [{source: {notRequestPrincipals: ['*']}}]", False),
        ("when: [{key: 'request.headers[a]', values: [b]}]", False),
    ],
)
def test_allow_is_narrower_on_tcp(rule: str, *, kept: bool) -> None:
    """A rule that asks for a property of requests lets nobody in; the set itself stays."""
    found = held(policy("p", f"rules:\n- {rule}"))
    assert len(found.http[0].rules) == 1
    assert [s.action for s in found.tcp] == [PolicyAction.ALLOW]
    assert bool(found.tcp[0].rules) is kept


def test_paths_on_http_stay() -> None:
    """HTTP sees every property."""
    (rule,) = held(policy("p", "rules: [{to: [{operation: {paths: [/a]}}]}]")).http[0].rules
    assert rule.operation == RequestPath(Text(TextKind.EXACT, "/a"))


def test_what_holds_alike_is_asked_once_for_all() -> None:
    """Workloads for which the same policies hold share the very value; a policy that changes, the others' rules."""
    mesh = SmallMesh(
        policy("all", "rules: [{to: [{operation: {methods: [GET]}}]}]"),
        policy("cart", "selector: {matchLabels: {app: cart}}\nrules: [{}]"),
    )
    web, api = workload("web"), workload("api")
    assert authorization_for(mesh.db, web) is authorization_for(mesh.db, api)
    assert authorization_for(mesh.db, web) is not authorization_for(mesh.db, CART)
    before = rules_of(mesh.db, key("AuthorizationPolicy", "all"))
    mesh.apply(policy("other", "rules: [{}]"))
    assert rules_of(mesh.db, key("AuthorizationPolicy", "all")) is before
    mesh.delete("AuthorizationPolicy", "other")
    assert names(authorization_for(mesh.db, web).http) == [
        ("ALLOW", ["ns[shop]-policy[all]-rule[0]"])
    ]
    mesh.delete("AuthorizationPolicy", "all")
    assert rules_of(mesh.db, key("AuthorizationPolicy", "all")) == ()

"""Rules that never come to anything, and policies that others undo: each finding with its cause."""

from __future__ import annotations

import pytest

from mizzen.analyze import analysis
from mizzen.checks.cover import covers, covers_connections, takes_all
from mizzen.model.meta import labels
from mizzen.model.routing import ConnectionMatch, HttpMatch, MatchKind, StringMatch
from mizzen.names import ObjectKey
from tests.support.small_mesh import SmallMesh, istio, key, pod, service

_EXACT, _PREFIX, _REGEX = MatchKind.EXACT, MatchKind.PREFIX, MatchKind.REGEX
_THERE = StringMatch(MatchKind.PRESENT)


def _is(kind: MatchKind, value: str = "") -> StringMatch:
    return StringMatch(kind, value)


def _path(kind: MatchKind, value: str, *, ignore: bool = False) -> HttpMatch:
    return HttpMatch(uri=_is(kind, value), ignore_uri_case=ignore)


@pytest.mark.parametrize(
    ("wide", "one", "expected"),
    [
        (HttpMatch(), _path(_EXACT, "/a"), True),
        (_path(_EXACT, "/a"), HttpMatch(), False),
        (_path(_PREFIX, "/"), HttpMatch(), True),
        (_path(_PREFIX, ""), HttpMatch(), True),
        (_path(_PREFIX, "/a"), _path(_PREFIX, "/ab"), True),
        (_path(_PREFIX, "/a"), _path(_EXACT, "/a/b"), True),
        (_path(_PREFIX, "/ab"), _path(_PREFIX, "/a"), False),
        (_path(_EXACT, "/a"), _path(_PREFIX, "/a"), False),
        (_path(_REGEX, "/a.*"), _path(_REGEX, "/a.*"), True),
        (_path(_REGEX, "/a.*"), _path(_EXACT, "/ab"), False),
        (_path(_PREFIX, "/A", ignore=True), _path(_PREFIX, "/ab"), True),
        (_path(_PREFIX, "/a"), _path(_PREFIX, "/ab", ignore=True), False),
        (HttpMatch(method=_is(_EXACT, "GET")), HttpMatch(), False),
        (HttpMatch(), HttpMatch(method=_is(_EXACT, "GET")), True),
        (HttpMatch(headers=(("a", _THERE),)), HttpMatch(headers=(("a", _is(_REGEX, "b")),)), True),
        (HttpMatch(headers=(("a", _THERE),)), HttpMatch(headers=(("b", _THERE),)), False),
        (
            HttpMatch(headers=(("a", _is(_PREFIX, "b")),)),
            HttpMatch(headers=(("a", _THERE),)),
            False,
        ),
        (
            HttpMatch(without_headers=(("a", _is(_EXACT, "b")),)),
            HttpMatch(without_headers=(("a", _THERE),)),
            True,
        ),
        (
            HttpMatch(without_headers=(("a", _THERE),)),
            HttpMatch(without_headers=(("a", _is(_EXACT, "b")),)),
            False,
        ),
        (HttpMatch(without_headers=(("a", _THERE),)), HttpMatch(), False),
        (HttpMatch(port=80), HttpMatch(port=80), True),
        (HttpMatch(port=80), HttpMatch(), False),
        (HttpMatch(gateways=("a", "b")), HttpMatch(gateways=("a",)), True),
        (HttpMatch(gateways=("a",)), HttpMatch(), False),
        (
            HttpMatch(source_labels=labels({"a": "b"})),
            HttpMatch(source_labels=labels({"a": "b", "c": "d"})),
            True,
        ),
        (HttpMatch(source_labels=labels({"a": "b"})), HttpMatch(), False),
        (HttpMatch(source_namespace="a"), HttpMatch(source_namespace="b"), False),
        (
            HttpMatch(claims=((("a",), _THERE),)),
            HttpMatch(claims=((("a",), _is(_EXACT, "b")),)),
            True,
        ),
        (HttpMatch(query_params=(("a", _THERE),)), HttpMatch(), False),
    ],
)
def test_an_alternative_may_take_all_of_another(
    wide: HttpMatch, one: HttpMatch, *, expected: bool
) -> None:
    """Where it asks for no more; of expressions only the same one is known to."""
    assert covers(wide, one) is expected


@pytest.mark.parametrize(
    ("wide", "one", "expected"),
    [
        (ConnectionMatch(), ConnectionMatch(port=80), True),
        (ConnectionMatch(destination_subnets=("10.0.0.0/8",)), ConnectionMatch(), False),
        (
            ConnectionMatch(destination_subnets=("10.0.0.0/8", "11.0.0.0/8")),
            ConnectionMatch(destination_subnets=("10.0.0.0/8",)),
            True,
        ),
        (ConnectionMatch(sni_hosts=("a", "b")), ConnectionMatch(sni_hosts=("a",)), True),
        (ConnectionMatch(sni_hosts=("a",)), ConnectionMatch(sni_hosts=("b",)), False),
        (ConnectionMatch(sni_hosts=("a",)), ConnectionMatch(), False),
    ],
)
def test_the_same_of_connections(
    wide: ConnectionMatch, one: ConnectionMatch, *, expected: bool
) -> None:
    """By subnets and server names that are among the wider one's."""
    assert covers_connections(wide, one) is expected


def test_only_what_asks_for_nothing_takes_all() -> None:
    """Neither of the request nor of who sends it."""
    assert takes_all(HttpMatch())
    assert takes_all(_path(_PREFIX, "/"))
    assert not takes_all(HttpMatch(port=80))
    assert not takes_all(_path(_PREFIX, "/a"))


_TO = "route: [{destination: {host: cart, port: {number: 80}}}]"
_CART = service("cart", "http:80")
_WEB = pod("10.0.0.9", "web")


def _routes(name: str, *rules: str, more: str = "", age: int = 0, namespace: str = "shop") -> str:
    http = "\n".join(f"- {{{rule + ', ' if rule else ''}{_TO}}}" for rule in rules)
    spec = f"hosts: [cart.shop.svc.cluster.local]\n{more}\nhttp:\n{http}".replace(
        "host: cart,", "host: cart.shop.svc.cluster.local,"
    )
    return istio("VirtualService", name, spec, age=age, namespace=namespace)


def _told(mesh: SmallMesh, of: ObjectKey) -> list[tuple[str, str, str]]:
    return [(one.code.id, one.path, one.message) for one in analysis(mesh.db).get(of, ())]


V = key("VirtualService", "v")


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (("match: [{uri: {prefix: /a}}]", "match: [{uri: {exact: /a/b}}]"), ["spec.http[1]"]),
        (("match: [{uri: {prefix: /a}}]", "match: [{uri: {exact: /b}}]"), []),
        (
            ("match: [{uri: {prefix: /a}}]", "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]"),
            ["spec.http[1].match[0]"],
        ),
        (
            (
                "match: [{uri: {prefix: /a}}]",
                "match: [{uri: {prefix: /b}}]",
                "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]",
            ),
            ["spec.http[2]"],
        ),
        (("match: [{headers: {x: {}}}]", "match: [{headers: {x: {exact: a}}}]"), ["spec.http[1]"]),
        (("match: [{headers: {x: {exact: a}}}]", "match: [{headers: {x: {}}}]"), []),
    ],
)
def test_a_rule_is_never_reached_behind_wider_ones(rules: tuple[str, ...], told: list[str]) -> None:
    """The whole of it, or the alternatives that are taken before."""
    mesh = SmallMesh(_CART, _routes("v", *rules))
    found = _told(mesh, V)
    assert [path for _, path, _ in found] == told
    assert all(code == "MZ0402" and "before it" in message for code, _, message in found)


DOOR = istio(
    "Gateway",
    "door",
    """
    selector: {app: gate}
    servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
    """,
)
GATE = pod("10.0.9.1", "gate", mtls=False)


def test_on_a_gateway_rules_for_everything_go_to_the_end() -> None:
    """So what follows them is reached, but for another one of their kind."""
    rules = ("", "match: [{uri: {prefix: /a}}]", "")
    mesh = SmallMesh(_CART, GATE, DOOR, _routes("v", *rules, more="gateways: [door]"))
    assert [(code, path) for code, path, _ in _told(mesh, V)] == [("MZ0402", "spec.http[2]")]
    mesh.apply(_routes("v", *rules, more="gateways: [door, mesh]"))
    assert [path for _, path, _ in _told(mesh, V)] == ["spec.http[1]", "spec.http[2]"]


@pytest.mark.parametrize(
    ("match", "field", "words"),
    [
        ("gateways: [mesh]", "gateways", "none of mesh is among the gateways, door"),
        ("port: 81", "port", "nothing comes on port 81; there are 80"),
    ],
)
def test_an_alternative_may_be_for_no_gateway_and_no_port(
    match: str, field: str, words: str
) -> None:
    """Of those that the VirtualService is for."""
    rules = _routes("v", f"match: [{{{match}}}]", more="gateways: [door]")
    mesh = SmallMesh(_CART, GATE, DOOR, rules)
    assert _told(mesh, V) == [("MZ0314", f"spec.http[0].match[0].{field}", words)]


@pytest.mark.parametrize(
    ("match", "more", "field", "words"),
    [
        ("sourceLabels: {app: wbe}", "", "sourceLabels", "no workload has app=wbe"),
        (
            "sourceLabels: {app: web}, sourceNamespace: bank",
            "",
            "sourceLabels",
            "no workload of bank has app=web",
        ),
        ("sourceNamespace: bank", "exportTo: ['.']", "sourceNamespace", "not exported to bank"),
        ("sourceLabels: {app: web}", "", "", ""),
        ("sourceNamespace: bank", "", "", ""),
    ],
)
def test_an_alternative_may_be_for_no_client(match: str, more: str, field: str, words: str) -> None:
    """That is there, or that sees the rules."""
    mesh = SmallMesh(_CART, _WEB, _routes("v", f"match: [{{{match}}}]", more=more))
    found = _told(mesh, V)
    assert [(code, path) for code, path, _ in found] == (
        [("MZ0314", f"spec.http[0].match[0].{field}")] if field else []
    )
    assert all(words in message for _, _, message in found)


def test_rules_for_connections_are_looked_at_too() -> None:
    """Here for a port that the service does not have."""
    spec = """
        hosts: [cart]
        tcp: [{match: [{port: 9001}], route: [{destination: {host: cart}}]}]
    """
    mesh = SmallMesh(service("cart", "tcp-x:9000"), istio("VirtualService", "v", spec))
    assert [(code, path) for code, path, _ in _told(mesh, V)] == [
        ("MZ0314", "spec.tcp[0].match[0].port")
    ]


def test_a_delegate_holds_where_its_roots_do() -> None:
    """So nothing is said of its alternatives."""
    root = _routes("v", "").replace(
        _TO.replace("host: cart,", "host: cart.shop.svc.cluster.local,"), "delegate: {name: d}"
    )
    child = istio("VirtualService", "d", f"http: [{{match: [{{port: 99}}], {_TO}}}]")
    mesh = SmallMesh(_CART, root, child)
    assert _told(mesh, key("VirtualService", "d")) == []


_BOUND = "gateways: [shop/door]"


@pytest.mark.parametrize(
    ("old", "young", "lost"),
    [
        ("match: [{uri: {prefix: /a}}]", "match: [{uri: {prefix: /a/b}}]", True),
        ("", "", True),
        ("", "match: [{uri: {prefix: /a}}]", False),
        ("match: [{uri: {prefix: /a}}]", "", False),
        ("match: [{uri: {prefix: /a}}]", "match: [{uri: {prefix: /b}}]", False),
    ],
)
def test_on_a_gateway_the_older_ones_rules_come_first(old: str, young: str, *, lost: bool) -> None:
    """Both are told of, and each names the other; rules for everything take from their like alone."""
    mesh = SmallMesh(
        _CART,
        GATE,
        DOOR,
        _routes("old", old, more=_BOUND),
        _routes("young", young, more=_BOUND, age=1),
    )
    first, second = (_told(mesh, key("VirtualService", name)) for name in ("old", "young"))
    assert [(code, path) for code, path, _ in first] == [("MZ0411", "spec.http[0]")] * lost
    assert [(code, path) for code, path, _ in second] == [("MZ0411", "spec.http[0]")] * lost
    assert all("VirtualService shop/young" in message for _, _, message in first)
    assert all("goes first by age" in message for _, _, message in second)


def test_those_that_nobody_sees_together_do_not_contend() -> None:
    """Each for its own namespace."""
    mesh = SmallMesh(
        _CART,
        GATE,
        DOOR,
        _routes("old", "", more=f"{_BOUND}\nexportTo: ['.']"),
        _routes("young", "", more=f"{_BOUND}\nexportTo: ['.']", age=1, namespace="bank"),
    )
    assert _told(mesh, key("VirtualService", "old")) == []
    mesh.apply(_routes("young", "", more=f"{_BOUND}\nexportTo: [shop]", age=1, namespace="bank"))
    assert [code for code, _, _ in _told(mesh, key("VirtualService", "old"))] == ["MZ0411"]


def _policy(name: str, spec: str, *, namespace: str = "shop") -> str:
    return istio("AuthorizationPolicy", name, spec, namespace=namespace)


_SOME = "rules: [{to: [{operation: {methods: [GET]}}]}]"
_P, _Q = key("AuthorizationPolicy", "p"), key("AuthorizationPolicy", "q")


@pytest.mark.parametrize(
    ("wide", "other", "undone"),
    [
        ("rules: [{}]", _SOME, True),
        ("rules: [{}]", "action: ALLOW", True),
        ("rules: [{}]", f"{{selector: {{matchLabels: {{app: cart}}}}, {_SOME}}}", True),
        ("{selector: {matchLabels: {app: cart}}, rules: [{}]}", _SOME, False),
        ("rules: [{}]", f"{{action: DENY, {_SOME}}}", False),
        ("{action: DENY, rules: [{}]}", _SOME, False),
        (_SOME, _SOME.replace("GET", "PUT"), False),
    ],
)
def test_a_policy_that_allows_everything_undoes_others(
    wide: str, other: str, *, undone: bool
) -> None:
    """Those that allow less to the same workloads; both are told of."""
    mesh = SmallMesh(pod("10.0.0.1", "cart"), _policy("p", wide), _policy("q", other))
    first, second = _told(mesh, _P), _told(mesh, _Q)
    assert [(code, path) for code, path, _ in first] == [("MZ0412", "spec.rules")] * undone
    assert [(code, path) for code, path, _ in second] == [("MZ0412", "spec")] * undone
    assert all("AuthorizationPolicy shop/q" in message for _, _, message in first)


def test_the_meshs_policy_undoes_those_of_namespaces() -> None:
    """Of many only a few are named on it."""
    root = _policy("p", "rules: [{}]", namespace="istio-system")
    mesh = SmallMesh(pod("10.0.0.1", "cart"), root, _policy("q", _SOME))
    assert [code for code, _, _ in _told(mesh, _Q)] == ["MZ0412"]
    mesh.apply(_policy("p", "rules: [{}]"), *(_policy(f"o{n}", _SOME) for n in range(7)))
    ((_, _, message),) = _told(mesh, _P)
    assert "and 3 more" in message


_TOKENS = istio(
    "RequestAuthentication",
    "t",
    'jwtRules: [{issuer: a, jwks: \'{"keys": [{"kty": "oct", "k": "YQ"}]}\'}]',
)
_PLAIN = istio("PeerAuthentication", "plain", "mtls: {mode: DISABLE}")


@pytest.mark.parametrize(
    ("rule", "proof", "gone"),
    [
        ("from: [{source: {requestPrincipals: ['*']}}]", _TOKENS, False),
        ("when: [{key: 'request.auth.claims[a]', values: [b]}]", _TOKENS, False),
        ("from: [{source: {principals: ['*']}}]", _PLAIN, True),
        ("when: [{key: source.namespace, values: [shop]}]", _PLAIN, True),
    ],
)
def test_a_rule_may_ask_for_what_nobody_proves(rule: str, proof: str, *, gone: bool) -> None:
    """Tokens where none are verified, and identities where there is no mutual TLS."""
    policy = _policy("p", f"rules: [{{{rule}}}]")
    mesh = SmallMesh(pod("10.0.0.1", "cart"), policy, *([proof] if gone else []))
    assert [(code, path) for code, path, _ in _told(mesh, _P)] == [("MZ0315", "spec.rules[0]")]
    if gone:
        mesh.delete("PeerAuthentication", "plain")
    else:
        mesh.apply(proof)
    assert _told(mesh, _P) == []


def test_a_rule_that_refuses_tokens_needs_none() -> None:
    """What is not so holds for those without any."""
    rule = "from: [{source: {notRequestPrincipals: ['*']}}]"
    mesh = SmallMesh(
        pod("10.0.0.1", "cart"), _policy("p", f"{{action: DENY, rules: [{{{rule}}}]}}")
    )
    assert _told(mesh, _P) == []

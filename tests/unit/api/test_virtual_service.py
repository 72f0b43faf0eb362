"""A VirtualService is read as Istio reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from mizzen.model.meta import Labels
from mizzen.model.routing import (
    Abort,
    ConnectionMatch,
    ConnectionRule,
    Cors,
    Delay,
    Delegate,
    Destination,
    DirectResponse,
    Fault,
    HeaderOperations,
    Headers,
    HttpMatch,
    MatchKind,
    Mirror,
    Redirect,
    Retries,
    Rewrite,
    RouteDestination,
    StringMatch,
    VirtualService,
)
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


def _reviews() -> VirtualService:
    found = value(read_manifest("virtual_service.yaml")["VirtualService reviews"])
    assert isinstance(found, VirtualService)
    return found


def test_its_scope_is_hosts_gateways_and_namespaces() -> None:
    """Hosts in lower case; of annotations only those of a mesh."""
    found = _reviews()
    assert found.hosts == ("reviews", "reviews.example.com")
    assert found.gateways == ("mesh", "edge/public")
    assert found.export_to == (".", "shop-test")
    assert found.meta.labels == Labels((("team", "books"),))
    assert found.meta.annotations == Labels((("sidecar.istio.io/note", "kept"),))
    assert found.meta.created_s == 1_769_860_800.0


def test_a_match_has_all_its_conditions() -> None:
    """Header names in lower case; an empty match and the expression * ask for presence."""
    (match,) = _reviews().http[0].match
    assert match == HttpMatch(
        name="by-header",
        uri=StringMatch(MatchKind.PREFIX, "/reviews"),
        ignore_uri_case=True,
        scheme=StringMatch(MatchKind.EXACT, "http"),
        method=StringMatch(MatchKind.REGEX, "GET|HEAD"),
        authority=StringMatch(MatchKind.EXACT, "reviews.example.com"),
        headers=(
            ("end-user", StringMatch(MatchKind.EXACT, "jason")),
            ("x-debug", StringMatch(MatchKind.PRESENT)),
        ),
        without_headers=(("x-robot", StringMatch(MatchKind.PRESENT)),),
        query_params=(
            ("full", StringMatch(MatchKind.PRESENT)),
            ("page", StringMatch(MatchKind.REGEX, "[0-9]+")),
        ),
        port=9080,
        gateways=("mesh",),
        source_labels=Labels((("app", "productpage"),)),
        source_namespace="shop",
        stat_prefix="canary",
    )


def test_a_route_has_shares_rewrites_retries_and_headers() -> None:
    """Durations are durations."""
    route = _reviews().http[0]
    assert route.name == "canary"
    assert route.route == (
        RouteDestination(
            destination=Destination(host="reviews", subset="v2", port=9080),
            weight=10,
            headers=Headers(
                request=HeaderOperations(
                    set=(("x-canary", "yes"),), add=(("x-seen", "canary"),), remove=("x-old",)
                ),
                response=HeaderOperations(set=(("x-from", "v2"),)),
            ),
        ),
        RouteDestination(destination=Destination(host="reviews", subset="v1"), weight=90),
    )
    assert route.rewrite == Rewrite(uri="/v2", authority="reviews-v2.example.com")
    assert route.timeout == timedelta(seconds=1.5)
    assert route.retries == Retries(
        attempts=3,
        per_try_timeout=timedelta(milliseconds=250),
        retry_on="connect-failure,503",
        retry_remote_localities=True,
        retry_ignore_previous_hosts=False,
        backoff=timedelta(milliseconds=30),
    )
    assert route.headers == Headers(response=HeaderOperations(remove=("server",)))


def test_a_rule_may_answer_by_itself() -> None:
    """With a redirect, or with a body as text or in base64."""
    _, moved, derived, tea, raw, rewritten = _reviews().http
    assert moved.redirect == Redirect(
        uri="/new", authority="new.example.com", port=8443, scheme="https", code=308
    )
    assert derived.redirect == Redirect(
        authority="new.example.com", derive_port="FROM_REQUEST_PORT"
    )
    assert tea.direct_response == DirectResponse(status=418, body=b"short and stout")
    assert raw.direct_response == DirectResponse(status=200, body=b"hello")
    assert rewritten.rewrite == Rewrite(regex_match="^/a/(.*)$", regex_rewrite=r"/b/\1")


def test_without_gateways_it_is_for_the_mesh() -> None:
    """And without exportTo for everyone."""
    found = value(
        read_spec("VirtualService", "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}")
    )
    assert isinstance(found, VirtualService)
    assert found.gateways == ("mesh",)
    assert found.export_to == ("*",)


def test_a_timeout_of_zero_is_no_timeout() -> None:
    """It is written down, so it is not the default either."""
    found = value(
        read_spec(
            "VirtualService",
            "{hosts: [a], http: [{timeout: 0s, route: [{destination: {host: a}}]}]}",
        )
    )
    assert isinstance(found, VirtualService)
    assert found.http[0].timeout == timedelta(0)


def test_what_is_not_translated_is_told_of_and_never_widens_a_rule() -> None:
    """What Istio only reserves has no effect."""
    parsed = read_manifest("virtual_service_later.yaml")["VirtualService later"]
    assert isinstance(parsed.object, VirtualService)
    assert [code for code, _, _ in told(parsed)] == ["MZ0201"] * len(parsed.diagnostics)
    assert [path.removeprefix("spec.") for _, path, _ in told(parsed)] == [
        "http[0].fault.delay.exponentialDelay",
        "http[0].fault.abort.http2Error",
        "tcp[0].match[0].sourceSubnet",
    ]
    assert [rule.fault for rule in parsed.object.http] == [None]


def _besides() -> VirtualService:
    found = read_manifest("virtual_service.yaml")["VirtualService besides"].object
    assert isinstance(found, VirtualService)
    return found


def test_faults_have_the_share_that_is_written() -> None:
    """In percent with fractions, or in the whole percent of old; without any share nobody meets them."""
    _, _, both, by_grpc, _ = _besides().http
    assert both.fault == Fault(
        delay=Delay(duration=timedelta(seconds=5), percent=0.1),
        abort=Abort(http_status=503, percent=1),
    )
    assert by_grpc.fault == Fault(
        delay=Delay(duration=timedelta(seconds=1), percent=2),
        abort=Abort(grpc_status=14, percent=3),
    )


def test_a_fault_for_nobody_is_told_of() -> None:
    """In Istio too a percentage that is not written is none."""
    fault = "{delay: {fixedDelay: 1s}, abort: {httpStatus: 500}}"
    parsed = read_spec("VirtualService", _rule(f"{_ROUTE}\n  fault: {fault}"))
    assert isinstance(parsed.object, VirtualService)
    assert parsed.object.http[0].fault == Fault(
        delay=Delay(duration=timedelta(seconds=1)), abort=Abort(http_status=500)
    )
    assert [(code, path) for code, path, _ in told(parsed)] == [
        ("MZ0203", "spec.http[0].fault.delay.percentage"),
        ("MZ0203", "spec.http[0].fault.abort.percentage"),
    ]


def test_copies_go_to_mirrors() -> None:
    """All requests are copied where nothing is written, and none where it is zero."""
    _, _, one, two, old = _besides().http
    second, third = (
        Destination(host="reviews", subset="v2"),
        Destination(host="reviews", subset="v3"),
    )
    assert one.mirrors == (Mirror(destination=replace(second, port=9080), percent=5.5),)
    assert two.mirrors == (
        Mirror(destination=second, percent=50, path="mirrors[0].destination"),
        Mirror(destination=third, path="mirrors[1].destination"),
    )
    assert old.mirrors == (Mirror(destination=third, percent=7),)
    none = read_spec(
        "VirtualService",
        _rule(f"{_ROUTE}\n  mirror: {{host: b}}\n  mirrorPercentage: {{value: 0}}"),
    )
    assert isinstance(none.object, VirtualService)
    assert none.object.http[0].mirrors == ()


def test_origins_are_allowed_as_written() -> None:
    """The deprecated list of exact ones counts where there is no other."""
    _, _, full, _, old = _besides().http
    assert full.cors == Cors(
        allow_origins=(
            StringMatch(MatchKind.EXACT, "https://shop.example.com"),
            StringMatch(MatchKind.PREFIX, "https://"),
            StringMatch(MatchKind.REGEX, "https://.*"),
        ),
        allow_methods=("GET",),
        allow_headers=("x-a",),
        expose_headers=("x-b",),
        max_age=timedelta(days=1),
        allow_credentials=True,
        forward_unmatched=False,
    )
    assert old.cors == Cors(allow_origins=(StringMatch(MatchKind.EXACT, "*"),))


def test_conditions_on_claims_stand_among_the_headers() -> None:
    """With dots or in brackets, and with the case of letters that the token has."""
    match = """{headers: {"@request.auth.claims.realm.Group": {exact: admin}, X-A: {}},
                withoutHeaders: {"@Request.Auth.Claims[my.claim][b]": {prefix: c}}}"""
    spec = f"hosts: [a]\ngateways: [door]\nhttp:\n- match: [{match}]\n  {_ROUTE}"
    found = value(read_spec("VirtualService", spec))
    assert isinstance(found, VirtualService)
    (asked,) = found.http[0].match
    assert asked.claims == ((("realm", "Group"), StringMatch(MatchKind.EXACT, "admin")),)
    assert asked.without_claims == ((("my.claim", "b"), StringMatch(MatchKind.PREFIX, "c")),)
    assert asked.headers == (("x-a", StringMatch(MatchKind.PRESENT)),)
    assert asked.without_headers == ()


@pytest.mark.parametrize(
    ("gateways", "name", "wrong"),
    [
        ("[door, mesh]", "@request.auth.claims.a", False),
        ("[mesh]", "@request.auth.claims.a", True),
        ("[door]", "@request.auth.claims", True),
        ("[door]", "@request.auth.claims.", True),
        ("[door]", "@request.auth.claims[a", True),
        ("[door]", "@request.auth.claims[a].b", True),
        ("[door]", "@request.auth.principal", True),
    ],
)  # fmt: skip
def test_claims_are_known_on_gateways_alone(gateways: str, name: str, wrong: bool) -> None:
    """And have a name."""
    match = f"{{headers: {{'{name}': {{exact: a}}}}}}"
    spec = f"hosts: [a]\ngateways: {gateways}\nhttp:\n- match: [{match}]\n  {_ROUTE}"
    found = errors(read_spec("VirtualService", spec))
    path = f"spec.http[0].match[0].headers[{name}]"
    assert [(code, path) for code, path, _ in found] == ([("MZ0103", path)] if wrong else [])


def test_rules_for_connections_are_read() -> None:
    """Server names in lower case, and blocks without bits behind their prefix."""
    spec = """
        hosts: ["*.example.com"]
        tls:
        - match:
          - {sniHosts: [A.example.com], destinationSubnets: [10.1.2.3/8, 10.1.2.3, "fd00::1"], port: 443,
             sourceLabels: {app: web}, gateways: [mesh, door], sourceNamespace: shop}
          route: [{destination: {host: a, port: {number: 8443}}, weight: 3}, {destination: {host: b}}]
        tcp: [{route: [{destination: {host: c, subset: v1}}]}]
    """
    found = value(read_spec("VirtualService", spec))
    assert isinstance(found, VirtualService)
    far = RouteDestination(destination=Destination(host="a", port=8443), weight=3)
    assert found.tls == (
        ConnectionRule(
            match=(
                ConnectionMatch(
                    sni_hosts=("a.example.com",),
                    destination_subnets=("10.0.0.0/8", "10.1.2.3/32", "fd00::1/128"),
                    port=443,
                    gateways=("mesh", "door"),
                    source_labels=Labels((("app", "web"),)),
                    source_namespace="shop",
                ),
            ),
            route=(far, RouteDestination(destination=Destination(host="b"))),
        ),
    )
    subset = RouteDestination(destination=Destination(host="c", subset="v1"))
    assert found.tcp == (ConnectionRule(route=(subset,)),)


def test_rules_may_be_anothers() -> None:
    """Of the VirtualService that is named, which has no hosts."""
    delegated, moved, *_ = _besides().http
    assert delegated.delegate == Delegate(name="child", namespace="shop-test")
    assert moved.redirect == Redirect(prefix_rewrite="/new")
    child = read_manifest("virtual_service.yaml")["VirtualService child"]
    assert isinstance(child.object, VirtualService)
    assert child.object.hosts == ()
    assert child.diagnostics == ()


def test_the_authority_may_be_set_as_a_header() -> None:
    """It is the one pseudo-header that may."""
    rule = _rule(f"{_ROUTE}\n  headers: {{request: {{set: {{':authority': b}}}}}}")
    found = value(read_spec("VirtualService", rule))
    assert isinstance(found, VirtualService)
    assert found.http[0].headers.request.set == ((":authority", "b"),)


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("{gateways: [mesh], http: [{route: [{destination: {host: a}}]}]}", "MZ0202", "gateways"),
        ("{http: [{delegate: {name: b}}]}", "MZ0202", "http[0].delegate"),
        ("{tcp: [{route: [{destination: {host: a}}]}]}", "MZ0104", "hosts"),
    ],
)  # fmt: skip
def test_a_delegate_has_http_rules_and_nothing_else(spec: str, code: str, path: str) -> None:
    """Neither gateways nor other rules, and nobody to delegate to once more."""
    parsed = read_spec("VirtualService", spec)
    assert parsed.object is None
    assert (code, f"spec.{path}") in [(code, path) for code, path, _ in told(parsed)]


_ROUTE = "route: [{destination: {host: a}}]"


def _rule(fields: str) -> str:
    return f"hosts: [a]\nhttp:\n- {fields}\n"


@pytest.mark.parametrize(
    ("spec", "code", "path", "line"),
    [
        (
            _rule(f"directResponse: {{status: 200, body: {{string: {'x' * 1_048_577}}}}}"),
            "MZ0103",
            "http[0].directResponse.body",
            7,
        ),
        (
            _rule(f"{_ROUTE}\n  headers: {{request: {{add: {{':path': /a}}}}}}"),
            "MZ0103",
            "http[0].headers.request.add[:path]",
            8,
        ),
        (
            _rule(f"{_ROUTE}\n  headers: {{response: {{remove: ['a b']}}}}"),
            "MZ0103",
            "http[0].headers.response.remove[0]",
            8,
        ),
    ],
)
def test_mistakes_are_errors_at_their_field(spec: str, code: str, path: str, line: int) -> None:
    """With code, path and line, and a word on what to do; nothing comes into force."""
    parsed = read_spec("VirtualService", spec)
    assert parsed.object is None
    assert errors(parsed) == [(code, f"spec.{path}", line)]
    assert all(each.advice for each in parsed.diagnostics)


@pytest.mark.parametrize(
    ("rule", "code", "path"),
    [
        ("mirrors: [{destination: {host: '*'}}]", "MZ0103", "mirrors[0].destination.host"),
    ],
)
def test_what_a_rule_does_besides_is_checked(rule: str, code: str, path: str) -> None:
    """Faults, copies and origins."""
    parsed = read_spec("VirtualService", _rule(f"{_ROUTE}\n  {rule}"))
    assert parsed.object is None
    assert (code, f"spec.http[0].{path}") in [(code, path) for code, path, _ in told(parsed)]


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("tls: [{match: [{sniHosts: []}]}]", "MZ0103", "tls[0].match[0].sniHosts"),
    ],
)
def test_routes_of_connections_are_checked(spec: str, code: str, path: str) -> None:
    """SNI has to be within the hosts, and there has to be a destination."""
    parsed = read_spec("VirtualService", f"hosts: [a, '*-b.a']\n{spec}")
    assert (code, f"spec.{path}") in [(code, path) for code, path, _ in told(parsed)]
    assert parsed.object is None

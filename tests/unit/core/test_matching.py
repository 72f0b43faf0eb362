"""From one rule to routes: what is decided in advance, what is done, how often it is tried again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mizzen.ir import Forward, RequestMatch, RetryPolicy, Route
from mizzen.model.meta import labels
from mizzen.model.proxy import Scope
from mizzen.model.routing import DirectResponse, MatchKind, Redirect, StringMatch, VirtualService
from mizzen.resolve.choice import virtual_service_for
from mizzen.resolve.matching import DEFAULT_RETRY, Place, default_route, routes_of, takes_everything
from tests.support.small_mesh import SHOP, SmallMesh, host, istio, key, service

WEB = labels({"app": "web", "tier": "front"})
MESH = Place(scope=SHOP, port=80, labels=WEB)
DOOR = Place(
    scope=Scope(namespace="ingress", gateway=True), port=80, labels=WEB, gateway="shop/door"
)


def made(http: str, *objects: str, place: Place = MESH) -> tuple[Route, ...]:
    text = "hosts: [cart]\ngateways: [mesh, door]\nhttp:\n" + _shifted(http)
    mesh = SmallMesh(*objects, istio("VirtualService", "v", text))
    item = mesh.world.objects[key("VirtualService", "v")]
    assert isinstance(item, VirtualService)
    assert virtual_service_for(mesh.db, SHOP, host("cart")) == item
    return routes_of(mesh.db, place, item)


def _shifted(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    margin = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[margin:] for line in lines)


def forward(http: str, *objects: str) -> Forward:
    (route,) = made(http, *objects)
    assert isinstance(route.action, Forward)
    return route.action


def test_each_alternative_is_a_route_in_order() -> None:
    """A rule without matches takes everything; what stands behind it is left out."""
    found = made(
        """
        - name: first
          match: [{name: a, uri: {exact: /a}}, {uri: {prefix: /b}, statPrefix: bees}]
          route: [{destination: {host: cart}}]
        - route: [{destination: {host: cart}}]
        - name: never
          route: [{destination: {host: cart}}]
        """
    )
    assert [route.name for route in found] == ["first.a", "first", "default"]
    assert [route.stat_prefix for route in found] == ["", "bees", ""]
    assert found[2].match == RequestMatch()


EVERYTHING = "uri: {prefix: /}"


@pytest.mark.parametrize(
    ("match", "everything"),
    [
        (EVERYTHING, True),
        ("uri: {regex: '*'}", True),
        ("uri: {prefix: /a}", False),
        ("uri: {exact: /}", False),
        (f"{EVERYTHING}, ignoreUriCase: true", True),
        (f"{EVERYTHING}, headers: {{a: {{exact: b}}}}", False),
        (f"{EVERYTHING}, queryParams: {{a: {{exact: b}}}}", False),
        (f"{EVERYTHING}, method: {{exact: GET}}", False),
        (f"{EVERYTHING}, withoutHeaders: {{a: {{exact: b}}}}", False),
        (f"{EVERYTHING}, port: 80", True),
    ],
)
def test_a_prefix_of_every_path_takes_everything(match: str, *, everything: bool) -> None:
    """And ends the list of routes, since nothing behind it could be reached."""
    found = made(
        f"""
        - match: [{{{match}}}]
          route: [{{destination: {{host: cart}}}}]
        - match: [{{uri: {{prefix: /behind}}}}]
          route: [{{destination: {{host: cart}}}}]
        """
    )
    assert takes_everything(found[0].match) is everything
    assert (len(found) == 1) is everything


@pytest.mark.parametrize(
    ("match", "in_mesh", "at_door"),
    [
        ("{port: 80}", True, True),
        ("{port: 81}", False, False),
        ("{sourceLabels: {app: web}}", True, True),
        ("{sourceLabels: {app: web, tier: back}}", False, False),
        ("{sourceNamespace: shop}", True, False),
        ("{sourceNamespace: ingress}", False, True),
        ("{gateways: [mesh]}", True, False),
        ("{gateways: [door]}", False, True),
        ("{gateways: [shop/door, mesh]}", True, True),
        ("{gateways: [bank/door]}", False, False),
        ("{gateways: [door], sourceLabels: {app: x}, sourceNamespace: x}", False, True),
    ],
)
def test_what_is_known_in_advance_never_reaches_a_proxy(
    match: str, *, in_mesh: bool, at_door: bool
) -> None:
    """Port, gateway, and the source's labels and namespace, which gateways written out overrule."""
    rule = f"- match: [{match}]\n  route: [{{destination: {{host: cart}}}}]"
    for place, applies in ((MESH, in_mesh), (DOOR, at_door)):
        found = made(rule, place=place)
        assert bool(found) is applies
        assert all(route.match == RequestMatch() for route in found)


def test_a_match_keeps_what_only_the_request_knows() -> None:
    """Every field is carried over as written."""
    (found,) = made(
        """
        - match:
          - uri: {prefix: /A}
            ignoreUriCase: true
            scheme: {exact: https}
            method: {regex: "GET|PUT"}
            authority: {prefix: cart}
            headers: {x-a: {exact: b}, x-c: {}}
            withoutHeaders: {x-d: {}}
            queryParams: {q: {regex: "[0-9]"}}
            port: 80
          route: [{destination: {host: cart}}]
        """
    )
    assert found.match == RequestMatch(
        uri=StringMatch(MatchKind.PREFIX, "/A"),
        ignore_uri_case=True,
        scheme=StringMatch(MatchKind.EXACT, "https"),
        method=StringMatch(MatchKind.REGEX, "GET|PUT"),
        authority=StringMatch(MatchKind.PREFIX, "cart"),
        headers=(
            ("x-a", StringMatch(MatchKind.EXACT, "b")),
            ("x-c", StringMatch(MatchKind.PRESENT)),
        ),
        without_headers=(("x-d", StringMatch(MatchKind.PRESENT)),),
        query_params=(("q", StringMatch(MatchKind.REGEX, "[0-9]")),),
    )


def test_a_rule_may_answer_by_itself() -> None:
    """Redirects and direct responses carry over; a rule that does nothing is left out."""
    found = made(
        """
        - match: [{uri: {exact: /a}}]
          redirect: {uri: /b, redirectCode: 302}
        - match: [{uri: {exact: /c}}]
          directResponse: {status: 418, body: {string: tea}}
        """
    )
    assert [route.action for route in found] == [
        Redirect(uri="/b", code=302),
        DirectResponse(status=418, body=b"tea"),
    ]


CART, X = host("cart"), host("x")


@pytest.mark.parametrize(
    ("destination", "objects", "cluster"),
    [
        ("host: cart", (), f"outbound|80||{CART}"),
        ("host: cart", (service("cart", "http:8080"),), f"outbound|8080||{CART}"),
        ("host: cart", (service("cart", "http:81", "grpc:82"),), f"outbound|80||{CART}"),
        ("host: cart, port: {number: 9}", (service("cart", "http:81"),), f"outbound|9||{CART}"),
        ("host: cart, subset: v1", (), f"outbound|80|v1|{CART}"),
        ("host: API.example.com", (), "outbound|80||api.example.com"),
    ],
)
def test_which_cluster_a_destination_is(
    destination: str, objects: tuple[str, ...], cluster: str
) -> None:
    """The port written, else the service's only one, else the listener's; known or not."""
    found = forward(f"- route: [{{destination: {{{destination}}}}}]", *objects)
    assert [target.cluster for target in found.targets] == [cluster]


@pytest.mark.parametrize(
    ("weights", "kept"),
    [((1, 3), [1, 3]), ((0, 5), [5]), ((0,), [0]), ((0, 100, 0), [100])],
)
def test_a_weight_of_zero_is_left_out(weights: tuple[int, ...], kept: list[int]) -> None:
    """Unless it is the only one, which takes all."""
    rows = ", ".join(f"{{destination: {{host: h{n}}}, weight: {w}}}" for n, w in enumerate(weights))
    assert [t.weight for t in forward(f"- route: [{rows}]").targets] == kept


@pytest.mark.parametrize(
    ("written", "host_rewrite"),
    [
        ("headers: {request: {set: {Host: a}}}", "a"),
        ("headers: {request: {set: {':authority': a}}}", "a"),
        ("rewrite: {authority: b}", "b"),
        ("headers: {request: {set: {x-host: a}}}", ""),
    ],
)
def test_the_host_header_is_a_rewrite(written: str, host_rewrite: str) -> None:
    """Envoy rewrites the authority in its own way; the other headers stay."""
    (route,) = made(f"- route: [{{destination: {{host: cart}}}}]\n  {written}")
    assert isinstance(route.action, Forward)
    assert route.action.host_rewrite == host_rewrite
    assert [name for name, _ in route.headers.request.set] == (
        ["x-host"] if not host_rewrite else []
    )


def test_headers_beside_the_host_stay() -> None:
    """Set, add and remove of both directions."""
    (route,) = made(
        """
        - route: [{destination: {host: cart}}]
          headers:
            request: {set: {Host: a, b: c}, add: {d: e}, remove: [f]}
            response: {set: {g: h}}
        """
    )
    request = route.headers.request
    assert (request.set, request.add, request.remove) == ((("b", "c"),), (("d", "e"),), ("f",))
    assert route.headers.response.set == (("g", "h"),)


def test_rewrites_of_the_path() -> None:
    """A prefix, or an expression with its substitution."""
    prefix = forward("- route: [{destination: {host: cart}}]\n  rewrite: {uri: /new}")
    assert (prefix.prefix_rewrite, prefix.regex_rewrite) == ("/new", None)
    regex = forward(
        "- route: [{destination: {host: cart}}]\n"
        "  rewrite: {uriRegexRewrite: {match: a.*, rewrite: b}}"
    )
    assert (regex.prefix_rewrite, regex.regex_rewrite) == ("", ("a.*", "b"))


DEFAULT = DEFAULT_RETRY.retry_on


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("", DEFAULT_RETRY),
        ("retries: {attempts: 0}", None),
        ("retries: {attempts: 3}", RetryPolicy(attempts=3, retry_on=DEFAULT)),
        (
            "retries: {attempts: 3, retryOn: 'gateway-error, 5xx'}",
            RetryPolicy(attempts=3, retry_on=("gateway-error", "5xx")),
        ),
        (
            "retries: {attempts: 1, retryOn: '503,429'}",
            RetryPolicy(
                attempts=1, retry_on=("retriable-status-codes",), retriable_status_codes=(503, 429)
            ),
        ),
        (
            "retries: {attempts: 1, retryOn: '5xx,retriable-status-codes,429'}",
            RetryPolicy(
                attempts=1,
                retry_on=("5xx", "retriable-status-codes"),
                retriable_status_codes=(429,),
            ),
        ),
        (
            "retries: {attempts: 1, perTryTimeout: 2s, backoff: 10ms, retryRemoteLocalities: true,"
            " retryIgnorePreviousHosts: false}",
            RetryPolicy(
                attempts=1,
                retry_on=DEFAULT,
                per_try_timeout=timedelta(seconds=2),
                backoff=timedelta(milliseconds=10),
                avoid_previous_hosts=False,
                remote_localities=True,
            ),
        ),
    ],
)
def test_how_often_a_request_is_tried_again(written: str, policy: RetryPolicy | None) -> None:
    """Istio's default of two; none at all for zero; numbers are status codes."""
    assert forward(f"- route: [{{destination: {{host: cart}}}}]\n  {written}").retry == policy


def test_a_timeout_is_none_unless_written() -> None:
    """Zero means without limit."""
    assert forward("- route: [{destination: {host: cart}}]").timeout == timedelta(0)
    written = forward("- timeout: 3s\n  route: [{destination: {host: cart}}]")
    assert written.timeout == timedelta(seconds=3)


HASHED = istio(
    "DestinationRule",
    "r",
    """
    host: cart
    trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: user}}}
    subsets:
    - name: v1
      trafficPolicy: {loadBalancer: {simple: RANDOM}}
    """,
)
QUERY = istio(
    "DestinationRule",
    "q",
    """
    host: x
    trafficPolicy: {loadBalancer: {consistentHash: {httpQueryParameterName: q}}}
    """,
)


@pytest.mark.parametrize(
    ("destinations", "hashed_on"),
    [
        ("{destination: {host: cart}}", ["user"]),
        ("{destination: {host: cart, subset: v1}}", []),
        ("{destination: {host: cart, subset: unknown}}", ["user"]),
        (
            "{destination: {host: y}, weight: 1}, {destination: {host: x}, weight: 1},"
            " {destination: {host: cart}, weight: 1}",
            ["q", "user"],
        ),
        (
            "{destination: {host: cart}, weight: 1}, {destination: {host: cart}, weight: 2}",
            ["user"],
        ),
        ("{destination: {host: cart}, weight: 0}, {destination: {host: y}, weight: 2}", []),
    ],
)
def test_requests_are_hashed_as_their_destinations_want(
    destinations: str, hashed_on: list[str]
) -> None:
    """Of every destination that gets traffic; a previous host is then not avoided."""
    found = forward(f"- route: [{destinations}]", HASHED, QUERY)
    names = [h.http_header_name or h.http_query_parameter_name for h in found.hash_on]
    assert names == hashed_on
    assert found.retry is not None
    assert found.retry.avoid_previous_hosts is (not hashed_on)


def test_a_host_without_rules_sends_to_itself() -> None:
    """With the default retries, and hashed where its rule says so."""
    mesh = SmallMesh(service("cart"), HASHED)
    route = default_route(mesh.db, (SHOP, CART, 80))
    assert isinstance(route.action, Forward)
    assert [t.cluster for t in route.action.targets] == [f"outbound|80||{CART}"]
    assert len(route.action.hash_on) == 1

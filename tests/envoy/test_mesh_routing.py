"""VirtualServices as requests meet them: what is matched and what is done."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.live_mesh import (
    LiveMesh,
    pod,
    service,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live_mesh import Reply

_WEB: Final = "http://web/"
_WEB_PODS: Final = (("web-v1", 11), ("web-v2", 12))

_SUBSETS: Final = istio(
    "DestinationRule",
    "web",
    """
    host: web
    subsets:
      - {name: v1, labels: {version: v1}}
      - {name: v2, labels: {version: v2}}
      - {name: v9, labels: {version: v9}}
    """,
    namespace="test",
)


def _routes(*rules: str) -> str:
    """Return a VirtualService of rules, each written in one line."""
    lines = "\n".join(f"  - {rule}" for rule in rules)
    return istio("VirtualService", "web", f"hosts: [web]\nhttp:\n{lines}", namespace="test")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a service in two versions, and another one."""
    files = {
        "web.yaml": pod("web-v1", 11, app="web")
        + pod("web-v2", 12, app="web", version="v2")
        + service("web", 11, *_WEB_PODS),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "subsets.yaml": _SUBSETS,
        "ann.yaml": pod("ann", 2),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


# --- What is matched --------------------------------------------------------------------------------

_MATCHES: Final = {
    "exact": "{uri: {exact: /exact}}",
    "prefix": "{uri: {prefix: /pre}}",
    "regex": "{uri: {regex: '/r[0-9]+'}}",
    "any-case": "{uri: {exact: /AnyCase}, ignoreUriCase: true}",
    "method": "{uri: {exact: /method}, method: {exact: POST}}",
    "header": "{headers: {x-who: {exact: tester}}}",
    "header-prefix": "{headers: {x-who: {prefix: pre-}}}",
    "header-there": "{headers: {x-there: {}}}",
    "without": "{uri: {exact: /without}, withoutHeaders: {x-plain: {exact: 'yes'}}}",
    "query": "{queryParams: {q: {exact: one}}}",
    "authority": "{uri: {exact: /authority}, authority: {exact: web.test}}",
    "query-regex": "{queryParams: {n: {regex: '[0-9]+'}}}",
    "query-prefix": "{queryParams: {p: {prefix: pre-}}}",
    "query-there": "{queryParams: {there: {}}}",
    "header-regex": "{headers: {x-number: {regex: '[0-9]+'}}}",
    "method-regex": "{uri: {exact: /methods}, method: {regex: 'PUT|DELETE'}}",
    "scheme": "{uri: {exact: /scheme}, scheme: {exact: http}}",
    "other-scheme": "{uri: {exact: /scheme}, scheme: {exact: https}}",
    "authority-regex": "{uri: {exact: /authorities}, authority: {regex: 'web[.]test[.].*'}}",
    "any-case-prefix": "{uri: {prefix: /AnyPrefix}, ignoreUriCase: true}",
    "without-there": "{uri: {exact: /unmarked}, withoutHeaders: {x-marked: {}}}",
    "without-regex": "{uri: {exact: /unnumbered}, withoutHeaders: {x-number: {regex: '[0-9]+'}}}",
    "ann-alone": "{uri: {exact: /labels}, sourceLabels: {app: ann}}",
    "bob-alone": "{uri: {exact: /labels}, sourceLabels: {app: bob}}",
    "far": "{uri: {exact: /namespace}, sourceNamespace: far}",
    "near": "{uri: {exact: /namespace}, sourceNamespace: test}",
    "gateway": "{uri: {exact: /gateways}, gateways: [test/door]}",
    "mesh": "{uri: {exact: /gateways}, gateways: [mesh]}",
    "other-port": "{uri: {exact: /ports}, port: 81}",
    "own-port": "{uri: {exact: /ports}, port: 80}",
    "both": "{uri: {prefix: /both}, headers: {x-both: {exact: 'yes'}}}",
    "port": "{uri: {exact: /port}, port: 80}",
}
_ASKED: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("exact", "http://web/exact", {}),
    ("", "http://web/exact/", {}),
    ("exact", "http://web/exact?with=query", {}),
    ("prefix", "http://web/prefix", {}),
    ("regex", "http://web/r17", {}),
    ("", "http://web/r17x", {}),
    ("any-case", "http://web/anycase", {}),
    ("method", "http://web/method", {"method": "POST"}),
    ("", "http://web/method", {}),
    ("header", "http://web/", {"headers": {"X-Who": "tester"}}),
    ("", "http://web/", {"headers": {"X-Who": "testers"}}),
    ("header-prefix", "http://web/", {"headers": {"X-Who": "pre-tester"}}),
    ("header-there", "http://web/", {"headers": {"X-There": "whatever"}}),
    ("without", "http://web/without", {}),
    ("without", "http://web/without", {"headers": {"X-Plain": "no"}}),
    ("", "http://web/without", {"headers": {"X-Plain": "yes"}}),
    ("query", "http://web/?q=one", {}),
    ("", "http://web/?q=two", {}),
    ("authority", "http://web.test/authority", {}),
    ("", "http://web/authority", {}),
    ("both", "http://web/both", {"headers": {"X-Both": "yes"}}),
    ("", "http://web/both", {}),
    ("port", "http://web/port", {}),
    ("query-regex", "http://web/?n=17", {}),
    ("", "http://web/?n=x17", {}),
    ("query-prefix", "http://web/?p=pre-fix", {}),
    ("", "http://web/?p=postfix", {}),
    ("query-there", "http://web/?there=anything", {}),
    ("header-regex", "http://web/", {"headers": {"X-Number": "17"}}),
    ("", "http://web/", {"headers": {"X-Number": "17a"}}),
    ("method-regex", "http://web/methods", {"method": "DELETE"}),
    ("", "http://web/methods", {"method": "POST"}),
    ("scheme", "http://web/scheme", {}),
    ("authority-regex", "http://web.test.svc/authorities", {}),
    ("", "http://web/authorities", {}),
    ("any-case-prefix", "http://web/ANYPREFIX/path", {}),
    ("without-there", "http://web/unmarked", {}),
    ("", "http://web/unmarked", {"headers": {"X-Marked": ""}}),
    ("without-regex", "http://web/unnumbered", {"headers": {"X-Number": "none"}}),
    ("ann-alone", "http://web/labels", {}),
    ("near", "http://web/namespace", {}),
    ("mesh", "http://web/gateways", {}),
    ("own-port", "http://web/ports", {}),
)


@pytest.fixture(scope="module")
def answers(mesh: LiveMesh) -> list[Reply]:
    """What is answered to each question, each rule answering with its own name."""
    rules = (
        f"{{name: {name}, match: [{match}], directResponse: {{status: 222, body: {{string: {name}}}}}}}"
        for name, match in _MATCHES.items()
    )
    with mesh.having(_routes(*rules, "{route: [{destination: {host: web}}]}")):
        return [mesh.call("ann", url, **how) for _rule, url, how in _ASKED]


@pytest.mark.parametrize(
    ("number", "rule"), [(number, asked[0]) for number, asked in enumerate(_ASKED)]
)
def test_a_request_takes_the_first_rule_that_matches(
    answers: list[Reply], number: int, rule: str
) -> None:
    """By all that a match may ask for; what none matches takes the last rule."""
    answer = answers[number]
    if rule:
        assert (answer.status, answer.body.decode()) == (222, rule)
    else:
        assert answer.pod in ("web-v1", "web-v2")


def test_routes_have_the_names_of_their_rules(mesh: LiveMesh) -> None:
    """With those of their matches behind; Envoy says it wherever a route may be named."""
    rules = (
        "{name: canary, match: [{name: testers, uri: {prefix: /t}}, {uri: {prefix: /u}}], "
        "headers: {response: {set: {x-route: '%ROUTE_NAME%'}}}, route: [{destination: {host: web}}]}",
        "{name: rest, headers: {response: {set: {x-route: '%ROUTE_NAME%'}}}, "
        "route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        found = [mesh.call("ann", _WEB + path).headers["x-route"] for path in ("t", "u", "")]
    assert found == ["canary.testers", "canary", "rest"]


# --- What is done -----------------------------------------------------------------------------------


def _count(mesh: LiveMesh, number: int) -> Counter[str]:
    return Counter(reply.pod for reply in mesh.calls("ann", _WEB, number))


def test_weights_are_kept(mesh: LiveMesh) -> None:
    """Of a thousand requests with 80 to 20, a fifth goes to the second version."""
    rule = """{route: [{destination: {host: web, subset: v1}, weight: 80},
                       {destination: {host: web, subset: v2}, weight: 20}]}"""
    with mesh.having(_routes(rule)):
        counted = _count(mesh, 1000)
    assert counted.total() == 1000
    assert 140 < counted["web-v2"] < 260


def test_a_weight_of_zero_gets_nothing(mesh: LiveMesh) -> None:
    """A canary that is written but not begun."""
    rule = """{route: [{destination: {host: web, subset: v1}, weight: 100},
                       {destination: {host: web, subset: v2}, weight: 0}]}"""
    with mesh.having(_routes(rule)):
        assert _count(mesh, 50) == {"web-v1": 50}


def test_paths_and_authorities_are_rewritten(mesh: LiveMesh) -> None:
    """A prefix, an exact path, a pattern, and the authority that the application sees."""
    rules = (
        """{match: [{uri: {prefix: /old}}], rewrite: {uri: /new},
           route: [{destination: {host: web}}]}""",
        """{match: [{uri: {exact: /one}}], rewrite: {uri: /other, authority: example.org},
           route: [{destination: {host: web}}]}""",
        """{match: [{uri: {prefix: /users/}}],
           rewrite: {uriRegexRewrite: {match: '^/users/([^/]+)/(.*)$', rewrite: '/\\2/of/\\1'}},
           route: [{destination: {host: api}}]}""",
    )
    with mesh.having(_routes(*rules)):
        asked = ("old/path?q=1", "one", "users/7/cart")
        seen = [mesh.call("ann", _WEB + path).seen for path in asked]
    assert [one["path"] for one in seen] == ["/new/path?q=1", "/other", "/cart/of/7"]
    assert seen[1]["headers"]["host"] == "example.org"
    assert [one["service"] for one in seen] == ["web", "web", "api"]


def test_redirects_are_sent(mesh: LiveMesh) -> None:
    """With path, authority, scheme, port and code as they are written."""
    rules = (
        "{match: [{uri: {exact: /a}}], redirect: {uri: /b}}",
        "{match: [{uri: {exact: /c}}], redirect: {authority: example.org, redirectCode: 307}}",
        "{match: [{uri: {exact: /d}}], redirect: {scheme: https, port: 8443, uri: /e}}",
    )
    with mesh.having(_routes(*rules)):
        replies = [mesh.call("ann", _WEB + path) for path in "acd"]
    assert [(one.status, one.headers["location"]) for one in replies] == [
        (301, "http://web/b"),
        (307, "http://example.org/c"),
        (301, "https://web:8443/e"),
    ]


def test_headers_are_set_added_and_removed(mesh: LiveMesh) -> None:
    """For the whole rule and for one destination, on the way there and on the way back."""
    rule = """{headers: {request: {set: {x-set: mine}, add: {x-add: two}, remove: [x-gone]},
                         response: {set: {x-served: 'by %UPSTREAM_CLUSTER_RAW%'}, remove: [x-app]}},
               route: [{destination: {host: web},
                        headers: {request: {set: {x-destination: web}, remove: [x-also-gone]},
                                  response: {add: {x-back: again}}}}]}"""
    sent = {"X-Set": "yours", "X-Add": "one", "X-Gone": "1", "X-Also-Gone": "1"}
    with mesh.having(_routes(rule.replace("%UPSTREAM_CLUSTER_RAW%", "us"))):
        reply = mesh.call("ann", _WEB, headers=sent)
    seen = reply.seen["headers"]
    assert (seen["x-set"], seen["x-add"], seen["x-destination"]) == ("mine", "one,two", "web")
    assert not {"x-gone", "x-also-gone"} & seen.keys()
    assert (reply.headers["x-served"], reply.headers["x-back"]) == ("by us", "again")
    assert "x-app" not in reply.headers


def test_a_host_header_that_is_set_is_the_authority(mesh: LiveMesh) -> None:
    """Istio takes ``Host`` among the headers to set for a rewrite."""
    rule = """{headers: {request: {set: {Host: example.org}}},
               route: [{destination: {host: web}}]}"""
    with mesh.having(_routes(rule)):
        assert mesh.call("ann", _WEB).seen["headers"]["host"] == "example.org"


def test_a_timeout_ends_a_request(mesh: LiveMesh) -> None:
    """504 after the time that is written; without one there is no limit."""
    rule = "{timeout: 0.2s, route: [{destination: {host: web}}]}"
    with mesh.having(_routes(rule)):
        assert mesh.call("ann", f"{_WEB}?delay=1").status == 504
        assert mesh.call("ann", _WEB).status == 200
    assert mesh.call("ann", f"{_WEB}?delay=0.4").status == 200


def test_retries_hide_a_failing_pod(mesh: LiveMesh) -> None:
    """An attempt that got 503 is repeated elsewhere; without a policy for it, the caller gets it."""
    url = f"{_WEB}?broken=web-v1"
    rule = """{retries: {attempts: 3, perTryTimeout: 2s, retryOn: 5xx},
               route: [{destination: {host: web}}]}"""
    with mesh.having(_routes(rule)):
        hidden = Counter(reply.status for reply in mesh.calls("ann", url, 40))
    shown = Counter(reply.status for reply in mesh.calls("ann", url, 40))
    assert hidden == {200: 40}
    assert shown[503] > 5


def test_as_many_attempts_are_made_as_are_written(mesh: LiveMesh) -> None:
    """Two retries survive two failures of one request, not three; zero switches retrying off."""
    rule = "{{retries: {{attempts: {}, retryOn: '503'}}, route: [{{destination: {{host: web, subset: v1}}}}]}}"
    with mesh.having(_routes(rule.format(2))):
        assert mesh.call("ann", f"{_WEB}?fail=2").status == 200
        assert mesh.call("ann", f"{_WEB}?fail=3").status == 503
    with mesh.having(_routes("{retries: {attempts: 0}, route: [{destination: {host: web}}]}")):
        assert mesh.call("ann", f"{_WEB}?fail=1").status == 503


def test_another_pod_is_tried_unless_it_need_not_be(mesh: LiveMesh) -> None:
    """Where each client has its own pod, a second try goes there too, unless it is passed over.

    Envoy looks at the next few places on the ring, which may all be of the same pod.
    """
    rule = "{{retries: {{attempts: 1, retryOn: 5xx{}}}, route: [{{destination: {{host: web}}}}]}}"
    sticky = istio(
        "DestinationRule",
        "sticky",
        "host: web\ntrafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}",
        namespace="test",
    )

    def _failed(said: str) -> set[str]:
        users, url = map(str, range(20)), f"{_WEB}?broken=web-v1"
        with mesh.having(_routes(rule.format(said)), sticky):
            replies = {user: mesh.call("ann", url, headers={"X-User": user}) for user in users}
        return {user for user, reply in replies.items() if reply.status == 503}

    of_the_pod = _failed(", retryIgnorePreviousHosts: false")
    left = _failed(", retryIgnorePreviousHosts: true")
    assert left < of_the_pod
    assert 2 * len(left) <= len(of_the_pod)


def test_a_try_is_repeated_after_a_while(mesh: LiveMesh) -> None:
    """Any while up to ``backoff`` the first time; of eight the longest is longer than Envoy's own 25 ms."""
    rule = (
        "{retries: {attempts: 1, retryOn: '503', backoff: 0.3s},"
        " route: [{destination: {host: web, subset: v1}}]}"
    )
    took = []
    with mesh.having(_routes(rule)):
        for _ in range(8):
            began = time.monotonic()
            assert mesh.call("ann", f"{_WEB}?fail=1").status == 200
            took.append(time.monotonic() - began)
    assert max(took) > 0.05


def test_a_budget_limits_retries(mesh: LiveMesh) -> None:
    """With room for one retry at a time most of many requests at once are not tried again."""
    rule = (
        "{retries: {attempts: 1, retryOn: '503'}, route: [{destination: {host: web, subset: v1}}]}"
    )
    budget = istio(
        "DestinationRule",
        "budget",
        "host: web\ntrafficPolicy: {retryBudget: {percent: 0, minRetryConcurrency: 1}}",
        namespace="test",
    )
    url = f"{_WEB}?delay=0.3&fail=1"
    with mesh.having(_routes(rule)):
        unlimited = Counter(reply.status for reply in mesh.at_once("ann", url, 8))
    with mesh.having(_routes(rule), budget):
        limited = Counter(reply.status for reply in mesh.at_once("ann", url, 8))
    assert unlimited == {200: 8}
    assert limited[503] >= 4
    assert limited[200] >= 1


def test_a_try_that_takes_too_long_is_repeated(mesh: LiveMesh) -> None:
    """``perTryTimeout`` bounds each attempt, ``timeout`` all of them together."""
    rule = """{timeout: 5s, retries: {attempts: 1, perTryTimeout: 0.2s, retryOn: 5xx},
               route: [{destination: {host: web}}]}"""
    with mesh.having(_routes(rule)):
        reply = mesh.call("ann", f"{_WEB}?delay=1")
    assert reply.status == 504


def test_web_sockets_are_let_through(mesh: LiveMesh) -> None:
    """By a service's own route and by a rule, both ways once the upgrade is agreed on."""
    request = (
        b"GET /chat HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    rule = "{match: [{uri: {prefix: /chat}}], timeout: 5s, route: [{destination: {host: api}}]}"
    for manifest, name in (
        (_routes("{route: [{destination: {host: web}}]}"), "web"),
        (_routes(rule), "api"),
    ):
        with mesh.having(manifest), mesh.connect("ann", (mesh.address("web"), 80)) as made:
            made.sendall(request)
            agreed = made.recv(65536)
            made.sendall(b"\x81\x05hello")
            echo = made.recv(65536)
        assert agreed.startswith(b"HTTP/1.1 101 ")
        assert echo == f"{name}: ".encode() + b"\x81\x05hello"


def test_a_subset_without_pods_is_503(mesh: LiveMesh) -> None:
    """For the requests that are sent there and for nobody else's."""
    rules = (
        "{match: [{uri: {prefix: /subset}}], route: [{destination: {host: web, subset: v9}}]}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", f"{_WEB}subset").status == 503
        assert mesh.call("ann", _WEB).status == 200

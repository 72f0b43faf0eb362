"""VirtualServices as requests meet them: what is matched, what is done, and who sees it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

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
    service_ip,
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


def _routes(*rules: str, host: str = "web", more: str = "", namespace: str = "test") -> str:
    """Return a VirtualService of rules, each written in one line."""
    lines = "\n".join(f"  - {rule}" for rule in rules)
    spec = (
        f"hosts: [{host}]\n{more}\nhttp:\n{lines}" if more else f"hosts: [{host}]\nhttp:\n{lines}"
    )
    return istio("VirtualService", "web", spec, namespace=namespace)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients in two namespaces, a service in two versions, two others, and a pod outside of the mesh."""
    files = {
        "web.yaml": pod("web-v1", 11, app="web")
        + pod("web-v2", 12, app="web", version="v2")
        + service("web", 11, *_WEB_PODS),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "many.yaml": service("many", 14, *_WEB_PODS, headless=True),
        "subsets.yaml": _SUBSETS,
        "clients.yaml": pod("ann", 2)
        + pod("bob", 3, namespace="other", version="v2")
        + pod("outside", 9, sidecar=False),
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
    """By path, method, headers, query, authority and port; what none matches takes the last one."""
    answer = answers[number]
    if rule:
        assert (answer.status, answer.body.decode()) == (222, rule)
    else:
        assert answer.pod in ("web-v1", "web-v2")


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


def test_a_try_that_takes_too_long_is_repeated(mesh: LiveMesh) -> None:
    """``perTryTimeout`` bounds each attempt, ``timeout`` all of them together."""
    rule = """{timeout: 5s, retries: {attempts: 1, perTryTimeout: 0.2s, retryOn: 5xx},
               route: [{destination: {host: web}}]}"""
    with mesh.having(_routes(rule)):
        reply = mesh.call("ann", f"{_WEB}?delay=1")
    assert reply.status == 504


# --- Who is meant, and by whom ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["web", "web.test", "web.test.svc", "web.test.svc.cluster.local", "WEB", "web:80"]
)
def test_a_rule_holds_for_every_name_of_its_host(mesh: LiveMesh, host: str) -> None:
    """Short and long, in any case, with the port or without, and by the service's address."""
    rule = "{directResponse: {status: 222}}"
    with mesh.having(_routes(rule)):
        at = service_ip(11)
        assert mesh.call("ann", _WEB, headers={"Host": host}, at=at).status == 222
        assert mesh.call("ann", f"http://{at}/").status == 222


def test_a_short_name_is_of_the_callers_own_namespace(mesh: LiveMesh) -> None:
    """A service of another namespace is called with that; its bare name is nobody's there."""
    with mesh.having(_routes("{directResponse: {status: 222}}")):
        assert mesh.call("bob", "http://web.test/").status == 222
        # The unknown host is taken to where the connection was going: past the rule, to the pod.
        assert mesh.call("bob", f"http://web:{HTTP_PORT}/", at=pod_ip(11)).pod == "web-v1"


def test_source_labels_tell_clients_apart(mesh: LiveMesh) -> None:
    """A rule for clients with a label is unknown to all others."""
    rules = (
        "{match: [{sourceLabels: {version: v2}}], directResponse: {status: 222}}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", "http://web.test/").status == 200
        assert mesh.call("bob", "http://web.test/").status == 222


def test_source_namespaces_tell_clients_apart(mesh: LiveMesh) -> None:
    """As labels do."""
    rules = (
        "{match: [{sourceNamespace: other}], directResponse: {status: 222}}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", "http://web.test/").status == 200
        assert mesh.call("bob", "http://web.test/").status == 222


def test_what_is_not_exported_is_not_seen(mesh: LiveMesh) -> None:
    """A private rule holds in its own namespace, a public one elsewhere too."""
    rule = "{directResponse: {status: 222}}"
    with mesh.having(_routes(rule, more="exportTo: ['.']")):
        assert mesh.call("ann", "http://web.test/").status == 222
        assert mesh.call("bob", "http://web.test/").status == 200
    with mesh.having(_routes(rule, host="web.test.svc.cluster.local", namespace="other")):
        assert mesh.call("ann", "http://web.test/").status == 222


def test_a_private_service_is_unknown_elsewhere(mesh: LiveMesh) -> None:
    """Another namespace's sidecar has neither its clusters nor its names."""
    hidden = service("hidden", 20, ("api", 13), export_to=".")
    with mesh.having(hidden):
        at = service_ip(20)
        assert mesh.call("ann", "http://hidden/", at=at).pod == "api"
        assert "hidden" in mesh.admin("ann", "/clusters")
        assert "hidden" not in mesh.admin("bob", "/clusters")


def test_a_wildcard_takes_every_host_below_it(mesh: LiveMesh) -> None:
    """Also hosts that no service has, on port 80; a more specific rule comes before it."""
    wild = istio(
        "VirtualService",
        "wild",
        """
        hosts: ["*.example.org"]
        http: [{directResponse: {status: 223}}]
        """,
        namespace="test",
    )
    one = istio(
        "VirtualService",
        "one",
        """
        hosts: [one.example.org]
        http: [{directResponse: {status: 224}}]
        """,
        namespace="test",
    )
    at = service_ip(11)
    with mesh.having(wild, one):
        asked = ("any.example.org", "one.example.org", "a.b.example.org")
        got = [mesh.call("ann", f"http://{host}/", at=at).status for host in asked]
    assert got == [223, 224, 223]


def test_an_unknown_host_passes_through(mesh: LiveMesh) -> None:
    """HTTP and TCP to who is not in the mesh go where the connection was going (ALLOW_ANY)."""
    at = pod_ip(9)
    assert mesh.call("ann", f"http://example.org:{HTTP_PORT}/", at=at).pod == "outside"
    assert mesh.tcp("ann", at, TCP_PORT) == b"outside: hello\n"


def test_a_service_entry_makes_a_host_known(mesh: LiveMesh) -> None:
    """A STATIC one with endpoints outside of the mesh: by plaintext, with rules like any other host."""
    entry = istio(
        "ServiceEntry",
        "outside",
        f"""
        hosts: [outside.example.org]
        addresses: [{service_ip(30)}]
        location: MESH_EXTERNAL
        resolution: STATIC
        ports: [{{name: http, number: 80, protocol: HTTP, targetPort: {HTTP_PORT}}}]
        endpoints: [{{address: {pod_ip(9)}}}]
        """,
        namespace="test",
    )
    rule = "{headers: {request: {set: {x-set: mine}}}, route: [{destination: {host: outside.example.org}}]}"
    with mesh.having(entry, _routes(rule, host="outside.example.org")):
        reply = mesh.call("ann", "http://outside.example.org/", at=service_ip(30))
    assert (reply.pod, reply.seen["headers"]["x-set"]) == ("outside", "mine")


def test_tcp_finds_its_service_by_address(mesh: LiveMesh) -> None:
    """Two services on one TCP port are told apart by where the connection was going."""
    assert mesh.tcp("ann", "web", TCP_PORT) == b"web: hello\n"
    assert mesh.tcp("ann", "api", TCP_PORT) == b"api: hello\n"
    assert mesh.tcp("bob", "web.test", ANY_PORT) == b"web: hello\n"


def test_a_headless_service_is_reached_at_its_pods(mesh: LiveMesh) -> None:
    """By HTTP and TCP, exactly that pod, with mutual TLS."""
    for name, number in _WEB_PODS:
        at = pod_ip(number)
        reply = mesh.call("ann", f"http://many:{ANY_PORT}/", at=at)
        assert (reply.pod, reply.caller) == (name, "spiffe://cluster.local/ns/test/sa/ann")
        assert mesh.tcp("ann", at, TCP_PORT) == b"web: hello\n"


def test_a_subset_without_pods_is_503(mesh: LiveMesh) -> None:
    """For the requests that are sent there and for nobody else's."""
    rules = (
        "{match: [{uri: {prefix: /subset}}], route: [{destination: {host: web, subset: v9}}]}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", f"{_WEB}subset").status == 503
        assert mesh.call("ann", _WEB).status == 200


def test_a_service_that_comes_and_goes(mesh: LiveMesh) -> None:
    """It is reached once its manifest is in force, and not any more once that is gone."""
    for _ in range(2):
        with mesh.having(service("guest", 21, ("api", 13))):
            assert mesh.call("ann", "http://guest/", at=service_ip(21)).pod == "api"
        eventually(
            lambda: mesh.call("ann", "http://guest/", at=pod_ip(11)).status == 503,
            "the guest is unknown",
        )

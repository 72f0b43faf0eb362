"""What a rule does besides sending a request on: faults, copies, cross-origin answers, others' rules."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import (
    LiveMesh,
    eventually,
    pod,
    service,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"


def _routes(*rules: str, name: str = "web", hosts: str = "hosts: [web]") -> str:
    """Return a VirtualService of rules, each written in one line."""
    lines = "\n".join(f"  - {rule}" for rule in rules)
    return istio("VirtualService", name, f"{hosts}\nhttp:\n{lines}", namespace="test")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client and two services."""
    files = {
        "web.yaml": pod("web-v1", 11, app="web") + service("web", 11, ("web-v1", 11)),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "ann.yaml": pod("ann", 2),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def test_faults_are_injected(mesh: LiveMesh) -> None:
    """Delays and errors, to all requests, to some or to none; gRPC's errors come as gRPC sends them."""
    to_web = "route: [{destination: {host: web}}]"
    rules = (
        f"{{match: [{{uri: {{exact: /late}}}}], {to_web}, "
        "fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}}",
        f"{{match: [{{uri: {{exact: /teapot}}}}], {to_web}, "
        "fault: {abort: {httpStatus: 418, percentage: {value: 100}}}}",
        f"{{match: [{{uri: {{exact: /grpc}}}}], {to_web}, "
        "fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}}",
        f"{{match: [{{uri: {{exact: /half}}}}], {to_web}, "
        "fault: {abort: {httpStatus: 418, percentage: {value: 50}}}}",
        f"{{match: [{{uri: {{exact: /none}}}}], {to_web}, fault: {{abort: {{httpStatus: 418}}}}}}",
        f"{{{to_web}}}",
    )
    grpc = {"Content-Type": "application/grpc", "TE": "trailers"}
    with mesh.having(_routes(*rules)):
        began = time.monotonic()
        late = mesh.call("ann", _WEB + "late")
        took = time.monotonic() - began
        aborted = mesh.call("ann", _WEB + "teapot")
        by_grpc = mesh.call("ann", _WEB + "grpc", headers=grpc, method="POST")
        half = [reply.status for reply in mesh.calls("ann", _WEB + "half", 100)]
        others = [mesh.call("ann", _WEB + path).status for path in ("none", "")]
    assert (late.status, took >= 0.29) == (200, True)  # Envoy counts whole milliseconds
    assert (aborted.status, aborted.pod) == (418, "")
    assert (by_grpc.status, by_grpc.headers["grpc-status"]) == (200, "14")
    assert 20 < half.count(418) < 80
    assert others == [200, 200]


def test_copies_are_sent_and_their_answers_dropped(mesh: LiveMesh) -> None:
    """All of them, or a share; the client hears of the copy's failure nothing."""
    rules = (
        "{match: [{uri: {exact: /copied}}], mirror: {host: api, port: {number: 80}}, "
        "route: [{destination: {host: web}}]}",
        "{match: [{uri: {prefix: /some}}], mirrors: [{destination: {host: api, port: {number: 80}}, "
        "percentage: {value: 25}}], route: [{destination: {host: web}}]}",
        "{match: [{uri: {prefix: /none}}], mirror: {host: api}, mirrorPercentage: {value: 0}, "
        "route: [{destination: {host: web}}]}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        before = _arrived(mesh)
        whole = mesh.calls("ann", _WEB + "copied", 20)
        eventually(lambda: _arrived(mesh) == before + 20, "every copy arrives")
        mesh.calls("ann", _WEB + "none", 20)
        part = mesh.calls("ann", _WEB + "some", 200)
        eventually(lambda: _arrived(mesh) > before + 40, "some copies arrive")
        copies = _arrived(mesh) - before - 20
    assert {reply.pod for reply in (*whole, *part)} == {"web-v1"}
    assert copies < 100


def test_shares_of_copies_may_be_whole_numbers(mesh: LiveMesh) -> None:
    """``mirrorPercent``, as it was written once; a share says it instead where both are."""
    copied = "mirror: {host: api, port: {number: 80}}, route: [{destination: {host: web}}]"
    rules = (
        f"{{match: [{{uri: {{exact: /none}}}}], mirrorPercent: 0, {copied}}}",
        f"{{match: [{{uri: {{exact: /share}}}}], mirrorPercent: 100, mirrorPercentage: {{value: 0}}, {copied}}}",
        f"{{mirrorPercent: 100, {copied}}}",
    )
    with mesh.having(_routes(*rules)):
        before = _arrived(mesh)
        for path, count in (("none", 20), ("share", 20), ("all", 7)):
            mesh.calls("ann", _WEB + path, count)
        eventually(lambda: _arrived(mesh) >= before + 7, "copies arrive")
        assert _arrived(mesh) == before + 7


def _arrived(mesh: LiveMesh) -> int:
    """Return how many requests the copies' service has had."""
    found = mesh.stats("api", r"^http\.inbound_0\.0\.0\.0_8080.*downstream_rq_completed$")
    return sum(found.values())


def test_browsers_are_answered_for_the_service(mesh: LiveMesh) -> None:
    """Preflights of allowed origins by the proxy; other answers are marked, those of others not."""
    rule = (
        "{corsPolicy: {allowOrigins: [{exact: 'https://shop.example'}, {regex: 'https://t[0-9]\\.example'}],"
        " allowMethods: [GET, PUT], allowHeaders: [x-a], exposeHeaders: [x-app], maxAge: 60s,"
        " allowCredentials: true, unmatchedPreflights: IGNORE}, route: [{destination: {host: web}}]}"
    )
    with mesh.having(_routes(rule)):
        asked = {"Access-Control-Request-Method": "PUT"}
        preflight = mesh.call(
            "ann", _WEB, method="OPTIONS", headers={"Origin": "https://shop.example", **asked}
        )
        by_regex = mesh.call("ann", _WEB, headers={"Origin": "https://t7.example"})
        stranger = mesh.call("ann", _WEB, headers={"Origin": "https://else.example"})
        refused = mesh.call(
            "ann", _WEB, method="OPTIONS", headers={"Origin": "https://else.example", **asked}
        )
    assert (preflight.status, preflight.pod) == (200, "")
    assert {name: value for name, value in preflight.headers.items() if "access-" in name} == {
        "access-control-allow-origin": "https://shop.example",
        "access-control-allow-methods": "GET,PUT",
        "access-control-allow-headers": "x-a",
        "access-control-expose-headers": "x-app",
        "access-control-max-age": "60",
        "access-control-allow-credentials": "true",
    }
    assert by_regex.headers["access-control-allow-origin"] == "https://t7.example"
    assert by_regex.headers["access-control-expose-headers"] == "x-app"
    assert (stranger.pod, "access-control-allow-origin" in stranger.headers) == ("web-v1", False)
    assert (refused.pod, "access-control-allow-origin" in refused.headers) == ("", False)


def test_origins_may_be_a_list_of_texts(mesh: LiveMesh) -> None:
    """``allowOrigin``, as it was written once, counts where ``allowOrigins`` says nothing."""
    old, new = "https://old.example", "https://new.example"
    rule = "{{corsPolicy: {{allowOrigin: ['{}'], {}allowMethods: [GET]}}, route: [{{destination: {{host: web}}}}]}}"

    def _allowed() -> list[str]:
        replies = [mesh.call("ann", _WEB, headers={"Origin": origin}) for origin in (old, new)]
        return [one.headers.get("access-control-allow-origin", "") for one in replies]

    with mesh.having(_routes(rule.format(old, ""))):
        assert _allowed() == [old, ""]
    with mesh.having(_routes(rule.format(old, f"allowOrigins: [{{exact: '{new}'}}], "))):
        assert _allowed() == ["", new]


def test_rules_are_delegated(mesh: LiveMesh) -> None:
    """What the root matches goes by the delegate's rules, as far as these are within it."""
    root = _routes(
        "{match: [{uri: {prefix: /api}}], delegate: {name: api}, "
        "headers: {request: {set: {x-root: 'yes'}}}}",
        "{route: [{destination: {host: web}}]}",
    )
    delegate = _routes(
        "{match: [{uri: {prefix: /api/v1}}], rewrite: {uri: /one}, "
        "route: [{destination: {host: api, port: {number: 80}}}]}",
        "{match: [{uri: {prefix: /outside}}], directResponse: {status: 418}}",
        "{match: [{method: {exact: PUT}}], directResponse: {status: 405}}",
        name="api",
        hosts="",
    )
    with mesh.having(root, delegate):
        narrowed = mesh.call("ann", _WEB + "api/v1/x")
        by_root = mesh.call("ann", _WEB + "api/v2", method="PUT")
        rest = [mesh.call("ann", _WEB + path) for path in ("api/v2", "outside", "else")]
    assert (narrowed.seen["service"], narrowed.seen["path"]) == ("api", "/one/x")
    assert narrowed.seen["headers"]["x-root"] == "yes"
    assert by_root.status == 405
    assert [reply.pod for reply in rest] == ["web-v1"] * 3


def test_a_redirect_may_keep_the_rest_of_the_path(mesh: LiveMesh) -> None:
    """Only the prefix that was matched is replaced."""
    rule = "{match: [{uri: {prefix: /old}}], redirect: {prefixRewrite: /new}}"
    with mesh.having(_routes(rule, "{route: [{destination: {host: web}}]}")):
        reply = mesh.call("ann", _WEB + "old/path")
    assert (reply.status, reply.headers["location"]) == (301, "http://web/new/path")


def test_the_port_of_a_redirect_may_follow_the_request(mesh: LiveMesh) -> None:
    """Or the new scheme, which needs none; the code is the one that is written."""
    rules = (
        "{match: [{uri: {exact: /own}}], redirect: {authority: example.org, redirectCode: 308,"
        " derivePort: FROM_REQUEST_PORT}}",
        "{match: [{uri: {exact: /usual}}], redirect: {scheme: https, redirectCode: 303,"
        " derivePort: FROM_PROTOCOL_DEFAULT}}",
    )
    with mesh.having(_routes(*rules)):
        replies = [mesh.call("ann", _WEB + path) for path in ("own", "usual")]
    assert [(one.status, one.headers["location"]) for one in replies] == [
        (308, "http://example.org:80/own"),
        (303, "https://web/usual"),
    ]


def test_an_answer_may_have_any_body(mesh: LiveMesh) -> None:
    """Bytes as well as text, with the headers that the rule sets."""
    body = b"\x00\xff not text"
    rule = (
        f"{{directResponse: {{status: 503, body: {{bytes: {b64encode(body).decode()}}}}},"
        " headers: {response: {set: {x-why: closed}}}}"
    )
    with mesh.having(_routes(rule)):
        reply = mesh.call("ann", _WEB)
    assert (reply.status, reply.body, reply.headers["x-why"]) == (503, body, "closed")


def test_a_match_may_have_statistics_of_its_own(mesh: LiveMesh) -> None:
    """Under its prefix, whatever the rule is called."""
    rule = "{match: [{uri: {prefix: /counted}, statPrefix: counted}], route: [{destination: {host: web}}]}"
    with mesh.having(_routes(rule, "{route: [{destination: {host: web}}]}")):
        mesh.calls("ann", _WEB + "counted", 3)
        mesh.calls("ann", _WEB, 2)
        found = mesh.stats("ann", r"\.route\.counted\.upstream_rq_completed$")
    assert sum(found.values()) == 3

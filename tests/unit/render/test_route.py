"""Routes: heads, virtual hosts, matches, actions and changes of headers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mizzen import ir
from mizzen.model.routing import (
    DirectResponse,
    HeaderOperations,
    Headers,
    MatchKind,
    Redirect,
    StringMatch,
)
from mizzen.model.traffic import ConsistentHash, HashCookie
from mizzen.render.route import render_route_table, render_virtual_host
from tests.support.render_samples import FORWARD
from tests.support.show import show

_NO_TIMEOUT = {
    "timeout": "0s",
    "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
}


def _host(*routes: ir.Route, table: str = "9080", redirect: bool = False) -> dict[str, Any]:
    return show(
        render_virtual_host(
            ir.VirtualHost(
                route_configuration=table,
                host="a.example",
                domains=("a.example", "a"),
                routes=routes,
                redirect_to_https=redirect,
            )
        )
    )


def _route(
    action: ir.RouteAction = FORWARD,
    match: ir.RequestMatch | None = None,
    headers: Headers | None = None,
    table: str = "9080",
) -> dict[str, Any]:
    route = ir.Route(
        name="r", match=match or ir.RequestMatch(), action=action, headers=headers or Headers()
    )
    (found,) = _host(route, table=table)["routes"]
    return dict(found)


# --- Heads and hosts --------------------------------------------------------------------------------


def _head(catch_all: ir.CatchAll) -> dict[str, Any]:
    return show(render_route_table(ir.RouteTable(name="9080", catch_all=catch_all)))


@pytest.mark.parametrize("catch_all", ir.CatchAll)
def test_a_head_says_that_its_hosts_come_on_their_own(catch_all: ir.CatchAll) -> None:
    """By VHDS over the same stream; ports in the Host header don't matter."""
    head = _head(catch_all)
    assert head["vhds"]["config_source"]["ads"] == {}
    assert head["ignore_port_in_host_matching"] is True
    assert head["validate_clusters"] is False
    assert head["max_direct_response_body_size_bytes"] == 1 << 20


def test_unknown_hosts_pass_through_a_sidecar() -> None:
    """Istio's ``allow_any``."""
    (host,) = _head(ir.CatchAll.PASSTHROUGH)["virtual_hosts"]
    (route,) = host["routes"]
    assert (host["name"], host["domains"], route["name"]) == ("allow_any", ["*"], "allow_any")
    assert route["route"] == {"cluster": "PassthroughCluster", **_NO_TIMEOUT}


def test_unknown_hosts_are_refused_where_the_registry_is_all() -> None:
    """Istio's ``block_all``: 502."""
    (host,) = _head(ir.CatchAll.BLOCK)["virtual_hosts"]
    assert host["name"] == "block_all"
    assert host["routes"][0]["direct_response"] == {"status": 502}


@pytest.mark.parametrize("catch_all", [ir.CatchAll.NOT_FOUND, ir.CatchAll.NONE])
def test_the_wildcard_is_left_to_who_has_it(catch_all: ir.CatchAll) -> None:
    """Two hosts with ``*`` would be refused; without one, Envoy's own answer is 404."""
    assert "virtual_hosts" not in _head(catch_all)


def test_a_virtual_host_has_one_name_inside_and_out() -> None:
    """Only so can it be removed by VHDS."""
    host = _host(redirect=True)
    assert host == {
        "name": "9080/a.example",
        "domains": ["a.example", "a"],
        "include_request_attempt_count": True,
        "require_tls": "ALL",
    }


# --- Matches ----------------------------------------------------------------------------------------

_EXACT = StringMatch(MatchKind.EXACT, "/a")
_PREFIX = StringMatch(MatchKind.PREFIX, "/a")
_REGEX = StringMatch(MatchKind.REGEX, "/a.*")
_PRESENT = StringMatch(MatchKind.PRESENT)


@pytest.mark.parametrize(
    ("match", "said"),
    [
        (ir.RequestMatch(), {"prefix": "/"}),
        (ir.RequestMatch(uri=_PRESENT), {"prefix": "/"}),
        (ir.RequestMatch(uri=_EXACT), {"path": "/a"}),
        (ir.RequestMatch(uri=_PREFIX), {"prefix": "/a"}),
        (
            ir.RequestMatch(uri=_PREFIX, ignore_uri_case=True),
            {"prefix": "/a", "case_sensitive": False},
        ),
        (
            ir.RequestMatch(uri=_REGEX, ignore_uri_case=True),
            {"safe_regex": {"regex": "/a.*"}},
        ),
    ],
)
def test_a_path_is_matched(match: ir.RequestMatch, said: dict[str, object]) -> None:
    """A regex has its own way of ignoring case."""
    assert _route(match=match)["match"] == said


def test_properties_of_a_request_are_headers() -> None:
    """Scheme, method and authority are Envoy's pseudo headers."""
    match = ir.RequestMatch(scheme=_EXACT, method=_PREFIX, authority=_REGEX)
    assert _route(match=match)["match"]["headers"] == [
        {"name": ":scheme", "string_match": {"exact": "/a"}},
        {"name": ":method", "string_match": {"prefix": "/a"}},
        {"name": ":authority", "string_match": {"safe_regex": {"regex": "/a.*"}}},
    ]


def test_a_header_may_be_demanded_or_excluded() -> None:
    """An excluded value is excluded where the header is missing too, for missing is not that value."""
    match = ir.RequestMatch(
        headers=(("x-a", _PRESENT),), without_headers=(("x-b", _EXACT), ("x-c", _PRESENT))
    )
    assert _route(match=match)["match"]["headers"] == [
        {"name": "x-a", "present_match": True},
        {
            "name": "x-b",
            "string_match": {"exact": "/a"},
            "invert_match": True,
            "treat_missing_header_as_empty": True,
        },
        {"name": "x-c", "present_match": True, "invert_match": True},
    ]


def test_query_parameters_are_matched() -> None:
    """By value or by being there."""
    match = ir.RequestMatch(query_params=(("a", _EXACT), ("b", _PRESENT)))
    assert _route(match=match)["match"]["query_parameters"] == [
        {"name": "a", "string_match": {"exact": "/a"}},
        {"name": "b", "present_match": True},
    ]


# --- Forwarding -------------------------------------------------------------------------------------


def test_a_request_may_take_for_ever() -> None:
    """No timeout is Istio's default; one target takes everything whatever its weight."""
    assert _route()["route"] == {"cluster": "outbound|80||a", **_NO_TIMEOUT}


def test_a_timeout_stands_alone() -> None:
    """Envoy takes no heed of it beside a ``max_stream_duration``, whatever that says."""
    action = _route(replace(FORWARD, timeout=timedelta(seconds=1, milliseconds=5)))["route"]
    assert action == {"cluster": "outbound|80||a", "timeout": "1.005s"}


def test_weights_share_the_requests() -> None:
    """Each share may change headers and the host of its own."""
    headers = Headers(request=HeaderOperations(set=(("Host", "b.example"), ("x-a", "1"))))
    targets = (
        ir.WeightedTarget(cluster="v1", weight=90, headers=headers),
        ir.WeightedTarget(cluster="v2", weight=10),
    )
    first, second = _route(ir.Forward(targets=targets))["route"]["weighted_clusters"]["clusters"]
    assert second == {"name": "v2", "weight": 10}
    assert (first["weight"], first["host_rewrite_literal"]) == (90, "b.example")
    (added,) = first["request_headers_to_add"]
    assert added["header"] == {"key": "x-a", "value": "1"}


def test_headers_are_set_added_and_removed() -> None:
    """``set`` overwrites and ``add`` appends; pseudo headers but the authority can't be changed."""
    operations = HeaderOperations(
        set=(("x-set", "1"), (":authority", "b.example"), (":path", "/no")),
        add=(("x-add", "2"),),
        remove=("x-gone",),
    )
    route = _route(headers=Headers(request=operations, response=operations))
    added = [
        {
            "header": {"key": "x-set", "value": "1"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        },
        {"header": {"key": "x-add", "value": "2"}},
    ]
    for direction in ("request", "response"):
        assert route[f"{direction}_headers_to_add"] == added
        assert route[f"{direction}_headers_to_remove"] == ["x-gone"]
    assert route["route"]["host_rewrite_literal"] == "b.example"


def test_a_rewrite_of_the_host_beats_a_set_header() -> None:
    """``rewrite.authority`` is the later word (Istio)."""
    headers = Headers(request=HeaderOperations(set=(("host", "header.example"),)))
    target = replace(FORWARD.targets[0], headers=headers)
    rewritten = replace(FORWARD, targets=(target,), host_rewrite="rewrite.example")
    assert _route(rewritten)["route"]["host_rewrite_literal"] == "rewrite.example"
    plain = replace(FORWARD, targets=(target,))
    assert _route(plain)["route"]["host_rewrite_literal"] == "header.example"


def test_paths_are_rewritten_by_prefix_or_regex() -> None:
    """The matched prefix, or what a regular expression finds."""
    assert _route(replace(FORWARD, prefix_rewrite="/b"))["route"]["prefix_rewrite"] == "/b"
    by_regex = _route(replace(FORWARD, regex_rewrite=("^/a(.*)", r"/b\1")))["route"]
    assert by_regex["regex_rewrite"] == {
        "pattern": {"regex": "^/a(.*)"},
        "substitution": r"/b\1",
    }


def test_a_request_is_tried_again_elsewhere() -> None:
    """Other endpoints first, and other localities where asked for."""
    retry = ir.RetryPolicy(
        attempts=3,
        retry_on=("connect-failure", "retriable-status-codes"),
        retriable_status_codes=(503,),
        per_try_timeout=timedelta(seconds=2),
        backoff=timedelta(milliseconds=50),
        remote_localities=True,
    )
    policy = _route(replace(FORWARD, retry=retry))["route"]["retry_policy"]
    (predicate,) = policy.pop("retry_host_predicate")
    priority = policy.pop("retry_priority")
    assert predicate["name"] == "envoy.retry_host_predicates.previous_hosts"
    assert priority["typed_config"]["update_frequency"] == 2
    assert policy == {
        "retry_on": "connect-failure,retriable-status-codes",
        "num_retries": 3,
        "retriable_status_codes": [503],
        "per_try_timeout": "2s",
        "retry_back_off": {"base_interval": "0.050s"},
        "host_selection_retry_max_attempts": "5",
    }


def test_the_same_endpoint_may_be_tried_again() -> None:
    """retryIgnorePreviousHosts false."""
    retry = ir.RetryPolicy(attempts=1, retry_on=("5xx",), avoid_previous_hosts=False)
    policy = _route(replace(FORWARD, retry=retry))["route"]["retry_policy"]
    assert policy == {"retry_on": "5xx", "num_retries": 1}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (ConsistentHash(http_header_name="user"), {"header": {"header_name": "user"}}),
        (ConsistentHash(http_query_parameter_name="q"), {"query_parameter": {"name": "q"}}),
        (ConsistentHash(use_source_ip=True), {"connection_properties": {"source_ip": True}}),
        (
            ConsistentHash(http_cookie=HashCookie(name="c", path="/p", ttl=timedelta(0))),
            {"cookie": {"name": "c", "path": "/p", "ttl": "0s"}},
        ),
        (ConsistentHash(http_cookie=HashCookie(name="c")), {"cookie": {"name": "c"}}),
        (
            ConsistentHash(http_cookie=HashCookie(name="c", attributes=(("SameSite", "Lax"),))),
            {"cookie": {"name": "c", "attributes": [{"name": "SameSite", "value": "Lax"}]}},
        ),
    ],
)
def test_a_consistent_hash_is_of_one_thing(key: ConsistentHash, said: dict[str, object]) -> None:
    """A cookie with a ttl is made where the client has none."""
    assert _route(replace(FORWARD, hash_on=(key,)))["route"]["hash_policy"] == [said]


# --- Redirects and answers --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("redirect", "said"),
    [
        (Redirect(uri="/b"), {"path_redirect": "/b"}),
        (Redirect(uri="%PREFIX()%/b"), {"prefix_rewrite": "/b"}),
        (Redirect(authority="b.example"), {"host_redirect": "b.example"}),
        (
            Redirect(scheme="https", code=308),
            {
                "scheme_redirect": "https",
                "response_code": "PERMANENT_REDIRECT",
            },
        ),
        (Redirect(port=8443), {"port_redirect": 8443}),
        (Redirect(derive_port="FROM_PROTOCOL_DEFAULT"), {}),
    ],
)
def test_a_redirect_says_what_changes(redirect: Redirect, said: dict[str, object]) -> None:
    """301 unless another code is given."""
    assert _route(redirect)["redirect"] == said


@pytest.mark.parametrize(
    "table",
    [
        "8080",
        "http.8080",
        "http.8080.10.0.0.9",
        "https.8080.https-2.door7.edge9",
        "a9.example:8080",
    ],
)
def test_a_redirect_may_keep_the_port_it_was_asked_on(table: str) -> None:
    """FROM_REQUEST_PORT: the listener's, by which every route configuration is named."""
    redirect = Redirect(derive_port="FROM_REQUEST_PORT")
    assert _route(redirect, table=table)["redirect"] == {"port_redirect": 8080}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", {"status": 418}),
        (b"text", {"status": 418, "body": {"inline_string": "text"}}),
        (b"\xff", {"status": 418, "body": {"inline_bytes": "/w=="}}),
    ],
)
def test_an_answer_may_be_text_or_bytes(body: bytes, said: dict[str, object]) -> None:
    """Text stays readable in a config dump."""
    assert _route(DirectResponse(status=418, body=body))["direct_response"] == said

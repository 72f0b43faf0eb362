"""Who decides of CUSTOM policies, in Envoy's words."""

from __future__ import annotations

from datetime import timedelta

import pytest
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import ExtAuthz
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network

from mizzen.ir import Anything, Authorization, PolicyRule, Question
from mizzen.model.providers import Authorizer, BodyInCheck, HttpCheck
from mizzen.render.chain import Chain, Side
from mizzen.render.filters.ext_authz import ask, ask_on_tcp

pytestmark = pytest.mark.unit

_CLUSTER = "outbound|80||judge.ops.svc.cluster.local"
_RULES = (PolicyRule(name="ns[a]-policy[b]-rule[0]", operation=Anything(), source=Anything()),)


def _question(authorizer: Authorizer) -> Question:
    return Question(authorizer=authorizer, cluster=_CLUSTER, rules=_RULES)


def _on_http(authorizer: Authorizer) -> tuple[RBAC, ExtAuthz]:
    found = Authorization(asked_http=(_question(authorizer),))
    rules, asked = ask(Chain(side=Side.INBOUND, authorization=found))
    assert (rules.name, asked.name) == (
        "envoy.filters.http.rbac",
        "envoy.filters.http.ext_authz",
    )
    return (
        RBAC.FromString(rules.typed_config.value),
        ExtAuthz.FromString(asked.typed_config.value),
    )


def test_nobody_is_asked_without_policies() -> None:
    """No filters."""
    nobody = Chain(side=Side.INBOUND)
    assert ask(nobody) == ask_on_tcp(nobody) == ()


def test_a_shadow_of_the_rules_says_when_to_ask() -> None:
    """Its policies have the provider's name before theirs, which the second filter looks for."""
    rules, asked = _on_http(Authorizer(name="judge", host="j.x", port=80))
    assert not rules.HasField("rules")
    assert list(rules.shadow_rules.policies) == ["istio-ext-authz-judge-ns[a]-policy[b]-rule[0]"]
    matcher = asked.filter_enabled_metadata
    assert rules.shadow_rules_stat_prefix == "istio_ext_authz_"
    assert matcher.filter == "envoy.filters.http.rbac"
    assert [part.key for part in matcher.path] == ["istio_ext_authz_shadow_effective_policy_id"]
    assert matcher.value.string_match.prefix == "istio-ext-authz-judge-ns["


def test_a_question_over_grpc() -> None:
    """With ten minutes of time where nothing is written, and an authority without bars."""
    _, asked = _on_http(Authorizer(name="judge", host="j.x", port=80))
    service = asked.grpc_service
    assert service.envoy_grpc.cluster_name == _CLUSTER
    assert service.envoy_grpc.authority == "outbound_.80_._.judge.ops.svc.cluster.local"
    assert service.timeout.seconds == 600
    assert not asked.failure_mode_allow
    assert not asked.HasField("status_on_error")
    assert not asked.HasField("with_request_body")


def test_a_question_over_http() -> None:
    """With everything that can be written."""
    how = HttpCheck(
        path_prefix="/check",
        shown=("x-a", "x-*", "*-b"),
        added=(("x-from", "mesh"),),
        to_upstream=("x-user",),
        to_client=("location",),
        to_client_on_allow=("x-ok",),
    )
    authorizer = Authorizer(
        name="judge",
        host="j.x",
        port=80,
        http=how,
        timeout=timedelta(seconds=2),
        fail_open=True,
        status_on_error=503,
        clear_route_cache=True,
        body=BodyInCheck(max_bytes=9, partial=True, raw=True),
    )
    _, asked = _on_http(authorizer)
    service = asked.http_service
    assert (service.path_prefix, service.server_uri.cluster) == ("/check", _CLUSTER)
    assert service.server_uri.timeout.seconds == 2
    (header,) = service.authorization_request.headers_to_add
    assert (header.key, header.value) == ("x-from", "mesh")
    exact, prefix, suffix = asked.allowed_headers.patterns
    assert (exact.exact, prefix.prefix, suffix.suffix) == ("x-a", "x-", "-b")
    assert all(one.ignore_case for one in (exact, prefix, suffix))
    answer = service.authorization_response
    for names, wanted in (
        (answer.allowed_upstream_headers, "x-user"),
        (answer.allowed_client_headers, "location"),
        (answer.allowed_client_headers_on_success, "x-ok"),
    ):
        assert [one.exact for one in names.patterns] == [wanted]
    assert asked.failure_mode_allow
    assert asked.clear_route_cache
    assert asked.status_on_error.code == 503
    body = asked.with_request_body
    assert (body.max_request_bytes, body.allow_partial_message, body.pack_as_bytes) == (
        *(9, True, True),
    )


def test_connections_are_asked_about_over_grpc() -> None:
    """The same two filters, of the network."""
    question = _question(Authorizer(name="judge", host="j.x", port=80, fail_open=True))
    found = Authorization(asked_tcp=(question,))
    rules, asked = ask_on_tcp(Chain(side=Side.INBOUND, authorization=found))
    assert rules.name == "envoy.filters.network.rbac"
    config = network.ExtAuthz.FromString(asked.typed_config.value)
    assert config.grpc_service.envoy_grpc.cluster_name == _CLUSTER
    assert config.failure_mode_allow
    assert config.filter_enabled_metadata.filter == "envoy.filters.network.rbac"

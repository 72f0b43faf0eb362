"""Authorization: each word of a policy in Envoy's RBAC, and the filters that ask."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from google.protobuf.json_format import MessageToDict

from mizzen import ir
from mizzen.model.security import PolicyAction
from mizzen.render.chain import Chain, Side
from mizzen.render.filters.order import http_filters, network_filters
from mizzen.render.rbac import fill_permission, fill_principal, render_rules

_PREFIX = ir.Text(ir.TextKind.PREFIX, "a")


def _permission(predicate: ir.Predicate) -> dict[str, Any]:
    message = Permission()
    fill_permission(message, predicate)
    return MessageToDict(message, preserving_proto_field_name=True)


def _principal(predicate: ir.Predicate) -> dict[str, Any]:
    message = Principal()
    fill_principal(message, predicate)
    return MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        (ir.Anything(), {"any": True}),
        (ir.AllOf(()), {"any": True}),
        (ir.Never(), {"not_rule": {"any": True}}),
        (ir.AnyOf(()), {"not_rule": {"any": True}}),
        (ir.Not(ir.DestinationPort(80)), {"not_rule": {"destination_port": 80}}),
        (
            ir.AllOf((ir.DestinationPort(80), ir.DestinationPort(81))),
            {"and_rules": {"rules": [{"destination_port": 80}, {"destination_port": 81}]}},
        ),
        (
            ir.AnyOf((ir.DestinationPort(80), ir.DestinationPort(81))),
            {"or_rules": {"rules": [{"destination_port": 80}, {"destination_port": 81}]}},
        ),
        (
            ir.DestinationAddress("10.0.0.0/8"),
            {"destination_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}},
        ),
        (ir.ServerName(_PREFIX), {"requested_server_name": {"prefix": "a"}}),
        (ir.RequestPath(_PREFIX), {"url_path": {"path": {"prefix": "a"}}}),
        (
            ir.RequestHeader(":method", ir.Text(ir.TextKind.EXACT, "GET")),
            {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
        ),
        (
            ir.RequestHeader("x-a", ir.Text(ir.TextKind.PRESENT)),
            {"header": {"name": "x-a", "present_match": True}},
        ),
    ],
)
def test_what_is_asked_for_is_a_permission(
    predicate: ir.Predicate, said: dict[str, object]
) -> None:
    """Word by word, and the boolean language around them."""
    assert _permission(predicate) == said


def test_a_path_template_is_matched_by_segments() -> None:
    """Envoy's URI template matcher."""
    config = _permission(ir.RequestPathTemplate("/a/*/**"))["uri_template"]["typed_config"]
    assert config["path_template"] == "/a/*/**"


@pytest.mark.parametrize(
    ("predicate", "said"),
    [
        (ir.Anything(), {"any": True}),
        (ir.AllOf(()), {"any": True}),
        (ir.Never(), {"not_id": {"any": True}}),
        (ir.AnyOf(()), {"not_id": {"any": True}}),
        (
            ir.Not(ir.SourceAddress("10.0.0.1")),
            {"not_id": {"direct_remote_ip": {"address_prefix": "10.0.0.1", "prefix_len": 32}}},
        ),
        (
            ir.AllOf((ir.Anything(), ir.Never())),
            {"and_ids": {"ids": [{"any": True}, {"not_id": {"any": True}}]}},
        ),
        (
            ir.AnyOf((ir.Anything(), ir.Never())),
            {"or_ids": {"ids": [{"any": True}, {"not_id": {"any": True}}]}},
        ),
        (
            ir.SourceAddress("fd00::1", original=True),
            {"remote_ip": {"address_prefix": "fd00::1", "prefix_len": 128}},
        ),
        (
            ir.PeerIdentity(ir.Text(ir.TextKind.SUFFIX, "/sa/a")),
            {"authenticated": {"principal_name": {"suffix": "/sa/a"}}},
        ),
        (
            ir.RequestHeader("x-a", ir.Text(ir.TextKind.EXACT, "b", ignore_case=True)),
            {"header": {"name": "x-a", "string_match": {"exact": "b", "ignore_case": True}}},
        ),
    ],
)
def test_who_asks_is_a_principal(predicate: ir.Predicate, said: dict[str, object]) -> None:
    """Word by word, and the boolean language around them."""
    assert _principal(predicate) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ir.Text(ir.TextKind.REGEX, "a.*", ignore_case=True), {"safe_regex": {"regex": "a.*"}}),
        (ir.Text(ir.TextKind.PRESENT), {"safe_regex": {"regex": ".+"}}),
    ],
)
def test_a_text_that_is_there_is_any_text(text: ir.Text, said: dict[str, object]) -> None:
    """RE2 has its own way of ignoring case, and presence is one character or more."""
    assert _principal(ir.PeerIdentity(text)) == {"authenticated": {"principal_name": said}}


def test_a_claim_is_a_text_or_a_list_of_them() -> None:
    """Read from what the JWT filter left behind."""
    found = _principal(ir.TokenClaim(("groups", "inner"), _PREFIX))["sourced_metadata"]
    matcher = found["metadata_matcher"]
    assert matcher["filter"] == "envoy.filters.http.jwt_authn"
    assert [step["key"] for step in matcher["path"]] == ["payload", "groups", "inner"]
    text = {"string_match": {"prefix": "a"}}
    either = [text, {"list_match": {"one_of": text}}]
    assert matcher["value"]["or_match"]["value_matchers"] == either


def test_a_word_in_the_wrong_half_is_a_broken_program() -> None:
    """Envoy has no such principal, and a rule that silently lost a word would be a hole."""
    with pytest.raises(TypeError, match="DestinationPort"):
        _principal(ir.DestinationPort(80))
    with pytest.raises(TypeError, match="PeerIdentity"):
        _permission(ir.PeerIdentity(_PREFIX))


def _rule(name: str) -> ir.PolicyRule:
    return ir.PolicyRule(name=name, operation=ir.Anything(), source=ir.Anything())


def test_rules_are_keyed_by_name() -> None:
    """The name is what an access log tells of a refusal."""
    rules = ir.RuleSet(action=PolicyAction.DENY, rules=(_rule("b"), _rule("a")))
    rendered = render_rules(rules)
    assert sorted(rendered.policies) == ["a", "b"]
    assert MessageToDict(rendered)["action"] == "DENY"


_DENY = ir.RuleSet(action=PolicyAction.DENY, rules=(_rule("d"),))
_ALLOW = ir.RuleSet(action=PolicyAction.ALLOW, rules=(_rule("a"),))


def _asked(authorization: ir.Authorization) -> tuple[list[str], list[str]]:
    """Return the actions that are asked on HTTP and on TCP, in order."""
    chain = Chain(side=Side.INBOUND, authorization=authorization)
    found = []
    for filters in (http_filters(chain), network_filters(chain)):
        shown = [MessageToDict(item)["typedConfig"] for item in filters]
        found.append([one["rules"].get("action", "ALLOW") for one in shown if "rules" in one])
    return found[0], found[1]


def test_denial_comes_first() -> None:
    """In whatever order the sets stand."""
    both = ir.Authorization(http=(_ALLOW, _DENY), tcp=(_ALLOW, _DENY))
    assert _asked(both) == (["DENY", "ALLOW"], ["DENY", "ALLOW"])


def test_an_empty_allow_closes_and_an_empty_deny_is_nothing() -> None:
    """No rule can match: so nothing is allowed, or nothing is denied."""
    empty = tuple(ir.RuleSet(action=action) for action in (PolicyAction.DENY, PolicyAction.ALLOW))
    assert _asked(ir.Authorization(http=empty, tcp=empty)) == (["ALLOW"], ["ALLOW"])
    assert _asked(ir.OPEN) == ([], [])


def test_what_is_audited_is_logged_before_it_is_denied() -> None:
    """On HTTP and TCP; without rules there is nothing to log."""
    audit = ir.RuleSet(action=PolicyAction.AUDIT, rules=(_rule("l"),))
    both = ir.Authorization(http=(_DENY, audit), tcp=(_DENY, audit))
    assert _asked(both) == (["LOG", "DENY"], ["LOG", "DENY"])
    empty = ir.RuleSet(action=PolicyAction.AUDIT)
    assert _asked(ir.Authorization(http=(empty,), tcp=(empty,))) == ([], [])


@pytest.mark.parametrize("action", [PolicyAction.ALLOW, PolicyAction.DENY])
def test_a_dry_run_is_only_counted(action: PolicyAction) -> None:
    """Its rules are shadow rules, under Istio's prefix, and nothing is enforced."""
    dry = ir.RuleSet(action=action, rules=(_rule("a"),), dry_run=True)
    authorization = ir.Authorization(http=(dry,), tcp=(dry,))
    chain = Chain(side=Side.INBOUND, authorization=authorization)
    for filters in (http_filters(chain), network_filters(chain)):
        (shown,) = (
            config
            for config in (MessageToDict(item)["typedConfig"] for item in filters)
            if "shadowRules" in config
        )
        assert "rules" not in shown
        assert shown["shadowRulesStatPrefix"] == f"istio_dry_run_{action.value.lower()}_"
        assert sorted(shown["shadowRules"]["policies"]) == ["a"]


@pytest.mark.parametrize("listed", [False, True])
def test_the_metadata_of_another_filter_is_a_text_or_has_one_in_its_list(*, listed: bool) -> None:
    """By the filter's name and one entry."""
    asked = ir.FilterMetadata("envoy.filters.network.mysql_proxy", "db.t", _PREFIX, listed)
    matcher = _permission(asked)["sourced_metadata"]["metadata_matcher"]
    assert matcher["filter"] == "envoy.filters.network.mysql_proxy"
    assert matcher["path"] == [{"key": "db.t"}]
    text = {"string_match": {"prefix": "a"}}
    assert matcher["value"] == ({"list_match": {"one_of": text}} if listed else text)

"""Predicates of authorization as Envoy's RBAC says them.

A rule has two halves: what is asked for becomes permissions, who asks becomes principals (Istio:
``pilot/pkg/security/authz/builder``). Both are the same small boolean language with different words;
a word that a half doesn't have is a broken program, because ``resolve`` sorts them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Principal, SourcedMetadata
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.extensions.path.match.uri_template.v3.uri_template_match_pb2 import (
    UriTemplateMatchConfig,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from mizzen import ir
from mizzen.model.security import PolicyAction
from mizzen.render.proto import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envoy.config.core.v3.address_pb2 import CidrRange
    from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http
    from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network

_ACTIONS: Final = {
    PolicyAction.ALLOW: RBAC.ALLOW,
    PolicyAction.DENY: RBAC.DENY,
    PolicyAction.AUDIT: RBAC.LOG,
}
_TOKEN_FILTER: Final = "envoy.filters.http.jwt_authn"  # noqa: S105 - the name of a filter
_TOKEN_PAYLOAD: Final = "payload"  # noqa: S105 - a key in dynamic metadata
_URI_TEMPLATE: Final = "envoy.path.match.uri_template.uri_template_matcher"


def sets_of(sets: Iterable[ir.RuleSet], action: PolicyAction) -> Iterator[ir.RuleSet]:
    """Yield the sets of an action that need a filter; without rules only ALLOW does anything."""
    for rule_set in sets:
        if rule_set.action is action and (rule_set.rules or action is PolicyAction.ALLOW):
            yield rule_set


def fill_rules(config: http.RBAC | network.RBAC, rule_set: ir.RuleSet) -> None:
    """Write a set into one filter, as what is enforced or as what is only counted."""
    rules = render_rules(rule_set)
    if not rule_set.dry_run:
        config.rules.CopyFrom(rules)
        return
    config.shadow_rules.CopyFrom(rules)
    # Istio's, which tools read from statistics and metadata.
    config.shadow_rules_stat_prefix = f"istio_dry_run_{rule_set.action.value.lower()}_"


def render_rules(rule_set: ir.RuleSet) -> RBAC:
    """Return one filter's rules. Policies are keyed by name; without any, ALLOW allows nothing."""
    rules = RBAC(action=_ACTIONS[rule_set.action])
    fill_policies(rules, rule_set.rules)
    return rules


def fill_policies(rules: RBAC, wanted: Iterable[ir.PolicyRule], *, prefix: str = "") -> None:
    """Write rules under their names, with the prefix before them."""
    for rule in wanted:
        policy = rules.policies[f"{prefix}{rule.name}"]
        fill_permission(policy.permissions.add(), rule.operation)
        fill_principal(policy.principals.add(), rule.source)


def fill_permission(message: Permission, predicate: ir.Predicate) -> None:
    """Write what is asked for."""
    match predicate:
        case ir.Anything() | ir.AllOf(terms=()):
            message.any = True
        case ir.Never() | ir.AnyOf(terms=()):
            message.not_rule.any = True
        case ir.AllOf(terms=terms):
            for term in terms:
                fill_permission(message.and_rules.rules.add(), term)
        case ir.AnyOf(terms=terms):
            for term in terms:
                fill_permission(message.or_rules.rules.add(), term)
        case ir.Not(term=term):
            fill_permission(message.not_rule, term)
        case _:
            _fill_permission_word(message, predicate)


def _fill_permission_word(message: Permission, predicate: ir.Predicate) -> None:
    match predicate:
        case ir.DestinationAddress(cidr=cidr):
            _fill_cidr(message.destination_ip, cidr)
        case ir.DestinationPort(port=port):
            message.destination_port = port
        case ir.ServerName(text=text):
            _fill_text(message.requested_server_name, text)
        case ir.RequestPathTemplate(template=template):
            message.uri_template.name = _URI_TEMPLATE
            config = UriTemplateMatchConfig(path_template=template)
            message.uri_template.typed_config.CopyFrom(pack(config))
        case ir.FilterMetadata():
            _fill_metadata(message.sourced_metadata, predicate)
        case ir.RequestHeader() | ir.RequestPath() | ir.TokenClaim():
            _fill_request_word(message, predicate)
        case _:
            _misplaced(predicate, "operation")


def fill_principal(message: Principal, predicate: ir.Predicate) -> None:
    """Write who asks."""
    match predicate:
        case ir.Anything() | ir.AllOf(terms=()):
            message.any = True
        case ir.Never() | ir.AnyOf(terms=()):
            message.not_id.any = True
        case ir.AllOf(terms=terms):
            for term in terms:
                fill_principal(message.and_ids.ids.add(), term)
        case ir.AnyOf(terms=terms):
            for term in terms:
                fill_principal(message.or_ids.ids.add(), term)
        case ir.Not(term=term):
            fill_principal(message.not_id, term)
        case _:
            _fill_principal_word(message, predicate)


def _fill_principal_word(message: Principal, predicate: ir.Predicate) -> None:
    match predicate:
        case ir.PeerIdentity(text=text):
            _fill_text(message.authenticated.principal_name, text)
        case ir.SourceAddress(cidr=cidr, original=True):
            _fill_cidr(message.remote_ip, cidr)
        case ir.SourceAddress(cidr=cidr):
            _fill_cidr(message.direct_remote_ip, cidr)
        case ir.RequestHeader() | ir.RequestPath() | ir.TokenClaim():
            _fill_request_word(message, predicate)
        case _:
            _misplaced(predicate, "source")


def _fill_request_word(
    message: Permission | Principal,
    predicate: ir.RequestHeader | ir.RequestPath | ir.TokenClaim,
) -> None:
    """Write one of the words that both halves have under the same name."""
    match predicate:
        case ir.RequestHeader(name=name, text=text):
            _fill_header(message.header, name, text)
        case ir.RequestPath(text=text):
            _fill_text(message.url_path.path, text)
        case ir.TokenClaim():
            _fill_claim(message.sourced_metadata, predicate)


def _fill_header(message: HeaderMatcher, name: str, text: ir.Text) -> None:
    message.name = name
    if text.kind is ir.TextKind.PRESENT:
        message.present_match = True
    else:
        _fill_text(message.string_match, text)


def _fill_claim(message: SourcedMetadata, claim: ir.TokenClaim) -> None:
    """Write a comparison of a claim that is a text, or a list of them."""
    matcher = message.metadata_matcher
    matcher.filter = _TOKEN_FILTER
    for key in (_TOKEN_PAYLOAD, *claim.path):
        matcher.path.add().key = key
    alternatives = matcher.value.or_match.value_matchers
    _fill_text(alternatives.add().string_match, claim.text)
    _fill_text(alternatives.add().list_match.one_of.string_match, claim.text)


def _fill_metadata(message: SourcedMetadata, asked: ir.FilterMetadata) -> None:
    matcher = message.metadata_matcher
    matcher.filter = asked.filter
    matcher.path.add().key = asked.entry
    value = matcher.value.list_match.one_of if asked.listed else matcher.value
    _fill_text(value.string_match, asked.text)


def _fill_text(message: StringMatcher, text: ir.Text) -> None:
    match text.kind:
        case ir.TextKind.EXACT:
            message.exact = text.value
        case ir.TextKind.PREFIX:
            message.prefix = text.value
        case ir.TextKind.SUFFIX:
            message.suffix = text.value
        case ir.TextKind.REGEX:
            message.safe_regex.regex = text.value
        case ir.TextKind.PRESENT:
            message.safe_regex.regex = ".+"
    if text.ignore_case and text.kind in (
        ir.TextKind.EXACT,
        ir.TextKind.PREFIX,
        ir.TextKind.SUFFIX,
    ):
        message.ignore_case = True


def _fill_cidr(message: CidrRange, cidr: str) -> None:
    """Write an address range; a bare address is itself alone."""
    prefix, _, length = cidr.partition("/")
    message.address_prefix = prefix
    message.prefix_len.value = int(length) if length else (128 if ":" in prefix else 32)


def _misplaced(predicate: ir.Predicate, half: str) -> NoReturn:
    message = f"{type(predicate).__name__} can't stand in a rule's {half}"
    raise TypeError(message)

"""Authorization of requests: AuthorizationPolicies on HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.model.security import PolicyAction
from mizzen.render.proto import pack
from mizzen.render.rbac import render_rules

if TYPE_CHECKING:
    from mizzen.ir import RuleSet
    from mizzen.render.chain import Chain


def deny(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter of all DENY rules; none where there are no rules, which would deny nothing."""
    return tuple(
        _filter(rule_set)
        for rule_set in chain.authorization.http
        if rule_set.action is PolicyAction.DENY and rule_set.rules
    )


def allow(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter of all ALLOW rules; without rules it is there and allows nothing."""
    return tuple(
        _filter(rule_set)
        for rule_set in chain.authorization.http
        if rule_set.action is PolicyAction.ALLOW
    )


def _filter(rule_set: RuleSet) -> HttpFilter:
    config = RBAC(rules=render_rules(rule_set))
    return HttpFilter(name="envoy.filters.http.rbac", typed_config=pack(config))

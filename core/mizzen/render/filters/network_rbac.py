"""Authorization of connections: AuthorizationPolicies on TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from mizzen.model.security import PolicyAction
from mizzen.render.proto import pack
from mizzen.render.rbac import render_rules

if TYPE_CHECKING:
    from mizzen.ir import RuleSet
    from mizzen.render.chain import Chain

_STAT_PREFIX: Final = "tcp."  # Istio's, which dashboards read


def deny(chain: Chain) -> tuple[Filter, ...]:
    """Return the filter of all DENY rules; none where there are no rules, which would deny nothing."""
    return tuple(
        _filter(rule_set)
        for rule_set in chain.authorization.tcp
        if rule_set.action is PolicyAction.DENY and rule_set.rules
    )


def allow(chain: Chain) -> tuple[Filter, ...]:
    """Return the filter of all ALLOW rules; without rules it is there and allows nothing."""
    return tuple(
        _filter(rule_set)
        for rule_set in chain.authorization.tcp
        if rule_set.action is PolicyAction.ALLOW
    )


def _filter(rule_set: RuleSet) -> Filter:
    config = RBAC(rules=render_rules(rule_set), stat_prefix=_STAT_PREFIX)
    return Filter(name="envoy.filters.network.rbac", typed_config=pack(config))

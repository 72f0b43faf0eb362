"""Authorization of connections: AuthorizationPolicies on TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC

from mizzen.model.security import PolicyAction
from mizzen.render.proto import pack
from mizzen.render.rbac import fill_rules, sets_of

if TYPE_CHECKING:
    from mizzen.ir import RuleSet
    from mizzen.render.chain import Chain

_STAT_PREFIX: Final = "tcp."  # Istio's, which dashboards read


def audit(chain: Chain) -> tuple[Filter, ...]:
    """Return the filter that marks what AUDIT rules match, for whoever logs it."""
    return _filters(chain, PolicyAction.AUDIT)


def deny(chain: Chain) -> tuple[Filter, ...]:
    """Return the filter of all DENY rules; none where there are no rules, which would deny nothing."""
    return _filters(chain, PolicyAction.DENY)


def allow(chain: Chain) -> tuple[Filter, ...]:
    """Return the filter of all ALLOW rules; without rules it is there and allows nothing."""
    return _filters(chain, PolicyAction.ALLOW)


def _filters(chain: Chain, action: PolicyAction) -> tuple[Filter, ...]:
    return tuple(_filter(rules) for rules in sets_of(chain.authorization.tcp, action))


def _filter(rule_set: RuleSet) -> Filter:
    config = RBAC(stat_prefix=_STAT_PREFIX)
    fill_rules(config, rule_set)
    return Filter(name="envoy.filters.network.rbac", typed_config=pack(config))

"""Authorization of requests: AuthorizationPolicies on HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)

from mizzen.model.security import PolicyAction
from mizzen.render.proto import pack
from mizzen.render.rbac import fill_rules, sets_of

if TYPE_CHECKING:
    from mizzen.ir import RuleSet
    from mizzen.render.chain import Chain


def audit(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter that marks what AUDIT rules match, for whoever logs it."""
    return _filters(chain, PolicyAction.AUDIT)


def deny(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter of all DENY rules; none where there are no rules, which would deny nothing."""
    return _filters(chain, PolicyAction.DENY)


def allow(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filter of all ALLOW rules; without rules it is there and allows nothing."""
    return _filters(chain, PolicyAction.ALLOW)


def _filters(chain: Chain, action: PolicyAction) -> tuple[HttpFilter, ...]:
    return tuple(_filter(rules) for rules in sets_of(chain.authorization.http, action))


def _filter(rule_set: RuleSet) -> HttpFilter:
    config = RBAC()
    fill_rules(config, rule_set)
    return HttpFilter(name="envoy.filters.http.rbac", typed_config=pack(config))

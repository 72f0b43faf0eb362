"""Sending a request on: where, for how long, how often, hashed by what, renamed how."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final

from envoy.config.route.v3.route_components_pb2 import RetryPolicy as RetryPolicyMessage
from envoy.config.route.v3.route_components_pb2 import Route as RouteMessage
from envoy.config.route.v3.route_components_pb2 import RouteAction
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)

from mizzen.model.traffic import ConsistentHash
from mizzen.render.headers import apply_headers, authority_set
from mizzen.render.proto import duration, pack, share_of_requests, zero

if TYPE_CHECKING:
    from mizzen.ir import Copies, Forward, RetryPolicy

# Istio: how often another endpoint is looked for that hasn't failed this request yet.
_HOST_ATTEMPTS: Final = 5
# Istio: localities that failed are left out after this many tries.
_PRIORITY_UPDATE_FREQUENCY: Final = 2


def fill_forward(message: RouteMessage, forward: Forward) -> None:
    """Write a forwarding action, and what its only target changes of the headers."""
    action = message.route
    _fill_targets(message, forward)
    if forward.timeout:
        # Nothing of max_stream_duration beside it: Envoy then takes no heed of ``timeout`` at all
        # (router.cc, ``usingNewTimeouts``). So gRPC's own header is left to the application.
        action.timeout.CopyFrom(duration(forward.timeout))
    else:
        action.MergeFrom(no_timeout())
    if forward.retry is not None:
        action.retry_policy.CopyFrom(retry_policy(forward.retry))
    if forward.prefix_rewrite:
        action.prefix_rewrite = forward.prefix_rewrite
    if forward.regex_rewrite is not None:
        pattern, substitution = forward.regex_rewrite
        action.regex_rewrite.pattern.regex = pattern
        action.regex_rewrite.substitution = substitution
    if forward.host_rewrite:
        action.host_rewrite_literal = forward.host_rewrite
    for key in forward.hash_on:
        _fill_hash(action.hash_policy.add(), key)
    for copies in forward.copies:
        _fill_copies(action.request_mirror_policies.add(), copies)


def _fill_copies(message: RouteAction.RequestMirrorPolicy, copies: Copies) -> None:
    """Write where copies go; they keep the request's host, and no trace of theirs is begun (Istio)."""
    message.cluster = copies.cluster
    message.runtime_fraction.default_value.CopyFrom(share_of_requests(copies.percent))
    message.trace_sampled.value = False
    message.disable_shadow_host_suffix_append = True


def _fill_targets(message: RouteMessage, forward: Forward) -> None:
    action = message.route
    if len(forward.targets) == 1:
        (target,) = forward.targets
        action.cluster = target.cluster
        apply_headers(message, target.headers)
        if host := authority_set(target.headers):
            action.host_rewrite_literal = host
        return
    for target in forward.targets:
        share = action.weighted_clusters.clusters.add(name=target.cluster)
        share.weight.value = target.weight
        apply_headers(share, target.headers)
        if host := authority_set(target.headers):
            share.host_rewrite_literal = host


@cache
def no_timeout() -> RouteAction:
    """Return an action that says only that a request may take for ever, gRPC included."""
    action = RouteAction(timeout=zero())
    action.max_stream_duration.max_stream_duration.CopyFrom(zero())
    action.max_stream_duration.grpc_timeout_header_max.CopyFrom(zero())
    return action


# Few different policies serve all routes.
@lru_cache(maxsize=1024)
def retry_policy(wanted: RetryPolicy) -> RetryPolicyMessage:
    """Return a retry policy; the same message for equal policies."""
    message = RetryPolicyMessage(retry_on=",".join(wanted.retry_on))
    message.num_retries.value = wanted.attempts
    message.retriable_status_codes.extend(wanted.retriable_status_codes)
    if wanted.per_try_timeout is not None:
        message.per_try_timeout.CopyFrom(duration(wanted.per_try_timeout))
    if wanted.backoff is not None:
        message.retry_back_off.base_interval.CopyFrom(duration(wanted.backoff))
    if wanted.avoid_previous_hosts:
        message.host_selection_retry_max_attempts = _HOST_ATTEMPTS
        message.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=pack(PreviousHostsPredicate()),
        )
    if wanted.remote_localities:
        message.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        config = PreviousPrioritiesConfig(update_frequency=_PRIORITY_UPDATE_FREQUENCY)
        message.retry_priority.typed_config.CopyFrom(pack(config))
    return message


def _fill_hash(message: RouteAction.HashPolicy, key: ConsistentHash) -> None:
    """Write the one thing that a consistent hash is made of."""
    if key.http_header_name:
        message.header.header_name = key.http_header_name
    elif key.http_cookie is not None:
        message.cookie.name = key.http_cookie.name
        message.cookie.path = key.http_cookie.path
        if key.http_cookie.ttl is not None:
            message.cookie.ttl.CopyFrom(duration(key.http_cookie.ttl))
        for name, value in key.http_cookie.attributes:
            message.cookie.attributes.add(name=name, value=value)
    elif key.http_query_parameter_name:
        message.query_parameter.name = key.http_query_parameter_name
    elif key.use_source_ip:
        message.connection_properties.source_ip = True

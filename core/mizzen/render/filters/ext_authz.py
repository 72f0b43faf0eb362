"""External authorization: CUSTOM policies, of which somebody else decides.

For each provider two filters. The first enforces nothing: it is a shadow of the policies' rules, and leaves
the name of the one that matches in its metadata. The second asks where it finds a name of its own
provider there (Istio: ``authz/builder/extauthz.go``).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.config_source_pb2 import V3
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3.rbac_pb2 import RBAC as RULES
from envoy.extensions.filters.http.ext_authz.v3.ext_authz_pb2 import (
    AuthorizationResponse,
    ExtAuthz,
    HttpService,
)
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpFilter,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from envoy.type.matcher.v3.string_pb2 import ListStringMatcher

from mizzen.render.proto import duration, pack
from mizzen.render.rbac import fill_policies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher

    from mizzen.ir import Question
    from mizzen.model.providers import Authorizer, BodyInCheck, HttpCheck
    from mizzen.render.chain import Chain

_HTTP: Final = "envoy.filters.http.ext_authz"
_HTTP_RULES: Final = "envoy.filters.http.rbac"
_TCP: Final = "envoy.filters.network.ext_authz"
_TCP_RULES: Final = "envoy.filters.network.rbac"
_STAT_PREFIX: Final = "tcp."  # Istio's, which dashboards read
_SHADOW: Final = "istio_ext_authz_"  # Istio's
_MATCHED: Final = f"{_SHADOW}shadow_effective_policy_id"
_TIMEOUT: Final = timedelta(minutes=10)  # Istio


def ask(chain: Chain) -> tuple[HttpFilter, ...]:
    """Return the filters that ask of requests; none where no CUSTOM policy holds."""
    return tuple(one for asked in chain.authorization.asked_http for one in _http_filters(asked))


def ask_on_tcp(chain: Chain) -> tuple[Filter, ...]:
    """Return the filters that ask of connections, of providers that are asked over gRPC."""
    return tuple(one for asked in chain.authorization.asked_tcp for one in _tcp_filters(asked))


def _http_filters(asked: Question) -> Iterable[HttpFilter]:
    rules = RBAC(shadow_rules=_rules(asked), shadow_rules_stat_prefix=_SHADOW)
    yield HttpFilter(name=_HTTP_RULES, typed_config=pack(rules))
    yield HttpFilter(name=_HTTP, typed_config=pack(_http(asked)))


def _tcp_filters(asked: Question) -> Iterable[Filter]:
    rules = network_rbac.RBAC(
        stat_prefix=_STAT_PREFIX, shadow_rules=_rules(asked), shadow_rules_stat_prefix=_SHADOW
    )
    yield Filter(name=_TCP_RULES, typed_config=pack(rules))
    config = network.ExtAuthz(
        stat_prefix=_STAT_PREFIX,
        failure_mode_allow=asked.authorizer.fail_open,
        transport_api_version=V3,
        grpc_service=_grpc(asked),
    )
    _fill_enabled(config.filter_enabled_metadata, _TCP_RULES, asked.authorizer)
    yield Filter(name=_TCP, typed_config=pack(config))


def _rules(asked: Question) -> RULES:
    """Return the rules of which it is noted that they match; what DENY matches has a name."""
    rules = RULES(action=RULES.DENY)
    fill_policies(rules, asked.rules, prefix=_prefix(asked.authorizer))
    return rules


def _prefix(authorizer: Authorizer) -> str:
    return f"istio-ext-authz-{authorizer.name}-"


def _fill_enabled(matcher: MetadataMatcher, rules: str, authorizer: Authorizer) -> None:
    """Write: where a rule of this provider matched, whose name is not the beginning of another's."""
    matcher.filter = rules
    matcher.path.add().key = _MATCHED
    matcher.value.string_match.prefix = f"{_prefix(authorizer)}ns["


def _http(asked: Question) -> ExtAuthz:
    authorizer = asked.authorizer
    config = ExtAuthz(
        failure_mode_allow=authorizer.fail_open,
        clear_route_cache=authorizer.clear_route_cache,
        transport_api_version=V3,
    )
    _fill_enabled(config.filter_enabled_metadata, _HTTP_RULES, authorizer)
    if authorizer.status_on_error:
        config.status_on_error.code = authorizer.status_on_error
    if authorizer.body is not None:
        _fill_body(config, authorizer.body)
    if authorizer.http is None:
        config.grpc_service.CopyFrom(_grpc(asked))
        return config
    _fill_service(config.http_service, asked, authorizer.http)
    if authorizer.http.shown:
        config.allowed_headers.CopyFrom(_names(authorizer.http.shown))
    return config


def _fill_body(config: ExtAuthz, body: BodyInCheck) -> None:
    config.with_request_body.max_request_bytes = body.max_bytes
    config.with_request_body.allow_partial_message = body.partial
    config.with_request_body.pack_as_bytes = body.raw


def _grpc(asked: Question) -> GrpcService:
    service = GrpcService(timeout=duration(asked.authorizer.timeout or _TIMEOUT))
    service.envoy_grpc.cluster_name = asked.cluster
    # An authority with the bars of a cluster's name is refused by servers (Istio).
    service.envoy_grpc.authority = asked.cluster.replace("|", "_.")
    return service


def _fill_service(service: HttpService, asked: Question, how: HttpCheck) -> None:
    service.path_prefix = how.path_prefix
    service.server_uri.uri = f"http://{asked.authorizer.host}"
    service.server_uri.cluster = asked.cluster
    service.server_uri.timeout.CopyFrom(duration(asked.authorizer.timeout or _TIMEOUT))
    for name, value in how.added:
        service.authorization_request.headers_to_add.add(key=name, value=value)
    _fill_answer(service.authorization_response, how)


def _fill_answer(answer: AuthorizationResponse, how: HttpCheck) -> None:
    for field, names in (
        (answer.allowed_upstream_headers, how.to_upstream),
        (answer.allowed_client_headers, how.to_client),
        (answer.allowed_client_headers_on_success, how.to_client_on_allow),
    ):
        if names:
            field.CopyFrom(_names(names))


def _names(names: tuple[str, ...]) -> ListStringMatcher:
    """Return a comparison of headers' names, in any case, with a ``*`` at an end."""
    matcher = ListStringMatcher()
    for name in names:
        pattern = matcher.patterns.add(ignore_case=True)
        if name.startswith("*"):
            pattern.suffix = name[1:]
        elif name.endswith("*"):
            pattern.prefix = name[:-1]
        else:
            pattern.exact = name
    return matcher

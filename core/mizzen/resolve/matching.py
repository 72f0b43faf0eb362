"""From one rule of a VirtualService to routes: which matches apply here, and what is done then.

What can be told in advance (port, gateway, the source's labels and namespace) is decided here and never
reaches a proxy. Each alternative of ``match`` is a route of its own, in the order written; the first one
that matches every request ends the list, since nothing after it could ever be reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mizzen.engine import query
from mizzen.ir import (
    Copies,
    Forward,
    RequestMatch,
    RetryPolicy,
    Route,
    RouteAction,
    WeightedTarget,
)
from mizzen.model.meta import NO_LABELS, Labels, selects
from mizzen.model.proxy import Scope
from mizzen.model.routing import (
    Destination,
    HeaderOperations,
    Headers,
    HttpMatch,
    HttpRoute,
    MatchKind,
    Retries,
    RouteDestination,
    StringMatch,
    VirtualService,
)
from mizzen.model.traffic import ConsistentHash
from mizzen.names import MESH_GATEWAY, outbound_cluster
from mizzen.resolve.aliases import destination_host
from mizzen.resolve.delegates import http_rules
from mizzen.resolve.rules import policy_for, rule_for
from mizzen.resolve.services import service_at
from mizzen.resolve.world import gateway_name, settings

if TYPE_CHECKING:
    from mizzen.engine import Database

_RETRY_ON: Final = (
    "connect-failure",
    "refused-stream",
    "unavailable",
    "cancelled",
    "retriable-status-codes",
)
DEFAULT_RETRY: Final = RetryPolicy(attempts=2, retry_on=_RETRY_ON)
_EVERYTHING: Final = RequestMatch()
_ANY_PATH: Final = (
    None,
    *(StringMatch(MatchKind.PREFIX, prefix) for prefix in ("", "/")),
    StringMatch(MatchKind.PRESENT),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where routes are made for: seen from a scope, on a port of the mesh or of a gateway.

    ``gateway`` is ``mesh`` or ``namespace/name``; ``labels`` are those that ``sourceLabels`` are compared
    with, of the clients' workload or of the gateway's own.
    """

    scope: Scope
    port: int
    labels: Labels = NO_LABELS
    gateway: str = MESH_GATEWAY


def routes_of(db: Database, place: Place, virtual_service: VirtualService) -> tuple[Route, ...]:
    """Return the routes of all HTTP rules, up to the first that takes every request."""
    routes: list[Route] = []
    for rule in http_rules(db, virtual_service):
        for route in _routes_of_rule(db, place, virtual_service, rule):
            routes.append(route)
            if takes_everything(route.match):
                return tuple(routes)
    return tuple(routes)


def takes_everything(match: RequestMatch) -> bool:
    """Tell whether a match holds for every request: an empty one, or the path ``/`` as a prefix."""
    return replace(match, uri=None, ignore_uri_case=False) == _EVERYTHING and match.uri in _ANY_PATH


def _routes_of_rule(
    db: Database, place: Place, owner: VirtualService, rule: HttpRoute
) -> Iterator[Route]:
    matches = [m for m in rule.match or (HttpMatch(),) if _applies(place, owner, m)]
    if not matches:
        return
    action, headers = _action(db, place, owner, rule)
    if action is None:
        return
    for match in matches:
        yield Route(
            name=".".join(filter(None, (rule.name, match.name))) or "default",
            match=request_match(match),
            action=action,
            headers=headers,
            stat_prefix=match.stat_prefix,
            fault=rule.fault,
            cors=rule.cors,
        )


def _applies(place: Place, owner: VirtualService, match: HttpMatch) -> bool:
    """Tell whether what is known in advance lets an alternative match here."""
    if match.port is not None and match.port != place.port:
        return False
    if match.claims and place.gateway == MESH_GATEWAY:
        return False  # no sidecar has validated a token when it chooses a route
    if match.gateways:
        # With gateways written, the source has no say (Istio: ``sourceMatchHTTP``).
        names = (g if g == MESH_GATEWAY else _full(g, owner) for g in match.gateways)
        return place.gateway in names
    if match.source_namespace not in ("", place.scope.namespace):
        return False
    return selects(match.source_labels, place.labels)


def _full(gateway: str, owner: VirtualService) -> str:
    return gateway_name(gateway, owner.meta.namespace)


def request_match(match: HttpMatch) -> RequestMatch:
    """Return the part of a match that only the request can tell."""
    return RequestMatch(
        uri=match.uri,
        ignore_uri_case=match.ignore_uri_case,
        scheme=match.scheme,
        method=match.method,
        authority=match.authority,
        headers=match.headers,
        without_headers=match.without_headers,
        query_params=match.query_params,
        claims=match.claims,
        without_claims=match.without_claims,
    )


def _action(
    db: Database, place: Place, owner: VirtualService, rule: HttpRoute
) -> tuple[RouteAction | None, Headers]:
    """Return what a rule does, and its header operations without the Host, which is a rewrite."""
    if rule.redirect is not None:
        return rule.redirect, rule.headers
    if rule.direct_response is not None:
        return rule.direct_response, rule.headers
    if not rule.route:
        return None, rule.headers
    host, headers = _split_host(rule.headers)
    return _forward(db, place, owner, rule, host), headers


def _split_host(headers: Headers) -> tuple[str, Headers]:
    """Take ``Host`` out of the headers to set; Envoy rewrites the authority in its own way."""
    hosts = [v for k, v in headers.request.set if k.lower() in ("host", ":authority")]
    rest = tuple((k, v) for k, v in headers.request.set if k.lower() not in ("host", ":authority"))
    if not hosts:
        return "", headers
    request = HeaderOperations(set=rest, add=headers.request.add, remove=headers.request.remove)
    return hosts[-1], Headers(request=request, response=headers.response)


def _forward(
    db: Database, place: Place, owner: VirtualService, rule: HttpRoute, host: str
) -> Forward:
    weighted = weighted_only(rule.route)
    targets = tuple(_target(db, place, owner, one) for one in weighted)
    hashes = (h for one in weighted for h in _hash_on(db, place, owner, one.destination))
    hash_on = tuple(dict.fromkeys(hashes))
    rewrite = rule.rewrite
    return Forward(
        targets=targets,
        timeout=rule.timeout or timedelta(0),
        retry=retry_policy(rule.retries or settings(db).retries, hashed=bool(hash_on)),
        prefix_rewrite=rewrite.uri if rewrite else "",
        regex_rewrite=(
            (rewrite.regex_match, rewrite.regex_rewrite)
            if rewrite and rewrite.regex_match
            else None
        ),
        host_rewrite=(rewrite.authority if rewrite else "") or host,
        hash_on=hash_on,
        copies=tuple(
            Copies(
                cluster=destination_cluster(db, place, owner, mirror.destination),
                percent=mirror.percent,
            )
            for mirror in rule.mirrors
        ),
    )


def weighted_only(destinations: tuple[RouteDestination, ...]) -> tuple[RouteDestination, ...]:
    """Leave out destinations of weight 0, unless there is just one, which has all traffic anyway."""
    if len(destinations) == 1:
        return destinations
    return tuple(d for d in destinations if d.weight) or destinations


def _target(
    db: Database, place: Place, owner: VirtualService, weighted: RouteDestination
) -> WeightedTarget:
    return WeightedTarget(
        cluster=destination_cluster(db, place, owner, weighted.destination),
        weight=weighted.weight,
        headers=weighted.headers,
    )


def destination_cluster(
    db: Database, place: Place, owner: VirtualService, destination: Destination
) -> str:
    """Return the cluster that a destination means.

    Without a port it is the service's only one, else the listener's. The name of a host that nobody
    knows is made all the same: the request then fails as the diagnostics say.
    """
    host = destination_host(db, destination.host, owner.meta.namespace)
    port = destination_port(db, place, host, destination.port)
    return outbound_cluster(port, destination.subset, host)


def destination_port(db: Database, place: Place, host: str, written: int | None) -> int:
    """Return the port that a destination means: the written one, the service's only one, or the own."""
    return written or _only_port(db, place.scope, host) or place.port


def _only_port(db: Database, scope: Scope, host: str) -> int | None:
    service = service_at(db, scope, host)
    return service.ports[0].number if service and len(service.ports) == 1 else None


def _hash_on(
    db: Database, place: Place, owner: VirtualService, destination: Destination
) -> tuple[ConsistentHash, ...]:
    host = destination_host(db, destination.host, owner.meta.namespace)
    port = destination_port(db, place, host, destination.port)
    return hash_of(db, place.scope, host, port, destination.subset)


def hash_of(
    db: Database, scope: Scope, host: str, port: int, subset: str = ""
) -> tuple[ConsistentHash, ...]:
    """Return the keys of consistent hashing that a destination's rule asks for."""
    rule = rule_for(db, (scope, host))
    balancer = policy_for(rule, port, rule.subset(subset)).load_balancer
    if balancer is None or balancer.consistent_hash is None:
        return ()
    return (balancer.consistent_hash,)


def retry_policy(retries: Retries | None, *, hashed: bool) -> RetryPolicy | None:
    """Return the retry policy: Istio's default where none is written, none where attempts ≤ 0."""
    if retries is None:
        return RetryPolicy(attempts=2, retry_on=_RETRY_ON, avoid_previous_hosts=not hashed)
    if retries.attempts <= 0:
        return None
    words = tuple(w for w in (w.strip() for w in retries.retry_on.split(",")) if w)
    codes = tuple(int(word) for word in words if word.isdecimal())
    conditions = tuple(word for word in words if not word.isdecimal()) or (
        () if codes else _RETRY_ON
    )
    if codes and "retriable-status-codes" not in conditions:
        conditions = (*conditions, "retriable-status-codes")
    avoid = retries.retry_ignore_previous_hosts
    return RetryPolicy(
        attempts=retries.attempts,
        retry_on=conditions,
        retriable_status_codes=codes,
        per_try_timeout=retries.per_try_timeout,
        backoff=retries.backoff,
        avoid_previous_hosts=not hashed if avoid is None else avoid,
        remote_localities=retries.retry_remote_localities,
    )


@query
def default_route(db: Database, key: tuple[Scope, str, int]) -> Route:
    """Return the route of a service that no VirtualService routes: (scope, host, port)."""
    scope, host, port = key
    hash_on = hash_of(db, scope, host, port)
    return Route(
        name="default",
        match=_EVERYTHING,
        action=Forward(
            targets=(WeightedTarget(cluster=outbound_cluster(port, "", host), weight=100),),
            retry=retry_policy(settings(db).retries, hashed=bool(hash_on)),
            hash_on=hash_on,
        ),
    )

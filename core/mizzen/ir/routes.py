"""HTTP routing: virtual hosts, routes and what is done with a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from mizzen.ir.origins import Origins
from mizzen.model.routing import Cors, DirectResponse, Fault, Headers, Redirect, StringMatch
from mizzen.model.traffic import ConsistentHash
from mizzen.names import PASSTHROUGH_CLUSTER


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """When a route applies; all that is set must hold. An empty one matches every request.

    ``claims`` are of a validated token, by path.
    """

    uri: StringMatch | None = None
    ignore_uri_case: bool = False
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query_params: tuple[tuple[str, StringMatch], ...] = ()
    claims: tuple[tuple[tuple[str, ...], StringMatch], ...] = ()
    without_claims: tuple[tuple[tuple[str, ...], StringMatch], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, when and where a request is tried again; conditions are Envoy-neutral Istio words."""

    attempts: int
    retry_on: tuple[str, ...]
    retriable_status_codes: tuple[int, ...] = ()
    per_try_timeout: timedelta | None = None
    backoff: timedelta | None = None
    avoid_previous_hosts: bool = True
    remote_localities: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedTarget:
    """A share of a route's traffic."""

    cluster: str
    weight: int
    headers: Headers = field(default_factory=Headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """Copies of a share of the requests, in percent, whose answers nobody waits for."""

    cluster: str
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Send the request on.

    ``timeout`` zero is none. ``targets`` of one entry takes everything. ``prefix_rewrite`` replaces the
    matched prefix or exact path. ``hash_on`` are the keys of consistent hashing, of the destination's
    DestinationRule.
    """

    targets: tuple[WeightedTarget, ...]
    timeout: timedelta = timedelta(0)
    retry: RetryPolicy | None = None
    prefix_rewrite: str = ""
    regex_rewrite: tuple[str, str] | None = None
    host_rewrite: str = ""
    hash_on: tuple[ConsistentHash, ...] = ()
    copies: tuple[Copies, ...] = ()


RouteAction = Forward | Redirect | DirectResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route: the first that matches is taken."""

    name: str
    match: RequestMatch
    action: RouteAction
    headers: Headers = field(default_factory=Headers)
    stat_prefix: str = ""
    fault: Fault | None = None
    cors: Cors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """The routes of one host in one route configuration: the unit in which routes are delivered.

    ``domains`` are lower-case and without ports. ``redirect_to_https`` is a Gateway's httpsRedirect.
    """

    route_configuration: str
    host: str
    domains: tuple[str, ...]
    routes: tuple[Route, ...]
    redirect_to_https: bool = False
    origins: Origins = ()


class CatchAll(StrEnum):
    """What a route configuration does with hosts that none of its virtual hosts has."""

    PASSTHROUGH = "passthrough"  # sidecar, outboundTrafficPolicy ALLOW_ANY
    BLOCK = "block"  # sidecar, REGISTRY_ONLY: 502
    NOT_FOUND = "not-found"  # gateway: 404
    NONE = "none"  # sniffed port of one service: its host is the catch-all


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """The head of a route configuration; its virtual hosts travel on their own.

    ``passthrough`` is the cluster of CatchAll.PASSTHROUGH. ``by_port`` tells hosts of several ports apart by
    the port in the Host header; elsewhere it says nothing.
    """

    name: str
    catch_all: CatchAll
    passthrough: str = PASSTHROUGH_CLUSTER
    by_port: bool = False
    origins: Origins = ()

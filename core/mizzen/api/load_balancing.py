"""``trafficPolicy.loadBalancer`` (Istio: LoadBalancerSettings)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, Percent, UInt32
from mizzen.api.durations import Duration, PositiveDuration

_UInt64 = Annotated[int, Field(ge=0, le=18_446_744_073_709_551_615)]


class CookieAttribute(ApiModel):
    """An attribute of a cookie, such as SameSite."""

    name: str = Field(min_length=1, description="Its name.")
    value: str = Field(default="", description="Its value.")


class HttpCookie(ApiModel):
    """A cookie to hash (Istio: ConsistentHashLB.HTTPCookie)."""

    name: str = Field(min_length=1, description="Its name.")
    path: str = Field(default="", description="Its path, when it is made.")
    ttl: Duration | None = Field(
        default=None, description="Its lifetime, when it is made; 0 makes a session cookie."
    )
    attributes: list[CookieAttribute] = Field(
        default_factory=list, description="Further attributes, when it is made."
    )


class RingHash(ApiModel):
    """The ring of the ring hash."""

    minimum_ring_size: _UInt64 = Field(default=1024, description="Least number of nodes on it.")


class MagLev(ApiModel):
    """The table of Maglev."""

    table_size: _UInt64 | None = Field(default=None, description="Its size, a prime; 65537.")


class ConsistentHashLb(ApiModel):
    """Soft affinity by hash: one key, one table (Istio: ConsistentHashLB)."""

    http_header_name: str | None = Field(default=None, description="A header to hash.")
    http_cookie: HttpCookie | None = Field(default=None, description="A cookie to hash.")
    use_source_ip: bool | None = Field(default=None, description="Hash the client's address.")
    http_query_parameter_name: str | None = Field(
        default=None, description="A query parameter to hash."
    )
    ring_hash: RingHash | None = Field(default=None, description="Ring hash; the default.")
    maglev: MagLev | None = Field(default=None, description="Maglev.")
    minimum_ring_size: _UInt64 = Field(default=0, description="Deprecated: use ringHash.")


class LocalityDistribution(ApiModel):
    """How traffic from one locality is spread (Istio: LocalityLoadBalancerSetting.Distribute)."""

    from_: str = Field(default="", alias="from", description="A locality: region/zone/subzone.")
    to: dict[str, UInt32] = Field(default_factory=dict, description="Weights; their sum is 100.")


class LocalityFailover(ApiModel):
    """Where traffic of a region goes when it fails there."""

    from_: str = Field(default="", alias="from", description="A region.")
    to: str = Field(default="", description="Another region.")


class LocalityLbSetting(ApiModel):
    """Locality load balancing (Istio: LocalityLoadBalancerSetting)."""

    distribute: list[LocalityDistribution] = Field(
        default_factory=list, description="Explicit weights."
    )
    failover: list[LocalityFailover] = Field(default_factory=list, description="Regions.")
    failover_priority: list[str] = Field(
        default_factory=list, description="Labels, the first of which matters most."
    )
    enabled: bool | None = Field(default=None, description="False switches the mesh's off.")


class ZoneAwareLbSetting(ApiModel):
    """Zone-aware load balancing (Istio: ZoneAwareLoadBalancerSetting)."""

    enabled: bool | None = Field(default=None, description="False switches the mesh's off.")
    failover: list[LocalityFailover] = Field(
        default_factory=list, description="Regions; the own one comes first in any case."
    )
    failover_priority: list[str] = Field(
        default_factory=list, description="Labels, the first of which matters most."
    )
    min_cluster_size: Annotated[int, Field(ge=1, le=4_294_967_295)] | None = Field(
        default=None, description="Fewer endpoints in the region switch it off; 6 by default."
    )


class WarmupConfiguration(ApiModel):
    """Slow start of new endpoints (Istio: WarmupConfiguration)."""

    duration: PositiveDuration = Field(description="How long it takes.")
    minimum_percent: Percent | None = Field(default=None, description="The share at its start.")
    aggression: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Speed of the increase; 1 is linear."
    )


class LoadBalancerSettings(ApiModel):
    """How an endpoint is chosen (Istio: LoadBalancerSettings)."""

    simple: (
        Literal[
            "UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"
        ]
        | None
    ) = Field(default=None, description="An algorithm; LEAST_REQUEST by default.")
    consistent_hash: ConsistentHashLb | None = Field(default=None, description="Affinity by hash.")
    locality_lb_setting: LocalityLbSetting | None = Field(
        default=None, description="Preference for near endpoints."
    )
    zone_aware_lb_setting: ZoneAwareLbSetting | None = Field(
        default=None, description="Preference for the own zone, as far as it has servers."
    )
    warmup: WarmupConfiguration | None = Field(default=None, description="Slow start.")
    warmup_duration_secs: PositiveDuration | None = Field(
        default=None, description="Deprecated: use warmup."
    )

"""Clusters: what an upstream's settings become, and what every proxy has anyway."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from envoy_data_plane.envoy.config.cluster.v3 import Cluster as NewerCluster

from mizzen import ir
from mizzen.model.destination import (
    ConnectionPool,
    ConsistentHash,
    LoadBalancer,
    OutlierDetection,
    Pings,
    ProxyProtocol,
    RetryBudget,
    SimpleLb,
    TcpKeepalive,
    Warmup,
    ZoneLb,
)
from mizzen.model.kube import Protocol
from mizzen.model.security import MtlsMode
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen.render.cluster import (
    gateway_clusters,
    render_inbound_cluster,
    render_upstream,
    static_clusters,
)
from tests.support.render_samples import FULL_OUTLIERS, FULL_POOL, UPSTREAM
from tests.support.show import show

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAMED = ir.EndpointGroup(
    cluster="c",
    groups=(
        ir.LocalityGroup(
            locality=ir.Locality(), endpoints=(ir.Endpoint(address="a.example.com", port=80),)
        ),
    ),
)
_NAME = "outbound|9080||reviews.shop.svc.cluster.local"


def _shown(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of an upstream
    return show(render_upstream(replace(UPSTREAM, **changes)))


def _options(shown: dict[str, Any]) -> dict[str, Any]:
    found = dict(shown["typed_extension_protocol_options"][_HTTP])
    del found["@type"]
    return found


def _mesh_socket(shown: dict[str, Any]) -> dict[str, Any]:
    socket: dict[str, Any] = shown["transport_socket_matches"][0]["transport_socket"]
    return dict(socket["typed_config"])


def test_an_upstream_is_named_after_port_subset_and_host() -> None:
    """Istio's name; the statistics' name ends in a semicolon, so that the host's dots stay."""
    resource = render_upstream(replace(UPSTREAM, subset="v2"))
    assert resource.name == "outbound|9080|v2|reviews.shop.svc.cluster.local"
    assert show(resource)["alt_stat_name"] == resource.name + ";"


def test_endpoints_come_over_ads_without_a_time_limit() -> None:
    """A cluster waits for its endpoints: it never serves with none because they were late."""
    config = _shown()["eds_cluster_config"]["eds_config"]
    assert config == {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}


def test_nothing_is_limited_unless_a_rule_says_so() -> None:
    """Envoy's own 1024 never shows through."""
    (limits,) = _shown()["circuit_breakers"]["thresholds"]
    assert limits == {
        "max_connections": 4294967295,
        "max_pending_requests": 4294967295,
        "max_requests": 4294967295,
        "max_retries": 4294967295,
        "track_remaining": True,
    }


def test_keepalive_stays_within_what_a_socket_takes() -> None:
    """The kernel refuses the connection otherwise; Envoy does not say so before it."""
    shown = [
        _shown(connection_pool=ConnectionPool(tcp_keepalive=wanted))["upstream_connection_options"]
        for wanted in (
            TcpKeepalive(probes=0, time=timedelta(0), interval=timedelta(seconds=0.5)),
            TcpKeepalive(probes=2**32 - 1, time=timedelta(days=106_751), interval=timedelta(1)),
        )
    ]
    assert [one["tcp_keepalive"] for one in shown] == [
        {"keepalive_probes": 1, "keepalive_time": 1, "keepalive_interval": 1},
        {"keepalive_probes": 127, "keepalive_time": 32_767, "keepalive_interval": 32_767},
    ]


def test_a_connection_pool_sets_limits_lifetimes_and_keepalive() -> None:
    """Each field has its place; an HTTP idle timeout wins over TCP's."""
    shown = _shown(connection_pool=FULL_POOL, http=ir.UpstreamHttp.HTTP2)
    (limits,) = shown["circuit_breakers"]["thresholds"]
    assert [limits[name] for name in sorted(limits) if name != "track_remaining"] == [
        10,
        11,
        12,
        14,
    ]
    assert shown["upstream_connection_options"]["tcp_keepalive"] == {
        "keepalive_probes": 3,
        "keepalive_time": 60,
        "keepalive_interval": 10,
    }
    assert _options(shown) == {
        "common_http_protocol_options": {
            "idle_timeout": "15s",
            "max_connection_duration": "600s",
            "max_requests_per_connection": 13,
        },
        "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": 16}},
    }


@pytest.mark.parametrize(
    ("pool", "said"),
    [
        (ConnectionPool(tcp_idle_timeout=timedelta(seconds=1)), {"idle_timeout": "1s"}),
        (
            ConnectionPool(max_connection_duration=timedelta(seconds=2)),
            {"max_connection_duration": "2s"},
        ),
        (ConnectionPool(max_requests_per_connection=3), {"max_requests_per_connection": 3}),
    ],
)
def test_a_lifetime_alone_is_said(pool: ConnectionPool, said: dict[str, object]) -> None:
    """HTTP/1.1 is Envoy's default and unsaid, but what a rule sets is never lost with it."""
    assert _options(_shown(connection_pool=pool))["common_http_protocol_options"] == said


def test_nothing_is_said_of_http_where_nothing_is_special() -> None:
    """HTTP/1.1 with no limits needs no words."""
    assert "typed_extension_protocol_options" not in _shown()


def test_a_client_that_chooses_http_needs_both_versions() -> None:
    """What the client spoke is spoken on."""
    shown = _shown(http=ir.UpstreamHttp.CLIENT)
    assert _options(shown)["use_downstream_protocol_config"] == {
        "http_protocol_options": {},
        "http2_protocol_options": {},
    }


_WARMUP = Warmup(duration=timedelta(seconds=30), minimum_percent=15)


@pytest.mark.parametrize(
    ("balancer", "said"),
    [
        (LoadBalancer(), {"lb_policy": "LEAST_REQUEST"}),
        (LoadBalancer(simple=SimpleLb.LEAST_CONN), {"lb_policy": "LEAST_REQUEST"}),
        (LoadBalancer(simple=SimpleLb.ROUND_ROBIN), {}),  # protobuf's zero
        (LoadBalancer(simple=SimpleLb.RANDOM), {"lb_policy": "RANDOM"}),
        (
            LoadBalancer(simple=SimpleLb.ROUND_ROBIN, warmup=_WARMUP),
            {
                "round_robin_lb_config": {
                    "slow_start_config": {
                        "slow_start_window": "30s",
                        "min_weight_percent": {"value": 15.0},
                    }
                }
            },
        ),
        (
            LoadBalancer(consistent_hash=ConsistentHash(minimum_ring_size=7)),
            {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": "7"}},
        ),
        (
            LoadBalancer(consistent_hash=ConsistentHash(maglev=True, maglev_table_size=11)),
            {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": "11"}},
        ),
    ],
)
def test_a_load_balancer_becomes_a_policy(balancer: LoadBalancer, said: dict[str, object]) -> None:
    """Least request where nothing is chosen; hashing by ring or Maglev."""
    shown = _shown(load_balancer=balancer)
    found = {name: value for name, value in shown.items() if "lb_" in name and "common" not in name}
    assert found == said


@pytest.mark.parametrize("simple", [SimpleLb.PASSTHROUGH, SimpleLb.UNSPECIFIED])
def test_the_clients_own_choice_is_an_original_destination(simple: SimpleLb) -> None:
    """Nothing is balanced where the client's address decides."""
    shown = _shown(
        discovery=ir.Discovery.ORIGINAL_DESTINATION, load_balancer=LoadBalancer(simple=simple)
    )
    assert (shown["type"], shown["lb_policy"]) == ("ORIGINAL_DST", "CLUSTER_PROVIDED")


def test_outliers_are_ejected_as_a_rule_says() -> None:
    """A count of zero switches its detector off; success rates never eject."""
    shown = _shown(outlier_detection=FULL_OUTLIERS)
    assert shown["outlier_detection"] == {
        "consecutive_5xx": 7,
        "enforcing_consecutive_5xx": 100,
        "enforcing_consecutive_gateway_failure": 0,
        "consecutive_local_origin_failure": 4,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_local_origin_success_rate": 0,
        "enforcing_success_rate": 0,
        "split_external_local_origin_errors": True,
        "interval": "1.500s",
        "base_ejection_time": "30s",
        "max_ejection_percent": 50,
    }
    assert shown["common_lb_config"]["healthy_panic_threshold"] == {"value": 20.0}


def test_there_is_no_panic() -> None:
    """Endpoints that are not ready get nothing, however many they are."""
    for detection in (None, OutlierDetection()):
        shown = _shown(outlier_detection=detection)
        assert shown["common_lb_config"]["healthy_panic_threshold"] == {}


@pytest.mark.parametrize(
    ("protocol", "http", "in_tls", "by_http"),
    [
        (Protocol.HTTP, ir.UpstreamHttp.HTTP1, "istio-http/1.1,istio,http/1.1", ""),
        (Protocol.GRPC, ir.UpstreamHttp.HTTP2, "istio-h2,istio,h2", ""),
        (Protocol.HTTP, ir.UpstreamHttp.CLIENT, "istio-http/1.1,istio-h2,istio", ""),
        (Protocol.TCP, ir.UpstreamHttp.HTTP1, "istio", ""),
        (Protocol.UNSET, ir.UpstreamHttp.CLIENT, "istio", "istio-http/1.1,istio-h2,istio"),
        (Protocol.UNSET, ir.UpstreamHttp.HTTP1, "istio", "istio-http/1.1,istio,http/1.1"),
    ],
)
def test_what_is_offered_in_tls_tells_http_from_bytes(
    protocol: Protocol, http: ir.UpstreamHttp, in_tls: str, by_http: str
) -> None:
    """A sniffed port's cluster offers bytes, and says in its metadata what HTTP offers instead."""
    shown = _shown(protocol=protocol, http=http)
    assert ",".join(_mesh_socket(shown)["common_tls_context"]["alpn_protocols"]) == in_tls
    metadata = shown.get("metadata", {}).get("filter_metadata", {})
    assert metadata.get("mizzen", {}).get("http_alpn", "") == by_http


def test_automatic_mutual_tls_is_for_endpoints_that_take_it() -> None:
    """The match names them; all others get the cluster's plain text."""
    shown = _shown()
    (match,) = shown["transport_socket_matches"]
    assert (match["name"], match["match"]) == ("tlsMode-istio", {"tlsMode": "istio"})
    assert "transport_socket" not in shown


def test_demanded_mutual_tls_is_for_all_endpoints() -> None:
    """ISTIO_MUTUAL leaves no way around it."""
    shown = _shown(tls=ir.MeshTls(automatic=False, identities=(), sni="x"))
    assert shown["transport_socket"]["typed_config"]["sni"] == "x"
    assert "transport_socket_matches" not in shown


def test_the_server_must_be_who_it_should_be() -> None:
    """The roots come by SDS, the exact identities are in the cluster."""
    context = _mesh_socket(_shown())["common_tls_context"]
    (certificate,) = context["tls_certificate_sds_secret_configs"]
    validation = context["combined_validation_context"]
    matchers = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert certificate["name"] == "default"
    assert validation["validation_context_sds_secret_config"]["name"] == "ROOTCA"
    assert matchers == [
        {"san_type": "URI", "matcher": {"exact": f"spiffe://cluster.local/ns/shop/sa/{name}"}}
        for name in "ab"
    ]


def _simple(tls: ir.SimpleTls) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a cluster's validation of the server, and what HTTP adds by host."""
    shown = _shown(tls=tls)
    context = shown["transport_socket"]["typed_config"]["common_tls_context"]
    options = shown.get("typed_extension_protocol_options", {}).get(_HTTP, {})
    return context["validation_context"], options.get("upstream_http_protocol_options", {})


def test_tls_without_a_name_takes_the_requests_host() -> None:
    """And demands a certificate for it, against the system's roots."""
    validation, by_host = _simple(ir.SimpleTls())
    assert validation == {"trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"}}
    assert by_host == {"auto_sni": True, "auto_san_validation": True}


def test_tls_with_names_checks_them() -> None:
    """Each name is compared with the kind of alternative name that it can only be."""
    names = ("api.example", "10.0.0.1", "fd00::1", "spiffe://x/y")
    validation, by_host = _simple(ir.SimpleTls(sni="api.example", subject_alt_names=names))
    kinds = [m["san_type"] for m in validation["match_typed_subject_alt_names"]]
    assert kinds == ["DNS", "IP_ADDRESS", "IP_ADDRESS", "URI"]
    assert by_host == {}


def test_tls_that_skips_verification_says_so() -> None:
    """insecureSkipVerify trusts whoever answers."""
    validation, by_host = _simple(ir.SimpleTls(insecure_skip_verify=True))
    assert validation == {"trust_chain_verification": "ACCEPT_UNTRUSTED"}
    assert by_host == {"auto_sni": True}


def test_tls_may_show_a_certificate_and_believe_other_roots() -> None:
    """Both by SDS, with what else is asked of the server beside the roots."""
    tls = ir.SimpleTls(certificate="own", roots="theirs", subject_alt_names=("api.example",))
    context = _shown(tls=tls)["transport_socket"]["typed_config"]["common_tls_context"]
    (shown,) = context["tls_certificate_sds_secret_configs"]
    believed = context["combined_validation_context"]
    assert shown["name"] == "own"
    assert believed["validation_context_sds_secret_config"]["name"] == "theirs"
    assert believed["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "api.example"}}
    ]
    assert context["tls_params"] == {
        "tls_minimum_protocol_version": "TLSv1_2",
        "tls_maximum_protocol_version": "TLSv1_3",
    }


@pytest.mark.parametrize("version", ProxyProtocol)
def test_clients_are_announced_in_plain_text(version: ProxyProtocol) -> None:
    """Before anything else, TLS included, whichever transport socket an endpoint gets."""
    shown = _shown(proxy_protocol=version)
    matched = shown["transport_socket_matches"][0]["transport_socket"]
    wrapped = {matched["name"], shown["transport_socket"]["name"]}
    assert wrapped == {"envoy.transport_sockets.upstream_proxy_protocol"}
    inner = [
        socket["typed_config"]["transport_socket"]["name"]
        for socket in (matched, shown["transport_socket"])
    ]
    assert inner == ["envoy.transport_sockets.tls", "envoy.transport_sockets.raw_buffer"]
    said = shown["transport_socket"]["typed_config"].get("config", {}).get("version", "V1")
    assert said == version


def test_pings_are_of_http2() -> None:
    """HTTP/1.1 has none."""
    pool = ConnectionPool(pings=Pings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5)))
    said = _options(_shown(http=ir.UpstreamHttp.HTTP2, connection_pool=pool))
    http2 = said["explicit_http_config"]["http2_protocol_options"]
    assert http2["connection_keepalive"] == {"interval": "30s", "timeout": "5s"}
    assert "typed_extension_protocol_options" not in _shown(connection_pool=pool)


@pytest.mark.parametrize("codes", [(429,), (429, 503)])
def test_answers_of_some_kinds_count_as_failures(codes: tuple[int, ...]) -> None:
    """Told by the status, exactly."""
    said = _options(_shown(outlier_detection=OutlierDetection(http_error_codes=codes)))
    matcher = said["outlier_detection"]["error_matcher"]
    rules = matcher["or_match"]["rules"] if len(codes) > 1 else [matcher]
    found = [rule["http_response_headers_match"]["headers"][0] for rule in rules]
    assert found == [{"name": ":status", "string_match": {"exact": str(c)}} for c in codes]


def test_a_budget_of_retries_may_look_back() -> None:
    """The field is younger than the classes; what is written is what Envoy's newer ones read."""
    budget = RetryBudget(interval=timedelta(seconds=10))
    cluster = NewerCluster.parse(render_upstream(replace(UPSTREAM, retry_budget=budget)).body)
    assert cluster.circuit_breakers is not None
    (limits,) = cluster.circuit_breakers.thresholds
    assert limits.retry_budget is not None
    assert limits.retry_budget.budget_interval == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, {"routing_enabled": {}}),
        ({"zones": ZoneLb()}, {}),
        ({"zones": ZoneLb(minimum=2)}, {"min_cluster_size": "2"}),
        ({"load_balancer": LoadBalancer(simple=SimpleLb.RANDOM)}, {"routing_enabled": {}}),
        ({"discovery": ir.Discovery.DNS, "endpoints": NAMED}, {"routing_enabled": {}}),
        ({"locality_weighted": True}, None),
        ({"load_balancer": LoadBalancer(consistent_hash=ConsistentHash())}, None),
        ({"discovery": ir.Discovery.ORIGINAL_DESTINATION}, None),
        ({"discovery": ir.Discovery.NOWHERE}, None),
    ],
)
def test_who_has_a_local_cluster_is_told_of_zones(
    changes: dict[str, Any], said: dict[str, object] | None
) -> None:
    """That requests keep to them, or that they do not, which Envoy would have them do by itself."""
    for zones, expected in ((True, said), (False, None)):
        shown = show(render_upstream(replace(UPSTREAM, **changes), zones=zones))
        config = shown.get("common_lb_config", {})
        assert config.get("zone_aware_lb_config") == expected


def test_localities_may_be_weighed() -> None:
    """Before the endpoints within."""
    shown = _shown(locality_weighted=True)
    assert shown["common_lb_config"]["locality_weighted_lb_config"] == {}


def test_a_rule_that_changes_nothing_changes_no_byte() -> None:
    """A DestinationRule that only adds subsets does not have the whole host's cluster warmed anew."""
    rule = ObjectKey(DEFAULT_REGISTRY, "DestinationRule", "shop", "reviews")
    assert _shown(rule=rule) == _shown()


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        (Protocol.HTTP, {"explicit_http_config": {"http_protocol_options": {}}}),
        (Protocol.GRPC, {"explicit_http_config": {"http2_protocol_options": {}}}),
        (
            Protocol.UNSET,
            {
                "use_downstream_protocol_config": {
                    "http_protocol_options": {},
                    "http2_protocol_options": {},
                }
            },
        ),
    ],
)
def test_the_application_is_spoken_to_as_its_port_says(
    protocol: Protocol, said: dict[str, object]
) -> None:
    """A client's HTTP/2 doesn't reach an application that declared HTTP."""
    port = _port(protocol)
    shown = show(render_inbound_cluster(port))
    assert _options(shown) == said


def test_the_application_is_called_from_the_address_that_capture_lets_pass() -> None:
    """127.0.0.6, to wherever the client was going; a TCP port says nothing of HTTP."""
    shown = show(render_inbound_cluster(replace(_port(Protocol.TCP), connection_pool=FULL_POOL)))
    assert shown["name"] == "inbound|8080||"
    assert shown["type"] == "ORIGINAL_DST"
    assert shown["upstream_bind_config"]["source_address"]["address"] == "127.0.0.6"
    assert shown["connect_timeout"] == "2s"
    assert "typed_extension_protocol_options" not in shown


def _port(protocol: Protocol) -> ir.InboundPort:
    return ir.InboundPort(
        port=8080, service_port=80, protocol=protocol, mode=MtlsMode.STRICT, host="a"
    )


def test_every_sidecar_has_three_clusters_and_a_gateway_one() -> None:
    """The black hole has no endpoints; the other two go where the client was going."""
    assert [r.name for r in gateway_clusters()] == ["BlackHoleCluster"]
    kinds = {r.name: show(r).get("type", "STATIC") for r in static_clusters()}
    assert kinds == {
        "BlackHoleCluster": "STATIC",
        "InboundPassthroughCluster": "ORIGINAL_DST",
        "PassthroughCluster": "ORIGINAL_DST",
    }


def test_a_cluster_that_leads_nowhere_has_no_discovery() -> None:
    """It answers at once that there is nobody."""
    assert "eds_cluster_config" not in _shown(discovery=ir.Discovery.NOWHERE)

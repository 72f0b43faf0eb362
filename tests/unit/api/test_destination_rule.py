"""A DestinationRule is read as Istio reads it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mizzen.model.destination import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    DestinationRule,
    HashCookie,
    LoadBalancer,
    LocalityLb,
    OutlierDetection,
    Pings,
    PortPolicy,
    ProxyProtocol,
    RetryBudget,
    SimpleLb,
    TcpKeepalive,
    TlsMode,
    Tunnel,
    Warmup,
    ZoneLb,
)
from mizzen.model.meta import NO_LABELS, Labels
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


def _reviews() -> DestinationRule:
    found = value(read_manifest("destination_rule.yaml")["DestinationRule reviews"])
    assert isinstance(found, DestinationRule)
    return found


def test_a_policy_has_four_blocks() -> None:
    """Durations are durations, and what is not written is None."""
    found = _reviews()
    assert (found.host, found.export_to) == ("reviews", (".",))
    assert found.policy is not None
    assert found.policy.base == PortPolicy(
        load_balancer=LoadBalancer(
            simple=SimpleLb.ROUND_ROBIN,
            warmup=Warmup(duration=timedelta(seconds=30), minimum_percent=5, aggression=1.5),
            locality=LocalityLb(
                enabled=False, distribute=(("eu/a/*", (("eu/a/*", 80), ("eu/b/*", 20))),)
            ),
        ),
        connection_pool=ConnectionPool(
            max_connections=100,
            connect_timeout=timedelta(milliseconds=500),
            tcp_keepalive=TcpKeepalive(
                probes=3, time=timedelta(minutes=10), interval=timedelta(seconds=75)
            ),
            max_connection_duration=timedelta(hours=1),
            tcp_idle_timeout=timedelta(minutes=5),
            http1_max_pending_requests=64,
            http2_max_requests=1000,
            max_requests_per_connection=10,
            max_retries=4,
            http_idle_timeout=timedelta(seconds=90),
            h2_upgrade_policy="DO_NOT_UPGRADE",
            use_client_protocol=True,
            max_concurrent_streams=128,
            pings=Pings(interval=timedelta(seconds=30), timeout=timedelta(seconds=5)),
        ),
        outlier_detection=OutlierDetection(
            split_external_local_origin_errors=True,
            consecutive_local_origin_failures=4,
            consecutive_gateway_errors=3,
            consecutive_5xx_errors=7,
            interval=timedelta(seconds=5),
            base_ejection_time=timedelta(minutes=15),
            max_ejection_percent=50,
            min_health_percent=20,
            http_error_codes=(429, 503),
        ),
        tls=ClientTls(
            mode=TlsMode.SIMPLE,
            sni="reviews.example.com",
            subject_alt_names=("reviews.example.com",),
        ),
    )


def test_ports_have_their_own_blocks() -> None:
    """In the order of their numbers."""
    policy = _reviews().policy
    assert policy is not None
    assert policy.ports == (
        (
            443,
            PortPolicy(
                load_balancer=LoadBalancer(
                    simple=SimpleLb.LEAST_REQUEST,
                    warmup=Warmup(duration=timedelta(seconds=10)),
                    zones=ZoneLb(
                        enabled=False,
                        failover=(("eu", "us"),),
                        failover_priority=("version",),
                        minimum=3,
                    ),
                ),
                tls=ClientTls(mode=TlsMode.SIMPLE, insecure_skip_verify=True),
            ),
        ),
        (
            9080,
            PortPolicy(
                load_balancer=LoadBalancer(
                    simple=SimpleLb.RANDOM,
                    locality=LocalityLb(
                        failover=(("eu", "us"),), failover_priority=("topology.istio.io/network",)
                    ),
                ),
                connection_pool=ConnectionPool(max_retries=1),
                outlier_detection=OutlierDetection(consecutive_5xx_errors=1),
                tls=ClientTls(mode=TlsMode.ISTIO_MUTUAL),
            ),
        ),
    )


def test_subsets_have_labels_and_policies() -> None:
    """A hash has one key and one table."""
    subsets = _reviews().subsets
    assert [(subset.name, subset.labels) for subset in subsets] == [
        (f"v{number}", Labels((("version", f"v{number}"),))) for number in range(1, 6)
    ]
    hashes = [
        subset.policy.base.load_balancer.consistent_hash
        for subset in subsets
        if subset.policy is not None and subset.policy.base.load_balancer is not None
    ]
    assert hashes == [
        ConsistentHash(
            http_cookie=HashCookie(
                name="session", path="/", ttl=timedelta(0), attributes=(("SameSite", "Strict"),)
            ),
            minimum_ring_size=2048,
        ),
        ConsistentHash(http_header_name="x-user", maglev=True, maglev_table_size=65537),
        ConsistentHash(use_source_ip=True, minimum_ring_size=4096),
        ConsistentHash(http_query_parameter_name="user"),
    ]


def test_a_rule_may_be_for_some_clients() -> None:
    """Of its own namespace; an empty selector is for all of that."""
    for text, selector in (("{app: a}", Labels((("app", "a"),))), ("{}", NO_LABELS)):
        spec = f"{{host: b, workloadSelector: {{matchLabels: {text}}}}}"
        found = read_spec("DestinationRule", spec).object
        assert isinstance(found, DestinationRule)
        assert (found.selector, found.export_to) == (selector, (".",))
    assert _reviews().selector is None


def test_a_policy_has_more_than_blocks() -> None:
    """Files are the proxy's own; a tunnel ends at a host and a port."""
    *_, spoken, last = _reviews().subsets
    policy = last.policy
    assert policy is not None
    assert policy.base.tls == ClientTls(
        mode=TlsMode.MUTUAL,
        certificate="/etc/certs/tls.crt",
        key="/etc/certs/tls.key",
        roots="/etc/certs/ca.crt",
        revoked="/etc/certs/crl.pem",
    )
    assert policy.tunnel == Tunnel(target="proxy.example.com:443", post=True)
    assert spoken.policy is not None
    assert spoken.policy.proxy_protocol is ProxyProtocol.V2
    assert policy.retry_budget == RetryBudget(
        percent=25, min_concurrency=5, interval=timedelta(seconds=10)
    )


@pytest.mark.parametrize(
    ("tunnel", "meant"),
    [
        ("{targetHost: proxy, targetPort: 1}", Tunnel(target="proxy:1")),
        ("{targetHost: 'fd00::1', targetPort: 443}", Tunnel(target="[fd00::1]:443")),
    ],
)
def test_a_tunnel_is_made_by_connect(tunnel: str, meant: Tunnel) -> None:
    """Unless it says otherwise; an IPv6 address stands in brackets."""
    found = value(read_spec("DestinationRule", f"{{host: a, trafficPolicy: {{tunnel: {tunnel}}}}}"))
    assert isinstance(found, DestinationRule)
    assert found.policy is not None
    assert found.policy.tunnel == meant


def _pool(http: str) -> ConnectionPool | None:
    spec = f"{{host: a, trafficPolicy: {{connectionPool: {{http: {http}}}}}}}"
    found = value(read_spec("DestinationRule", spec))
    assert isinstance(found, DestinationRule)
    assert found.policy is not None
    return found.policy.base.connection_pool


def test_a_limit_of_nothing_is_none() -> None:
    """A 0 is what protobuf says of a number that nobody wrote (Istio)."""
    assert _pool("{http2MaxRequests: 0, maxRetries: 0}") == ConnectionPool()


def test_pings_have_a_time_for_their_answers() -> None:
    """Twenty seconds where none is written; without an interval nothing is sent."""
    pings = Pings(interval=timedelta(seconds=1), timeout=timedelta(seconds=20))
    assert _pool("{http2KeepAlive: {interval: 1s}}") == ConnectionPool(pings=pings)
    assert _pool("{http2KeepAlive: {timeout: 1s}}") == ConnectionPool()


def test_a_budget_of_retries_has_istios_defaults() -> None:
    """A share, and how many at once in any case; none that is written is 0 in protobuf."""
    for text, budget in (
        ("{percent: 0}", RetryBudget(percent=0)),
        ("{minRetryConcurrency: 5}", RetryBudget(min_concurrency=5)),
        ("{percent: 12.5, minRetryConcurrency: 0}", RetryBudget(percent=12.5)),
    ):
        spec = f"{{host: a, trafficPolicy: {{retryBudget: {text}}}}}"
        found = value(read_spec("DestinationRule", spec))
        assert isinstance(found, DestinationRule)
        assert found.policy is not None
        assert found.policy.retry_budget == budget


def test_what_is_not_translated_is_told_of() -> None:
    """The rest of the rule is in force."""
    parsed = read_manifest("destination_rule_later.yaml")["DestinationRule later"]
    assert isinstance(parsed.object, DestinationRule)
    assert {code for code, _, _ in told(parsed)} == {"MZ0201"}
    assert [path.removeprefix("spec.") for _, path, _ in told(parsed)] == [
        "trafficPolicy.outlierDetection.consecutiveErrors",
    ]


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("{host: a, subsets: [{name: v1, labels: {a: '*'}}]}", "MZ0103", "subsets[0].labels.a"),
        (
            "{host: a, workloadSelector: {matchLabels: {'': x}}}",
            "MZ0103",
            "workloadSelector.matchLabels",
        ),
    ],
)
def test_mistakes_of_the_rule_are_errors(spec: str, code: str, path: str) -> None:
    """At their field."""
    parsed = read_spec("DestinationRule", spec)
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.{path}")]


@pytest.mark.parametrize(
    ("policy", "code", "path"),
    [
        (
            "outlierDetection: {outlierDetectionHttpErrorCodes: [99]}",
            "MZ0103",
            "outlierDetection.outlierDetectionHttpErrorCodes[0]",
        ),
        (
            "portLevelSettings: [{port: {number: 80}, connectionPool: {}}]",
            "MZ0104",
            "portLevelSettings[0].connectionPool",
        ),
    ],
)
@pytest.mark.parametrize("subset", [False, True])
def test_mistakes_of_policies_are_errors(
    *, policy: str, code: str, path: str, subset: bool
) -> None:
    """In the policy of the host and in that of a subset."""
    if subset:
        spec = f"{{host: a, subsets: [{{name: v1, trafficPolicy: {{{policy}}}}}]}}"
        prefix = "spec.subsets[0].trafficPolicy"
    else:
        spec, prefix = f"{{host: a, trafficPolicy: {{{policy}}}}}", "spec.trafficPolicy"
    parsed = read_spec("DestinationRule", spec)
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"{prefix}.{path}")]


def test_what_istio_does_not_read_is_not_waited_for() -> None:
    """No later version will translate it."""
    policy = "{outlierDetection: {consecutiveErrors: 3}}"
    parsed = read_spec("DestinationRule", f"host: reviews\ntrafficPolicy: {policy}")
    (found,) = parsed.diagnostics
    assert found.code.id == "MZ0201"
    assert "has no effect: Istio reads it no longer" in found.message
    assert found.advice == "Remove it: in Istio it has no effect either."

"""What a schema cannot say of a DestinationRule (Istio: ValidateDestinationRule)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api.findings import (
    Finding,
    at,
    conflict,
    deprecated,
    duplicates,
    invalid,
    missing,
    without_effect,
)
from mizzen.api.hosts import (
    check_domain,
    check_export_to,
    check_labels,
    check_selector,
    is_address,
    is_label,
    is_name,
)
from mizzen.api.locality_checks import check_locality, check_zones
from mizzen.api.meta import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.api.destination_rule import DestinationRuleManifest, DestinationRuleSpec
    from mizzen.api.load_balancing import (
        ConsistentHashLb,
        LoadBalancerSettings,
        ZoneAwareLbSetting,
    )
    from mizzen.api.traffic_policy import (
        ClientTlsSettings,
        ConnectionPoolSettings,
        OutlierDetection,
        PolicyBlocks,
        TrafficPolicy,
        TunnelSettings,
    )

# Envoy's limit of a Maglev table.
_MAX_TABLE_SIZE: Final = 5_000_011
_SLOW_START: Final = (None, "UNSPECIFIED", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN")


def check(manifest: DestinationRuleManifest) -> Iterator[Finding]:
    """Yield all that is wrong with a DestinationRule whose shape is right."""
    spec, own = manifest.spec, manifest.metadata.namespace or DEFAULT_NAMESPACE
    yield from at(("spec",), _spec(spec))
    yield from check_export_to(("spec", "exportTo"), spec.export_to, own)
    if spec.workload_selector is not None and {*spec.export_to} - {".", own}:
        message = "a rule for single clients is for those of its own namespace"
        yield conflict(("spec", "exportTo"), message, "Remove exportTo, or write ['.'].")


def _spec(spec: DestinationRuleSpec) -> Iterator[Finding]:
    yield from check_domain(("host",), spec.host)
    if spec.traffic_policy is not None:
        yield from at(("trafficPolicy",), _policy(spec.traffic_policy))
    ejects = spec.traffic_policy is not None and spec.traffic_policy.outlier_detection is not None
    names = [subset.name for subset in spec.subsets]
    for found in duplicates(("subsets",), names, "the subset"):
        yield Finding(found.code, (*found.path, "name"), found.message, found.remedy)
    for index, subset in enumerate(spec.subsets):
        path = ("subsets", index)
        if not is_label(subset.name):
            yield invalid((*path, "name"), f"{subset.name!r} is not a DNS label")
        yield from check_labels((*path, "labels"), subset.labels)
        if subset.traffic_policy is not None:
            yield from at((*path, "trafficPolicy"), _policy(subset.traffic_policy, ejects=ejects))
    if spec.workload_selector is not None:
        path_to_labels = ("workloadSelector", "matchLabels")
        yield from check_selector(path_to_labels, spec.workload_selector.match_labels)


def _policy(policy: TrafficPolicy, *, ejects: bool = False) -> Iterator[Finding]:
    """Check a policy; ``ejects`` tells whether the host's policy has outlier detection."""
    if not policy.model_fields_set:
        yield missing((), "a traffic policy needs at least one setting")
    yield from _blocks(policy, ejects=ejects)
    if policy.tunnel is not None:
        yield from at(("tunnel",), _tunnel(policy.tunnel))
        if policy.proxy_protocol is not None:
            yield conflict(("proxyProtocol",), "tunnel and proxyProtocol exclude each other")
    numbers = [str(port.port.number) for port in policy.port_level_settings]
    yield from duplicates(("portLevelSettings",), numbers, "port")
    for index, port in enumerate(policy.port_level_settings):
        if port.model_fields_set <= {"port"}:
            yield missing(("portLevelSettings", index), "a port's policy needs a setting")
        yield from at(("portLevelSettings", index), _blocks(port))


def _tunnel(tunnel: TunnelSettings) -> Iterator[Finding]:
    if not (is_name(tunnel.target_host) or is_address(tunnel.target_host)):
        yield invalid(("targetHost",), f"{tunnel.target_host!r} is not a DNS name or an IP address")


def _blocks(blocks: PolicyBlocks, *, ejects: bool = False) -> Iterator[Finding]:
    if blocks.load_balancer is not None:
        ejects = ejects or blocks.outlier_detection is not None
        yield from at(("loadBalancer",), _load_balancer(blocks.load_balancer, ejects=ejects))
    if blocks.connection_pool is not None:
        yield from at(("connectionPool",), check_connection_pool(blocks.connection_pool))
    if blocks.outlier_detection is not None:
        yield from at(("outlierDetection",), check_outliers(blocks.outlier_detection))
    if blocks.tls is not None:
        yield from at(("tls",), _tls(blocks.tls))


def _load_balancer(balancer: LoadBalancerSettings, *, ejects: bool) -> Iterator[Finding]:
    if balancer.simple is not None and balancer.consistent_hash is not None:
        yield conflict(("consistentHash",), "simple and consistentHash exclude each other")
    if balancer.consistent_hash is not None:
        yield from at(("consistentHash",), _hash(balancer.consistent_hash))
    warm = balancer.warmup is not None or balancer.warmup_duration_secs is not None
    if warm and (balancer.simple not in _SLOW_START or balancer.consistent_hash is not None):
        message = "slow start goes with ROUND_ROBIN and LEAST_REQUEST only"
        yield without_effect(("warmup",), message)
    if balancer.warmup_duration_secs is not None:
        yield deprecated(("warmupDurationSecs",), "warmupDurationSecs is now warmup.duration")
    if balancer.locality_lb_setting is not None:
        found = check_locality(balancer.locality_lb_setting, ejects=ejects)
        yield from at(("localityLbSetting",), found)
    if balancer.zone_aware_lb_setting is not None:
        yield from at(("zoneAwareLbSetting",), _zones(balancer, balancer.zone_aware_lb_setting))


def _zones(balancer: LoadBalancerSettings, zones: ZoneAwareLbSetting) -> Iterator[Finding]:
    yield from check_zones(zones)
    if balancer.locality_lb_setting is not None:
        yield conflict((), "localityLbSetting and zoneAwareLbSetting exclude each other")
    elif balancer.consistent_hash is not None and zones.enabled is not False:
        yield without_effect((), "a hash chooses among all endpoints of the region, near or far")


def _hash(settings: ConsistentHashLb) -> Iterator[Finding]:
    keys = {
        "httpHeaderName": settings.http_header_name,
        "httpCookie": settings.http_cookie,
        "useSourceIp": settings.use_source_ip,
        "httpQueryParameterName": settings.http_query_parameter_name,
    }
    written = [name for name, value in keys.items() if value]
    if not written:
        yield missing((), f"consistentHash needs one of {', '.join(keys)}")
    if len(written) > 1:
        yield conflict((written[1],), f"{written[0]} and {written[1]} exclude each other")
    if settings.ring_hash is not None and settings.maglev is not None:
        yield conflict(("maglev",), "ringHash and maglev exclude each other")
    size = settings.maglev.table_size if settings.maglev else None
    if size is not None and (size >= _MAX_TABLE_SIZE or not _is_prime(size)):
        message = f"must be a prime below {_MAX_TABLE_SIZE}, not {size}"
        yield invalid(("maglev", "tableSize"), message)
    if settings.minimum_ring_size:
        message = "minimumRingSize is now ringHash.minimumRingSize"
        yield deprecated(("minimumRingSize",), message)
        if settings.ring_hash is not None or settings.maglev is not None:
            yield conflict(("minimumRingSize",), "it does not go with ringHash or maglev")


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def check_connection_pool(pool: ConnectionPoolSettings) -> Iterator[Finding]:
    """Check limits; a Sidecar has them too."""
    if pool.tcp is None and pool.http is None:
        yield missing((), "a connection pool needs tcp or http")
    http = pool.http
    if http is not None and http.use_client_protocol and http.h2_upgrade_policy == "UPGRADE":
        message = "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other"
        yield conflict(("http", "useClientProtocol"), message)


def check_outliers(outliers: OutlierDetection) -> Iterator[Finding]:
    """Check when endpoints are taken out; a MeshConfig has it too."""
    split = outliers.split_external_local_origin_errors
    if outliers.consecutive_local_origin_failures and not split:
        message = "consecutiveLocalOriginFailures counts nothing without the split of errors"
        remedy = "Set splitExternalLocalOriginErrors to true."
        yield conflict(("consecutiveLocalOriginFailures",), message, remedy)


def _tls(tls: ClientTlsSettings) -> Iterator[Finding]:
    files = {
        "clientCertificate": tls.client_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "caCrl": tls.ca_crl,
    }
    written = [name for name, value in files.items() if value]
    if tls.mode == "ISTIO_MUTUAL":
        for name in (*written, *(["credentialName"] if tls.credential_name else [])):
            message = f"ISTIO_MUTUAL brings the mesh's certificates; {name} is not read"
            yield without_effect((name,), message, f"Remove {name}, or write mode: MUTUAL.")
    elif tls.credential_name and written:
        yield conflict((written[0],), f"credentialName and {written[0]} exclude each other")
    elif tls.mode == "MUTUAL" and not tls.credential_name:
        for name in ("clientCertificate", "privateKey"):
            if not files[name]:
                yield missing((name,), f"MUTUAL needs {name} or credentialName")
    if tls.insecure_skip_verify:
        yield from _unverified(tls)


def _unverified(tls: ClientTlsSettings) -> Iterator[Finding]:
    """Check that what would be verified is not written where nothing is."""
    means = {
        "caCertificates": tls.ca_certificates and tls.mode in ("SIMPLE", "MUTUAL"),
        "subjectAltNames": tls.subject_alt_names and tls.mode in ("SIMPLE", "MUTUAL"),
        # A Secret of MUTUAL has the client's own certificate too.
        "credentialName": tls.credential_name and tls.mode == "SIMPLE",
    }
    for name, is_written in means.items():
        if is_written:
            yield conflict((name,), f"insecureSkipVerify and {name} contradict")

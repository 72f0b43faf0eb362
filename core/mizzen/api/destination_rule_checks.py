"""What a schema cannot say of a DestinationRule (Istio: ValidateDestinationRule)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api.findings import Finding, at, conflict, duplicates, invalid, missing
from mizzen.api.hosts import check_export_to, check_labels, check_wildcard_host, is_label

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.api.destination_rule import DestinationRuleManifest, DestinationRuleSpec
    from mizzen.api.load_balancing import (
        ConsistentHashLb,
        LoadBalancerSettings,
        LocalityLbSetting,
    )
    from mizzen.api.traffic_policy import (
        ClientTlsSettings,
        ConnectionPoolSettings,
        OutlierDetection,
        PolicyBlocks,
        TrafficPolicy,
    )

# Envoy's limit of a Maglev table.
_MAX_TABLE_SIZE: Final = 5_000_011
_WHOLE: Final = 100
_SLOW_START: Final = (None, "UNSPECIFIED", "ROUND_ROBIN", "LEAST_REQUEST", "LEAST_CONN")


def check(manifest: DestinationRuleManifest) -> Iterator[Finding]:
    """Yield all that is wrong with a DestinationRule whose shape is right."""
    yield from at(("spec",), _spec(manifest.spec))


def _spec(spec: DestinationRuleSpec) -> Iterator[Finding]:
    yield from check_wildcard_host(("host",), spec.host)
    yield from check_export_to(("exportTo",), spec.export_to)
    if spec.traffic_policy is not None:
        yield from at(("trafficPolicy",), _policy(spec.traffic_policy))
    names = [subset.name for subset in spec.subsets]
    for found in duplicates(("subsets",), names, "the subset"):
        yield Finding(found.code, (*found.path, "name"), found.message, found.remedy)
    for index, subset in enumerate(spec.subsets):
        path = ("subsets", index)
        if not is_label(subset.name):
            yield invalid((*path, "name"), f"{subset.name!r} is not a DNS label")
        yield from check_labels((*path, "labels"), subset.labels)
        if subset.traffic_policy is not None:
            yield from at((*path, "trafficPolicy"), _policy(subset.traffic_policy))
    if spec.workload_selector is not None:
        path_to_labels = ("workloadSelector", "matchLabels")
        yield from check_labels(path_to_labels, spec.workload_selector.match_labels)


def _policy(policy: TrafficPolicy) -> Iterator[Finding]:
    if not policy.model_fields_set:
        yield missing((), "a traffic policy needs at least one setting")
    yield from _blocks(policy)
    numbers = [str(port.port.number) for port in policy.port_level_settings]
    yield from duplicates(("portLevelSettings",), numbers, "port")
    for index, port in enumerate(policy.port_level_settings):
        yield from at(("portLevelSettings", index), _blocks(port))


def _blocks(blocks: PolicyBlocks) -> Iterator[Finding]:
    if blocks.load_balancer is not None:
        yield from at(("loadBalancer",), _load_balancer(blocks.load_balancer))
    if blocks.connection_pool is not None:
        yield from at(("connectionPool",), check_connection_pool(blocks.connection_pool))
    if blocks.outlier_detection is not None:
        yield from at(("outlierDetection",), _outliers(blocks.outlier_detection))
    if blocks.tls is not None:
        yield from at(("tls",), _tls(blocks.tls))


def _load_balancer(balancer: LoadBalancerSettings) -> Iterator[Finding]:
    if balancer.simple is not None and balancer.consistent_hash is not None:
        yield conflict(("consistentHash",), "simple and consistentHash exclude each other")
    if balancer.consistent_hash is not None:
        yield from at(("consistentHash",), _hash(balancer.consistent_hash))
    warm = balancer.warmup is not None or balancer.warmup_duration_secs is not None
    if warm and (balancer.simple not in _SLOW_START or balancer.consistent_hash is not None):
        yield conflict(("warmup",), "slow start goes with ROUND_ROBIN and LEAST_REQUEST only")
    if balancer.locality_lb_setting is not None:
        yield from at(("localityLbSetting",), _locality(balancer.locality_lb_setting))
    if balancer.locality_lb_setting is not None and balancer.zone_aware_lb_setting is not None:
        message = "localityLbSetting and zoneAwareLbSetting exclude each other"
        yield conflict(("zoneAwareLbSetting",), message)


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
    if size is not None and (size > _MAX_TABLE_SIZE or not _is_prime(size)):
        message = f"must be a prime of at most {_MAX_TABLE_SIZE}, not {size}"
        yield invalid(("maglev", "tableSize"), message)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _locality(locality: LocalityLbSetting) -> Iterator[Finding]:
    kinds = (locality.distribute, locality.failover, locality.failover_priority)
    if locality.distribute and sum(map(bool, kinds)) > 1:
        yield conflict(("distribute",), "distribute excludes failover and failoverPriority")
    for index, spread in enumerate(locality.distribute):
        total = sum(spread.to.values())
        if total != _WHOLE:
            yield invalid(("distribute", index, "to"), f"weights must add up to 100, not {total}")
    for index, failover in enumerate(locality.failover):
        if failover.from_ == failover.to:
            path = ("failover", index, "to")
            yield invalid(path, f"traffic of {failover.from_!r} cannot fail over to itself")


def check_connection_pool(pool: ConnectionPoolSettings) -> Iterator[Finding]:
    """Check limits; a Sidecar has them too."""
    if pool.tcp is None and pool.http is None:
        yield missing((), "a connection pool needs tcp or http")
    http = pool.http
    if http is not None and http.use_client_protocol and http.h2_upgrade_policy == "UPGRADE":
        message = "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other"
        yield conflict(("http", "useClientProtocol"), message)


def _outliers(outliers: OutlierDetection) -> Iterator[Finding]:
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
    }
    written = [name for name, value in files.items() if value]
    if tls.mode == "ISTIO_MUTUAL":
        for name in (*written, *(["credentialName"] if tls.credential_name else [])):
            yield conflict((name,), f"ISTIO_MUTUAL brings the mesh's certificates; {name} is extra")
    elif tls.credential_name and written:
        yield conflict((written[0],), f"credentialName and {written[0]} exclude each other")
    elif tls.mode == "MUTUAL" and not tls.credential_name:
        for name in ("clientCertificate", "privateKey"):
            if not files[name]:
                yield missing((name,), f"MUTUAL needs {name} or credentialName")
    if tls.insecure_skip_verify and tls.ca_certificates:
        yield conflict(("caCertificates",), "insecureSkipVerify and caCertificates contradict")

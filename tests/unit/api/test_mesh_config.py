"""MeshConfig: read from a ConfigMap, in force at once, and told of where it is not translated."""

from __future__ import annotations

from datetime import timedelta
from textwrap import indent

import pytest

from mizzen.api.base import NotTranslated
from mizzen.api.mesh_config import MeshConfigSpec
from mizzen.model.destination import (
    ConnectionPool,
    LocalityLb,
    OutlierDetection,
    TcpKeepalive,
    ZoneLb,
)
from mizzen.model.discovery import LabelSelector, Operator, Requirement
from mizzen.model.kube import ConfigMap
from mizzen.model.mesh import MeshConfig, MeshSettings, Paths, TlsLimits
from mizzen.model.meta import EXPORT_NONE, ExportTo, labels
from mizzen.model.routing import Retries
from mizzen.model.world import Parsed
from mizzen.resolve.world import settings
from tests.support.small_mesh import SmallMesh
from tests.unit.api.reading import errors, read_one, told, value

pytestmark = pytest.mark.unit


def _text(mesh: str, name: str = "istio", namespace: str = "istio-system") -> str:
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"data:\n  mesh: |\n{indent(mesh, '    ')}\n"
    )


def _read(mesh: str, name: str = "istio") -> Parsed:
    return read_one(_text(mesh, name))


def test_the_settings_of_a_mesh_stand_in_a_config_map() -> None:
    """As text, of which all is optional."""
    found = value(
        _read(
            "connectTimeout: 3s\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
            "trustDomainAliases: [old.example]"
        )
    )
    assert isinstance(found, ConfigMap)
    assert found.mesh == MeshConfig(
        connect_timeout=timedelta(seconds=3),
        registry_only=True,
        trust_domain_aliases=("old.example",),
    )
    empty = value(_read("# nothing"))
    assert isinstance(empty, ConfigMap)
    assert empty.mesh == MeshConfig()


def test_what_holds_of_upstreams_is_read_as_in_a_destination_rule() -> None:
    """Limits, detection, places, keepalive and the upgrade of HTTP."""
    found = value(
        _read(
            "defaultTrafficPolicy:\n"
            "  connectionPool: {tcp: {maxConnections: 5}}\n"
            "  outlierDetection: {consecutive5xxErrors: 2}\n"
            "localityLbSetting: {enabled: false}\n"
            "zoneAwareLbSetting: {minClusterSize: 2, failoverPriority: [app]}\n"
            "tcpKeepalive: {time: 60s}\n"
            "h2UpgradePolicy: UPGRADE"
        )
    )
    assert isinstance(found, ConfigMap)
    assert found.mesh == MeshConfig(
        connection_pool=ConnectionPool(max_connections=5),
        outlier_detection=OutlierDetection(consecutive_5xx_errors=2),
        locality=LocalityLb(enabled=False),
        zones=ZoneLb(minimum=2, failover_priority=("app",)),
        keepalive=TcpKeepalive(time=timedelta(seconds=60)),
        upgrades=True,
    )


def test_who_sees_what_is_read_as_on_objects() -> None:
    """Namespaces are selected as Kubernetes selects; nothing written is nothing said."""
    found = value(
        _read(
            "defaultServiceExportTo: ['.']\n"
            "defaultVirtualServiceExportTo: ['~']\n"
            "defaultDestinationRuleExportTo: []\n"
            "discoverySelectors:\n"
            "- matchLabels: {mesh: 'yes'}\n"
            "  matchExpressions: [{key: era, operator: NotIn, values: [old]}]"
        )
    )
    assert isinstance(found, ConfigMap)
    assert found.mesh == MeshConfig(
        service_export=ExportTo((".",)),
        route_export=EXPORT_NONE,
        discovery=(
            LabelSelector(
                labels=labels({"mesh": "yes"}),
                expressions=(Requirement(key="era", operator=Operator.NOT_IN, values=("old",)),),
            ),
        ),
    )


def test_other_config_maps_have_no_settings() -> None:
    """Whatever stands in them."""
    found = value(_read("connectTimeout: never", name="mine"))
    assert isinstance(found, ConfigMap)
    assert found.mesh is None


_SELECTOR = ".discoverySelectors[0]"
_ASKED = f"{_SELECTOR}.matchExpressions[0]"


def _asking(expression: str) -> str:
    return f"discoverySelectors: [{{matchExpressions: [{expression}]}}]"


@pytest.mark.parametrize(
    ("mesh", "code", "path"),
    [
        ("connectTimeout: 0s", "MZ0103", ".connectTimeout"),
        ("connectTimeout: 3", "MZ0103", ".connectTimeout"),
        ("outboundTrafficPolicy: {mode: SOME}", "MZ0103", ".outboundTrafficPolicy.mode"),
        ("trustDomainAliases: [a_b]", "MZ0103", ".trustDomainAliases[0]"),
        ("trustDomainAliases: a", "MZ0103", ".trustDomainAliases"),
        ("proxyListenPort: 70000", "MZ0103", ".proxyListenPort"),
        ("inboundTrafficPolicy: {mode: X}", "MZ0103", ".inboundTrafficPolicy.mode"),
        ("h2UpgradePolicy: DEFAULT", "MZ0103", ".h2UpgradePolicy"),
        ("dnsRefreshRate: 0s", "MZ0103", ".dnsRefreshRate"),
        ("protocolDetectionTimeout: -1s", "MZ0103", ".protocolDetectionTimeout"),
        ("pathNormalization: {normalization: ALL}", "MZ0103", ".pathNormalization.normalization"),
        ("h2UpgradePolicy: MAYBE", "MZ0103", ".h2UpgradePolicy"),
        ("meshMTLS: {minProtocolVersion: TLSV1_1}", "MZ0103", ".meshMTLS.minProtocolVersion"),
        ("meshMTLS: {cipherSuites: [NULL-MD5]}", "MZ0103", ".meshMTLS.cipherSuites"),
        ("meshMTLS: {ecdhCurves: [P-224]}", "MZ0103", ".meshMTLS.ecdhCurves"),
        ("tcpKeepalive: {probes: -1}", "MZ0103", ".tcpKeepalive.probes"),
        (
            "defaultHttpRetryPolicy: {attempts: 1, retryOn: never}",
            "MZ0103",
            ".defaultHttpRetryPolicy.retryOn",
        ),
        (
            "defaultInboundHttpRetryPolicy: {attempts: many}",
            "MZ0103",
            ".defaultInboundHttpRetryPolicy.attempts",
        ),
        (
            "defaultTrafficPolicy: {connectionPool: {}}",
            "MZ0104",
            ".defaultTrafficPolicy.connectionPool",
        ),
        (
            "defaultTrafficPolicy: {outlierDetection: {consecutiveLocalOriginFailures: 1}}",
            "MZ0202",
            ".defaultTrafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
        ),
        (
            "defaultTrafficPolicy: {outlierDetection: {minHealthPercent: 200}}",
            "MZ0103",
            ".defaultTrafficPolicy.outlierDetection.minHealthPercent",
        ),
        (
            "localityLbSetting: {failover: [{from: a, to: a}]}",
            "MZ0103",
            ".localityLbSetting.failover[0].to",
        ),
        ("defaultServiceExportTo: [shop]", "MZ0103", ".defaultServiceExportTo[0]"),
        ("defaultVirtualServiceExportTo: ['*', .]", "MZ0202", ".defaultVirtualServiceExportTo"),
        (
            "defaultDestinationRuleExportTo: ['~', .]",
            "MZ0202",
            ".defaultDestinationRuleExportTo",
        ),
        ("discoverySelectors: [{matchLabels: {a: '*'}}]", "MZ0103", _SELECTOR + ".matchLabels.a"),
        (_asking("{key: a, operator: In}"), "MZ0104", _ASKED + ".values"),
        (_asking("{key: a, operator: Exists, values: [b]}"), "MZ0202", _ASKED + ".values"),
        (_asking("{key: a, operator: Near, values: [b]}"), "MZ0103", _ASKED + ".operator"),
        (_asking("{key: '', operator: Exists}"), "MZ0103", _ASKED + ".key"),
        (_asking("{key: a, operator: In, values: [b*]}"), "MZ0103", _ASKED + ".values[0].a"),
        (
            "zoneAwareLbSetting: {failoverPriority: [topology.kubernetes.io/zone]}",
            "MZ0202",
            ".zoneAwareLbSetting.failoverPriority[0]",
        ),
        ("a: [", "MZ0103", ""),
        ("- a", "MZ0103", ""),
    ],
)
def test_mistakes_of_a_mesh_config_are_errors(mesh: str, code: str, path: str) -> None:
    """At the field within the text; the last good settings stay."""
    parsed = _read(mesh)
    assert parsed.object is None
    assert [(each, where) for each, where, _ in errors(parsed)] == [(code, f"data.mesh{path}")]


@pytest.mark.parametrize(
    "mesh",
    [
        "trustDomain: cluster.local",
        "rootNamespace: istio-system",
        "proxyListenPort: 15001",
        "proxyInboundListenPort: 15006",
        "enableAutoMtls: true",
        "inboundTrafficPolicy: {mode: PASSTHROUGH}",
        "defaultServiceExportTo: ['*']",
        "discoverySelectors: [{}]",
        "protocolDetectionTimeout: 0s",
        "outboundTrafficPolicy: {mode: ALLOW_ANY}",
    ],
)
def test_nothing_is_said_of_what_happens_anyway(mesh: str) -> None:
    """Istio's defaults, written out."""
    assert told(_read(mesh)) == []


_VALUES = {
    "proxyListenPort": "1",
    "proxyInboundListenPort": "1",
    "proxyHttpPort": "1",
    "trustDomain": "other.example",
    "rootNamespace": "other",
    "hboneIdleTimeout": "1s",
}


@pytest.mark.parametrize(
    "field",
    [
        info.alias
        for info in MeshConfigSpec.model_fields.values()
        if any(isinstance(mark, NotTranslated) for mark in info.metadata)
    ],
)
def test_a_setting_that_is_not_translated_is_told_of(field: str) -> None:
    """Each by its own name."""
    forms = (_VALUES.get(field, ""), "true", "[a]", "{a: b}", "text")
    parsed = [_read(f"{field}: {form}") for form in forms if form]
    sound = [one for one in parsed if one.object is not None]
    assert sound
    assert told(sound[0])[0][:2] == ("MZ0201", f"data.mesh.{field}")


@pytest.mark.parametrize(
    ("mesh", "path"),
    [
        ("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}", "outboundTrafficPolicy.mode"),
    ],
)
def test_a_mode_that_is_not_translated_is_told_of(mesh: str, path: str) -> None:
    """By the field's path."""
    assert [found[:2] for found in told(_read(mesh))] == [("MZ0201", f"data.mesh.{path}")]


def test_an_unknown_setting_is_told_of() -> None:
    """With the nearest name."""
    parsed = _read("conectTimeout: 3s")
    assert parsed.object is not None
    assert [found[:2] for found in told(parsed)] == [("MZ0105", "data.mesh.conectTimeout")]


def test_settings_come_and_go_with_their_config_map() -> None:
    """Those of the root namespace, ours before Istio's; what is not written is as the process has it."""
    own = MeshSettings(connect_timeout=timedelta(seconds=7), trust_domain_aliases=("a",))
    mesh = SmallMesh(settings=own)
    assert settings(mesh.db) == own
    mesh.apply(_text("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", namespace="shop"))
    assert settings(mesh.db) == own
    mesh.apply(_text("outboundTrafficPolicy: {mode: REGISTRY_ONLY}"))
    found = settings(mesh.db)
    assert (found.registry_only, found.connect_timeout) == (True, own.connect_timeout)
    assert found.trust_domain_aliases == ("a",)
    mesh.apply(_text("trustDomainAliases: []", name="mizzen"))
    assert (settings(mesh.db).registry_only, settings(mesh.db).trust_domain_aliases) == (False, ())
    mesh.delete("ConfigMap", "mizzen", "istio-system")
    assert settings(mesh.db).registry_only
    mesh.delete("ConfigMap", "istio", "istio-system")
    assert settings(mesh.db) == own


def test_defaults_of_the_mesh_are_read() -> None:
    """Each as it is read where an object says it."""
    found = value(
        _read("""
inboundTrafficPolicy: {mode: LOCALHOST}
protocolDetectionTimeout: 2s
dnsRefreshRate: 5s
tcpKeepalive: {probes: 3, time: 10s}
enableAutoMtls: false
pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}
meshMTLS: {minProtocolVersion: TLSV1_3, ecdhCurves: [P-256, X25519, P-256]}
tlsDefaults: {minProtocolVersion: TLSV1_3}
defaultTrafficPolicy:
  connectionPool: {tcp: {maxConnections: 5}}
  outlierDetection: {consecutive5xxErrors: 3}
defaultHttpRetryPolicy: {attempts: 4, retryOn: 5xx}
defaultInboundHttpRetryPolicy: {attempts: 0}
localityLbSetting: {enabled: false}
h2UpgradePolicy: UPGRADE
""")
    )
    assert isinstance(found, ConfigMap)
    assert found.mesh == MeshConfig(
        locality=LocalityLb(enabled=False),
        connection_pool=ConnectionPool(max_connections=5),
        outlier_detection=OutlierDetection(consecutive_5xx_errors=3),
        keepalive=TcpKeepalive(probes=3, time=timedelta(seconds=10)),
        upgrades=True,
        automatic_mtls=False,
        retries=Retries(attempts=4, retry_on="5xx"),
        inbound_retries=Retries(attempts=0),
        dns_refresh=timedelta(seconds=5),
        loopback=True,
        detection=timedelta(seconds=2),
        paths=Paths.DECODE_AND_MERGE_SLASHES,
        server_tls=TlsLimits(version="TLSV1_3", curves=("P-256", "X25519")),
        gateway_tls=TlsLimits(version="TLSV1_3"),
    )


def test_defaults_that_are_written_out_are_istios() -> None:
    """DEFAULT, TLS_AUTO and an empty policy ask for what happens anyway."""
    text = "pathNormalization: {}\nmeshMTLS: {}\ndefaultTrafficPolicy: {}\nh2UpgradePolicy: DO_NOT_UPGRADE"
    found = value(_read(text))
    assert isinstance(found, ConfigMap)
    assert found.mesh is not None
    assert found.mesh.over(MeshSettings()) == MeshSettings()


def test_ciphers_that_envoy_lacks_are_left_out() -> None:
    """And told of, while others remain."""
    parsed = _read("meshMTLS: {cipherSuites: [NULL-MD5, ECDHE-ECDSA-AES128-GCM-SHA256]}")
    assert [found[1] for found in told(parsed)] == ["data.mesh.meshMTLS.cipherSuites[0]"]
    assert isinstance(parsed.object, ConfigMap)
    assert parsed.object.mesh is not None
    assert parsed.object.mesh.server_tls == TlsLimits(ciphers=("ECDHE-ECDSA-AES128-GCM-SHA256",))

"""Whatever stands in a pod's annotations and probes, it is injected or refused with a reason; nothing breaks."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from mizzen_operator.inject.decide import decide, is_injected
from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.raw import InjectionRefused
from mizzen_operator.inject.settings import InjectSettings
from tests.support.kubelet import arguments

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

_SETTINGS: Final = InjectSettings()
_NAMES: Final = (
    "sidecar.istio.io/interceptionMode",
    "sidecar.istio.io/proxyCPULimit",
    "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/logLevel",
    "sidecar.istio.io/userVolume",
    "sidecar.istio.io/userVolumeMount",
    "sidecar.istio.io/nativeSidecar",
    "proxy.istio.io/config",
    "status.sidecar.istio.io/port",
    "readiness.status.sidecar.istio.io/periodSeconds",
    "traffic.sidecar.istio.io/includeInboundPorts",
    "traffic.sidecar.istio.io/excludeInboundPorts",
    "traffic.sidecar.istio.io/includeOutboundIPRanges",
    "traffic.sidecar.istio.io/excludeInterfaces",
    "inject.istio.io/templates",
    "prometheus.io/scrape",
    "prometheus.io/port",
    "prometheus.io/path",
    "sidecar.mizzen.dev/holdApplicationSeconds",
)
_PLAIN: Final = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
_JSON: Final = st.recursive(
    _PLAIN,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
_CONFIG: Final = st.dictionaries(
    st.sampled_from(["concurrency", "drainDuration", "interceptionMode", "proxyMetadata"]), _JSON
)
_VALUES: Final = (
    st.text(max_size=12)
    | st.sampled_from(["*", "8080", "true", "10.0.0.0/8", "TPROXY", "NONE", "sidecar,gateway"])
    | (_JSON | _CONFIG).map(json.dumps)
)
_PORTS: Final = st.integers(0, 65535) | st.sampled_from(["http", "80", "none"])
_PATHS: Final = st.text(max_size=8)
_PROBES: Final = (
    st.fixed_dictionaries({"httpGet": st.fixed_dictionaries({"port": _PORTS, "path": _PATHS})})
    | st.fixed_dictionaries({"tcpSocket": st.fixed_dictionaries({"port": _PORTS})})
    | st.fixed_dictionaries({"grpc": st.fixed_dictionaries({"port": st.integers(0, 65535)})})
)


def _pod(annotations: dict[str, str], probe: Json) -> Json:
    port = {"name": "http", "containerPort": 8080}
    container = {"name": "app", "ports": [port], "livenessProbe": probe}
    return {
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
        "spec": {"containers": [container]},
    }


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(_NAMES), _VALUES, max_size=3), _PROBES)
def test_a_pod_is_injected_or_refused(annotations: dict[str, str], probe: Json) -> None:
    """What comes out is JSON, its bootstrap too once the kubelet has filled it in, and is known as injected."""
    pod = _pod(annotations, probe)
    with suppress(InjectionRefused):
        made = inject_pod(pod, _SETTINGS).pod
        assert json.loads(json.dumps(made)) == made
        words = arguments(made, "10.0.0.7")
        bootstrap: dict[str, Any] = json.loads(words[words.index("--config-yaml") + 1])
        assert bootstrap["node"]["metadata"]["NAME"] == "web"
        assert is_injected(made)
        assert not decide(made, _SETTINGS).inject

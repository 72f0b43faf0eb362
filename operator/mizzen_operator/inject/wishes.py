"""What a pod's annotations ask of its proxy: Istio's names, read once into a value.

Everything that is wrong is found at once, for a pod that is refused comes back with all there is to correct.
What Istio has and Mizzen has not is said as a warning: the pod runs, and its owner knows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import yaml

from mizzen.capture import CaptureConfig, Family, Interception, restore_text
from mizzen_operator.inject import raw
from mizzen_operator.inject.raw import InjectionRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.inject.raw import Json
    from mizzen_operator.inject.settings import InjectSettings

_SIDECAR: Final = "sidecar.istio.io/"
_TRAFFIC: Final = "traffic.sidecar.istio.io/"
_READINESS: Final = "readiness.status.sidecar.istio.io/"
_CONFIG: Final = "proxy.istio.io/config"
_TEMPLATES: Final = "inject.istio.io/templates"
_HOLD: Final = "sidecar.mizzen.dev/holdApplicationSeconds"
_REROUTE: Final = "istio.io/reroute-virtual-interfaces"

# Istio has these, and a sidecar that is nothing but Envoy does not do them (yet).
_NOT_DONE: Final = (
    f"{_SIDECAR}bootstrapOverride",
    f"{_SIDECAR}discoveryAddress",
    f"{_SIDECAR}extraStatTags",
    f"{_SIDECAR}statsInclusionPrefixes",
    f"{_SIDECAR}statsInclusionSuffixes",
    f"{_SIDECAR}statsInclusionRegexps",
    f"{_SIDECAR}statsHistogramBuckets",
    f"{_READINESS}applicationPorts",
    "proxy.istio.io/overrides",
)
_CONFIG_READ: Final = frozenset(
    {
        "concurrency",
        "drainDuration",
        "holdApplicationUntilProxyStarts",  # a native sidecar always does
        "interceptionMode",
        "proxyMetadata",
        "terminationDrainDuration",
    }
)
# What of a gateway's pod the control plane reads.
_CONFIG_OF_GATEWAYS: Final = frozenset({"connectionSettings", "gatewayTopology"})
_LIMIT: Final = "globalDownstreamConnectionLimit"
_GATEWAY: Final = "gateway"
INTERCEPTION: Final = "sidecar.istio.io/interceptionMode"
NO_INTERCEPTION: Final = "NONE"
DNS_CAPTURE: Final = "sidecar.mizzen.dev/dnsCapture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """When and how often the kubelet asks whether the proxy is ready; seconds."""

    initial_delay: int = 0
    period: int = 15
    failure_threshold: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a pod wants; texts that are empty are the mesh's defaults.

    Attributes:
        capture: None where nothing is to be captured (``interceptionMode: NONE``).
        concurrency: Worker threads; None follows the CPU limit.
        max_connections: How many clients may be connected at a time; None is any number.
    """

    templates: tuple[str, ...] = ("sidecar",)
    image: str = ""
    log_level: str = ""
    component_log_level: str = "misc:error"
    cpu_request: str = ""
    memory_request: str = ""
    cpu_limit: str = ""
    memory_limit: str = ""
    native: bool = True
    rewrite_probes: bool = True
    merge_metrics: bool = True
    capture: CaptureConfig | None = field(default_factory=CaptureConfig)
    readiness: Readiness = field(default_factory=Readiness)
    status_port: int | None = None
    concurrency: int | None = None
    drain_seconds: int = 45
    linger_seconds: int = 5
    hold_seconds: int = 5
    max_connections: int | None = None
    net_bind_service: bool = False
    volumes: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()
    warnings: tuple[str, ...] = ()


def read_wishes(pod: Json, settings: InjectSettings) -> Wishes:
    """Return what a pod wants; :class:`InjectionRefused` with everything that cannot be read."""
    notes = _Notes(raw.annotations_of(pod))
    wishes = _wishes(notes, settings)
    if notes.problems:
        raise InjectionRefused("; ".join(notes.problems))
    return wishes


def _wishes(notes: _Notes, settings: InjectSettings) -> Wishes:
    config = notes.yaml(_CONFIG)
    return Wishes(
        templates=notes.words(_TEMPLATES) or ("sidecar",),
        image=notes.text(f"{_SIDECAR}proxyImage"),
        log_level=notes.text(f"{_SIDECAR}logLevel"),
        component_log_level=notes.text(f"{_SIDECAR}componentLogLevel") or "misc:error",
        cpu_request=notes.text(f"{_SIDECAR}proxyCPU"),
        memory_request=notes.text(f"{_SIDECAR}proxyMemory"),
        cpu_limit=notes.text(f"{_SIDECAR}proxyCPULimit"),
        memory_limit=notes.text(f"{_SIDECAR}proxyMemoryLimit"),
        native=notes.truth(f"{_SIDECAR}nativeSidecar", default=True) and settings.native_sidecars,
        rewrite_probes=notes.truth(
            f"{_SIDECAR}rewriteAppHTTPProbers", default=settings.rewrite_probes
        ),
        merge_metrics=notes.truth(
            "prometheus.istio.io/merge-metrics", default=settings.merge_metrics
        ),
        capture=_capture(notes, settings.capture, config),
        readiness=_readiness(notes),
        status_port=notes.number("status.sidecar.istio.io/port", None),
        concurrency=_concurrency(notes, config),
        drain_seconds=_seconds(notes, config, "drainDuration", 45),
        linger_seconds=_seconds(notes, config, "terminationDrainDuration", settings.linger_seconds),
        hold_seconds=notes.number(_HOLD, settings.hold_seconds) or 0,
        max_connections=_max_connections(notes, config),
        net_bind_service=notes.truth(f"{_SIDECAR}capNetBindService", default=False),
        volumes=notes.named(f"{_SIDECAR}userVolume", "name"),
        volume_mounts=notes.named(f"{_SIDECAR}userVolumeMount", "name"),
        warnings=tuple(
            f"{name} is not supported; it is ignored"
            for name in (*notes.present(_NOT_DONE), *_not_done_of(notes, config))
        ),
    )


def _not_done_of(notes: _Notes, config: Json) -> list[str]:
    """Return what of Istio's ProxyConfig a pod asks for and is not done."""
    unread = [name for name in config if name not in _CONFIG_READ]
    if _GATEWAY in notes.words(_TEMPLATES):
        # The control plane reads it, and tells of what is wrong with it.
        unread = [name for name in unread if name not in _CONFIG_OF_GATEWAYS]
    elif set(_mapping(config, "connectionSettings")) == {_LIMIT}:
        unread.remove("connectionSettings")
    return [f"{_CONFIG}: {name}" for name in unread]


def _max_connections(notes: _Notes, config: Json) -> int | None:
    metadata = _mapping(config, "proxyMetadata").get("ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS")
    found = _mapping(config, "connectionSettings").get(_LIMIT, metadata)
    if found is None or str(found).isdecimal():
        return int(str(found or 0)) or None
    notes.problems.append(f"{_CONFIG}: {_LIMIT}: {found!r} is not a number of connections")
    return None


def _mapping(config: Json, name: str) -> Json:
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def _capture(notes: _Notes, default: CaptureConfig, config: Json) -> CaptureConfig | None:
    mode = notes.text(INTERCEPTION) or str(config.get("interceptionMode", default.interception))
    if mode == NO_INTERCEPTION:
        return None
    if mode not in tuple(Interception):
        known = ", ".join((*Interception, NO_INTERCEPTION))
        notes.problems.append(f"{INTERCEPTION}: {mode!r} is not one of {known}")
        mode = default.interception
    metadata = _metadata(notes, config)
    wanted = CaptureConfig(
        proxy=default.proxy,
        interception=Interception(mode),
        include_inbound_ports=notes.ports("includeInboundPorts", default.include_inbound_ports),
        exclude_inbound_ports=_listed(notes, "excludeInboundPorts", default.exclude_inbound_ports),
        include_outbound_cidrs=notes.ranges(
            "includeOutboundIPRanges", default.include_outbound_cidrs
        ),
        exclude_outbound_cidrs=notes.some(
            "excludeOutboundIPRanges", default.exclude_outbound_cidrs
        ),
        include_outbound_ports=_listed(
            notes, "includeOutboundPorts", default.include_outbound_ports
        ),
        exclude_outbound_ports=_listed(
            notes, "excludeOutboundPorts", default.exclude_outbound_ports
        ),
        exclude_interfaces=notes.some("excludeInterfaces", default.exclude_interfaces),
        reroute_interfaces=notes.words(_REROUTE)
        or notes.some("kubevirtInterfaces", default.reroute_interfaces),
        include_owner_groups=_groups(metadata, "ISTIO_OUTBOUND_OWNER_GROUPS")
        or default.include_owner_groups,
        exclude_owner_groups=_groups(metadata, "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE")
        or default.exclude_owner_groups,
        dns=str(metadata.get("ISTIO_META_DNS_CAPTURE", default.dns)).lower() == "true",
    )
    return _checked(notes, wanted)


def _metadata(notes: _Notes, config: Json) -> Json:
    found = config.get("proxyMetadata") or {}
    if isinstance(found, dict):
        return found
    notes.problems.append(f"{_CONFIG}: proxyMetadata: it is not a mapping")
    return {}


def _checked(notes: _Notes, wanted: CaptureConfig) -> CaptureConfig:
    """Return what can be loaded; what cannot is a problem of the pod's."""
    try:
        for family in Family:
            restore_text(wanted, family)
    except ValueError as wrong:
        notes.problems.append(f"{_TRAFFIC}*: {wrong}")
    return wanted


def _listed(notes: _Notes, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    found = notes.ports(name, default)
    if isinstance(found, str):
        notes.problems.append(f"{_TRAFFIC}{name}: '*' is not a list of ports")
        return ()
    return found


def _groups(metadata: Mapping[str, object], name: str) -> tuple[str, ...]:
    value = str(metadata.get(name, ""))
    return () if value == "*" else _split(value)


def _readiness(notes: _Notes) -> Readiness:
    default = Readiness()
    return Readiness(
        initial_delay=notes.number(f"{_READINESS}initialDelaySeconds", 0) or 0,
        period=notes.number(f"{_READINESS}periodSeconds", None) or default.period,
        failure_threshold=notes.number(f"{_READINESS}failureThreshold", None)
        or default.failure_threshold,
    )


def _concurrency(notes: _Notes, config: Json) -> int | None:
    value = config.get("concurrency")
    if value is None or (isinstance(value, int) and value >= 0):
        return value or None
    notes.problems.append(f"{_CONFIG}: concurrency: {value!r} is not a number of threads")
    return None


def _seconds(notes: _Notes, config: Json, name: str, default: int) -> int:
    """Return a duration of whole seconds, as ``45s`` or ``1m``."""
    text = str(config.get(name, f"{default}s"))
    units = {"s": 1, "m": 60, "h": 3600}
    if text[:-1].isdecimal() and text[-1:] in units:
        return int(text[:-1]) * units[text[-1]]
    notes.problems.append(f"{_CONFIG}: {name}: {text!r} is not a duration such as 45s")
    return default


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


@dataclass(frozen=True, slots=True)
class _Notes:
    """Annotations, and what was wrong with those read so far."""

    values: Mapping[str, str]
    problems: list[str] = field(default_factory=list)

    def present(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name in self.values)

    def text(self, name: str) -> str:
        return self.values.get(name, "").strip()

    def words(self, name: str) -> tuple[str, ...]:
        return _split(self.text(name))

    def some(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a list of a capture annotation; the mesh's where the pod has none."""
        name = f"{_TRAFFIC}{name}"
        return self.words(name) if name in self.values else default

    def ranges(self, name: str, default: tuple[str, ...] | str) -> tuple[str, ...] | Literal["*"]:
        found = self.some(name, ("*",) if isinstance(default, str) else default)
        return "*" if found == ("*",) else found

    def ports(
        self, name: str, default: tuple[int, ...] | Literal["*"]
    ) -> tuple[int, ...] | Literal["*"]:
        name = f"{_TRAFFIC}{name}"
        if name not in self.values:
            return default
        words = self.words(name)
        if words == ("*",):
            return "*"
        wrong = [word for word in words if not (word.isdecimal() and 0 < int(word) < 65536)]
        if wrong:
            self.problems.append(f"{name}: {wrong[0]!r} is not a port")
            return ()
        return tuple(int(word) for word in words)

    def truth(self, name: str, *, default: bool) -> bool:
        text = self.text(name).lower()
        if text not in ("", "true", "false"):
            self.problems.append(f"{name}: {text!r} is neither true nor false")
        return default if not text else text == "true"

    def number(self, name: str, default: int | None) -> int | None:
        text = self.text(name)
        if not text:
            return default
        if not text.isdecimal():
            self.problems.append(f"{name}: {text!r} is not a number")
            return default
        return int(text)

    def yaml(self, name: str) -> Json:
        try:
            found = yaml.safe_load(self.text(name) or "{}")
        except yaml.YAMLError as wrong:
            self.problems.append(f"{name}: {' '.join(str(wrong).split())}")
            return {}
        if isinstance(found, dict):
            return found
        self.problems.append(f"{name}: it is not a mapping")
        return {}

    def named(self, name: str, key: str) -> tuple[Json, ...]:
        """Return what stands in JSON: a mapping from names to the rest, or a list."""
        try:
            found = json.loads(self.text(name) or "{}")
        except ValueError as wrong:
            self.problems.append(f"{name}: {wrong}")
            return ()
        if isinstance(found, dict) and all(isinstance(rest, dict) for rest in found.values()):
            return tuple({key: entry, **rest} for entry, rest in sorted(found.items()))
        self.problems.append(f"{name}: it is not a mapping from names to objects")
        return ()

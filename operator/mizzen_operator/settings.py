"""What an installation says of injection: a file that the chart writes, read once at the start.

Its fields are those of ``InjectSettings``, under the names that Kubernetes and Istio use for them. A field
that is not known here is an error and not passed over: who sets something wants it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError
from pydantic.alias_generators import to_camel

from mizzen.capture import CaptureConfig
from mizzen_operator.inject.settings import InjectSettings, Resources

if TYPE_CHECKING:
    from pathlib import Path

_ALL: Final = "*"


class SettingsError(ValueError):
    """The file cannot be read, or says what cannot be; the message says where."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class _Amounts(_Part):
    """Quantities as Kubernetes writes them; an empty one leaves the field away."""

    cpu: str = ""
    memory: str = ""


class _Resources(_Part):
    """What a proxy asks for, and what it is held to."""

    requests: _Amounts = Field(default_factory=_Amounts)
    limits: _Amounts = Field(default_factory=_Amounts)


class _Capture(_Part):
    """What is captured of pods whose annotations say nothing else."""

    dns: bool = False
    include_outbound_ip_ranges: list[str] = Field(default=[_ALL], alias="includeOutboundIPRanges")
    exclude_outbound_ip_ranges: list[str] = Field(default=[], alias="excludeOutboundIPRanges")
    exclude_inbound_ports: list[int] = []
    exclude_outbound_ports: list[int] = []

    def config(self) -> CaptureConfig:
        """Return it as capture takes it."""
        included = self.include_outbound_ip_ranges
        return CaptureConfig(
            dns=self.dns,
            include_outbound_cidrs=_ALL if included == [_ALL] else tuple(included),
            exclude_outbound_cidrs=tuple(self.exclude_outbound_ip_ranges),
            exclude_inbound_ports=tuple(self.exclude_inbound_ports),
            exclude_outbound_ports=tuple(self.exclude_outbound_ports),
        )


class _Injection(_Part):
    """The file."""

    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    image_pull_secrets: list[str] = []
    resources: _Resources | None = None
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical", "off"] = "warning"
    native_sidecars: bool = True
    hold_seconds: NonNegativeInt = 5
    linger_seconds: NonNegativeInt = 5
    enabled_by_default: bool = False
    never_inject: list[dict[str, str]] = []
    always_inject: list[dict[str, str]] = []
    merge_metrics: bool = True
    rewrite_probes: bool = True
    capture: _Capture = Field(default_factory=_Capture)
    templates: dict[str, str] = {}


def injection_settings(
    file: Path | None, *, namespace: str, sidecar_image: str = "", init_image: str = ""
) -> InjectSettings:
    """Return how pods are injected; an empty image is the default one. Raises :class:`SettingsError`."""
    ours = InjectSettings(namespace=namespace, ipv6=":" in os.environ.get("POD_IP", ""))
    ours = replace(
        ours,
        sidecar_image=sidecar_image or ours.sidecar_image,
        init_image=init_image or ours.init_image,
    )
    return ours if file is None else with_file(ours, file)


def with_file(settings: InjectSettings, file: Path) -> InjectSettings:
    """Return the settings with what a file says of them; :class:`SettingsError` where it says nothing usable."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"cannot read {file}: {error.strerror}") from error
    try:
        return with_text(settings, text)
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from error


def with_text(settings: InjectSettings, text: str) -> InjectSettings:
    """Return the settings with what a YAML text says of them."""
    try:
        said = _Injection.model_validate(yaml.safe_load(text) or {})
    except yaml.YAMLError as error:
        raise SettingsError(f"no YAML: {error}") from error
    except ValidationError as error:
        raise SettingsError("; ".join(_words(error))) from error
    return replace(
        settings,
        image_pull_policy=said.image_pull_policy,
        image_pull_secrets=tuple(said.image_pull_secrets),
        resources=settings.resources if said.resources is None else _resources(said.resources),
        log_level=said.log_level,
        native_sidecars=said.native_sidecars,
        hold_seconds=said.hold_seconds,
        linger_seconds=said.linger_seconds,
        enabled_by_default=said.enabled_by_default,
        never=tuple(map(_pairs, said.never_inject)),
        always=tuple(map(_pairs, said.always_inject)),
        merge_metrics=said.merge_metrics,
        rewrite_probes=said.rewrite_probes,
        capture=said.capture.config(),
        templates=said.templates,
    )


def _resources(said: _Resources) -> Resources:
    return Resources(
        cpu_request=said.requests.cpu,
        memory_request=said.requests.memory,
        cpu_limit=said.limits.cpu,
        memory_limit=said.limits.memory,
    )


def _pairs(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _words(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]

"""Telemetry (telemetry.istio.io): metrics, traces and access logs (Istio: telemetry.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, NotTranslated, Percent, WorkloadSelector
from mizzen.api.durations import PositiveDuration
from mizzen.api.findings import Finding, at, conflict, missing, without_effect
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import PolicyTargetReference, check_reach
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

_Mode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]


class ProviderRef(ApiModel):
    """A provider of the mesh's settings (Istio: ProviderRef)."""

    name: str = Field(min_length=1, description="Its name among extensionProviders.")


class ModeMatch(ApiModel):
    """Which side of the traffic is meant (Istio: TracingSelector, LogSelector)."""

    mode: _Mode = Field(default="CLIENT_AND_SERVER", description="Client, server or both.")


class LiteralTag(ApiModel):
    """A fixed text (Istio: Tracing.Literal)."""

    value: str = Field(min_length=1, description="The text.")


class EnvironmentTag(ApiModel):
    """A variable of the proxy's environment (Istio: Tracing.Environment)."""

    name: str = Field(min_length=1, description="The variable.")
    default_value: str = Field(default="", description="Where it is not set.")


class HeaderTag(ApiModel):
    """A request header (Istio: Tracing.RequestHeader)."""

    name: str = Field(min_length=1, description="The header.")
    default_value: str = Field(default="", description="Where it is not sent.")


class FormatterTag(ApiModel):
    """A text in the words of access logs (Istio: Tracing.Formatter)."""

    value: str = Field(min_length=1, description="The text.")


class CustomTag(ApiModel):
    """Where a tag's value comes from; one field is set (Istio: Tracing.CustomTag)."""

    literal: LiteralTag | None = Field(default=None, description="A fixed text.")
    environment: EnvironmentTag | None = Field(default=None, description="A variable.")
    header: HeaderTag | None = Field(default=None, description="A request header.")
    formatter: FormatterTag | None = Field(default=None, description="A formatted text.")


class Tracing(ApiModel):
    """How requests are traced (Istio: Tracing)."""

    match: ModeMatch | None = Field(default=None, description="Whose traces.")
    providers: list[ProviderRef] = Field(default_factory=list, description="Where traces go.")
    random_sampling_percentage: Percent | None = Field(
        default=None, description="How many requests are traced; 1 by default."
    )
    disable_span_reporting: bool | None = Field(
        default=None, description="Keep the context, report nothing."
    )
    custom_tags: dict[str, CustomTag] = Field(default_factory=dict, description="Further tags.")
    use_request_id_for_trace_sampling: bool | None = Field(
        default=None, description="Decide by x-request-id."
    )
    enable_istio_tags: bool | None = Field(default=None, description="Istio's own tags.")
    disable_context_propagation: bool | None = Field(
        default=None, description="Send no trace headers on."
    )


class MetricSelector(ApiModel):
    """Which metrics are meant (Istio: MetricSelector)."""

    metric: (
        Literal[
            "ALL_METRICS",
            "REQUEST_COUNT",
            "REQUEST_DURATION",
            "REQUEST_SIZE",
            "RESPONSE_SIZE",
            "TCP_OPENED_CONNECTIONS",
            "TCP_CLOSED_CONNECTIONS",
            "TCP_SENT_BYTES",
            "TCP_RECEIVED_BYTES",
            "GRPC_REQUEST_MESSAGES",
            "GRPC_RESPONSE_MESSAGES",
        ]
        | None
    ) = Field(default=None, description="One of Istio's metrics, or all.")
    custom_metric: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="A metric by its own name."
    )
    mode: _Mode = Field(default="CLIENT_AND_SERVER", description="Client, server or both.")


class TagOverride(ApiModel):
    """What becomes of a label (Istio: MetricsOverrides.TagOverride)."""

    operation: Literal["UPSERT", "REMOVE"] = Field(default="UPSERT", description="Set or remove.")
    value: str = Field(default="", description="A CEL expression, with UPSERT.")


class MetricsOverrides(ApiModel):
    """A change of some metrics (Istio: MetricsOverrides)."""

    match: MetricSelector | None = Field(default=None, description="Which metrics; all by default.")
    disabled: bool | None = Field(default=None, description="Whether they are off.")
    tag_overrides: dict[str, TagOverride] = Field(
        default_factory=dict, description="Their labels by name."
    )


class Metrics(ApiModel):
    """What is counted (Istio: Metrics)."""

    providers: list[ProviderRef] = Field(default_factory=list, description="Where metrics go.")
    overrides: list[MetricsOverrides] = Field(
        default_factory=list, description="Changes, in order."
    )
    reporting_interval: PositiveDuration | None = Field(
        default=None, description="How often TCP metrics are reported; 5s by default."
    )


class LogFilter(ApiModel):
    """Which requests are logged (Istio: AccessLogging.Filter)."""

    expression: str = Field(default="", description="A CEL expression.")


class AccessLogging(ApiModel):
    """What is logged (Istio: AccessLogging)."""

    match: ModeMatch | None = Field(default=None, description="Whose requests.")
    providers: list[ProviderRef] = Field(default_factory=list, description="Where logs go.")
    disabled: bool | None = Field(default=None, description="Whether logging is off.")
    filter: LogFilter | None = Field(default=None, description="Which requests.")


class TelemetrySpec(ApiModel):
    """A Telemetry's spec (Istio: Telemetry)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_ref: PolicyTargetReference | None = Field(default=None, description="Deprecated.")
    target_refs: list[PolicyTargetReference] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    tracing: list[Tracing] = Field(default_factory=list, description="Traces.")
    metrics: list[Metrics] = Field(default_factory=list, description="Metrics.")
    access_logging: list[AccessLogging] = Field(default_factory=list, description="Access logs.")


class TelemetryManifest(Manifest):
    """A Telemetry."""

    spec: Annotated[
        TelemetrySpec,
        NotTranslated("the Telemetry API comes with a later version; the object has no effect"),
    ] = Field(default_factory=TelemetrySpec, description="Its spec (Istio: Telemetry).")


def read_telemetry(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Telemetry that a manifest means."""
    return read(raw, key, TelemetryManifest, _convert, _check)


def _convert(_manifest: TelemetryManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: TelemetryManifest) -> Iterator[Finding]:
    yield from at(("spec",), _spec(manifest.spec))


def _spec(spec: TelemetrySpec) -> Iterator[Finding]:
    yield from check_reach(spec.selector, spec.target_ref, spec.target_refs)
    if len(spec.tracing) > 1:
        yield without_effect(("tracing", 1), "only the first entry of tracing counts")
    for index, tracing in enumerate(spec.tracing):
        if len(tracing.providers) > 1:
            path = ("tracing", index, "providers", 1)
            yield without_effect(path, "traces go to one provider, the first")
        for name, tag in tracing.custom_tags.items():
            yield from at(("tracing", index, "customTags"), _tag(name, tag))
    for index, metrics in enumerate(spec.metrics):
        for number, override in enumerate(metrics.overrides):
            yield from at(("metrics", index, "overrides", number), _override(override))


def _tag(name: str, tag: CustomTag) -> Iterator[Finding]:
    written = [field for field, value in tag if value is not None]
    if not name:
        yield missing((), "a tag's name cannot be empty")
    if not written:
        yield missing((name,), "a tag needs one of literal, environment, header and formatter")
    elif len(written) > 1:
        yield conflict((name, written[1]), f"{written[0]} and {written[1]} exclude each other")


def _override(override: MetricsOverrides) -> Iterator[Finding]:
    match = override.match
    if match is not None and match.metric and match.custom_metric:
        message = "metric and customMetric exclude each other"
        yield conflict(("match", "customMetric"), message)
    for name, tag in override.tag_overrides.items():
        path = ("tagOverrides", name, "value")
        if not name:
            yield without_effect(("tagOverrides",), "a label without a name is none")
        if tag.operation == "UPSERT" and not tag.value:
            yield missing(path, "UPSERT needs a value")
        elif tag.operation == "REMOVE" and tag.value:
            yield conflict(path, "REMOVE goes without a value")

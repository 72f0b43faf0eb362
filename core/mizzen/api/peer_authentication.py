"""PeerAuthentication (security.istio.io): whether mutual TLS is asked of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel, WorkloadSelector
from mizzen.api.findings import Finding, conflict, invalid
from mizzen.api.hosts import check_selector
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.meta import Meta, labels
from mizzen.model.security import MtlsMode, PeerAuthentication

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.names import ObjectKey

_HIGHEST_PORT: Final = 65_535


class MutualTls(ApiModel):
    """A mode (Istio: PeerAuthentication.MutualTLS)."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = Field(
        default="UNSET", description="UNSET inherits; PERMISSIVE where nothing is written at all."
    )


class PeerAuthenticationSpec(ApiModel):
    """A PeerAuthentication's spec (Istio: PeerAuthentication)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    mtls: MutualTls | None = Field(default=None, description="The mode of all ports.")
    port_level_mtls: dict[str, MutualTls] | None = Field(
        default=None, min_length=1, description="Modes of single ports of the workload."
    )


class PeerAuthenticationManifest(Manifest):
    """A PeerAuthentication."""

    spec: PeerAuthenticationSpec = Field(
        default_factory=PeerAuthenticationSpec, description="Its spec (Istio: PeerAuthentication)."
    )


def read_peer_authentication(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the PeerAuthentication that a manifest means."""
    return read(raw, key, PeerAuthenticationManifest, _convert, _check)


def _check(manifest: PeerAuthenticationManifest) -> Iterator[Finding]:
    selector, ports = manifest.spec.selector, manifest.spec.port_level_mtls or {}
    path = ("spec", "portLevelMtls")
    if selector is not None:
        yield from check_selector(("spec", "selector", "matchLabels"), selector.match_labels)
    if ports and (selector is None or not selector.match_labels):
        remedy = "Add selector.matchLabels: ports are those of single workloads."
        yield conflict(path, "portLevelMtls goes with a selector only", remedy)
    for port in ports:
        if not (port.isdecimal() and 1 <= int(port) <= _HIGHEST_PORT):
            yield invalid((*path, port), f"{port!r} is not a port's number")


def _convert(manifest: PeerAuthenticationManifest, meta: Meta) -> PeerAuthentication:
    spec = manifest.spec
    selector = labels(spec.selector.match_labels) if spec.selector is not None else None
    ports = {int(port): MtlsMode(mtls.mode) for port, mtls in (spec.port_level_mtls or {}).items()}
    return PeerAuthentication(
        meta=meta,
        # An empty selector selects the whole namespace, as no selector does.
        selector=selector or None,
        mode=MtlsMode(spec.mtls.mode) if spec.mtls else MtlsMode.UNSET,
        port_modes=tuple(sorted(ports.items())),
    )

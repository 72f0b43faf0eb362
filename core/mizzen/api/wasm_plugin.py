"""WasmPlugin (extensions.istio.io): filters in WebAssembly (Istio: wasm.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field

from mizzen.api.base import ApiModel, Int32, NotTranslated, PortSelector, WorkloadSelector
from mizzen.api.findings import Finding, at, conflict, duplicates, invalid
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.api.targets import PolicyTargetReference, check_reach
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey

_SCHEMES: Final = ("", "file", "http", "https", "oci")
_Name = Annotated[str, Field(min_length=1, max_length=253)]


class EnvVar(ApiModel):
    """A variable that the plug-in sees (Istio: EnvVar)."""

    name: str = Field(min_length=1, max_length=256, description="Its name.")
    value_from: Literal["INLINE", "HOST"] = Field(
        default="INLINE", description="From here, or from the proxy's environment."
    )
    value: str = Field(default="", max_length=2048, description="Its value, with INLINE.")


class VmConfig(ApiModel):
    """The machine that runs the plug-in (Istio: VmConfig)."""

    env: list[EnvVar] = Field(default_factory=list, max_length=256, description="Variables.")


class TrafficSelector(ApiModel):
    """Which traffic the plug-in sees (Istio: WasmPlugin.TrafficSelector)."""

    mode: Literal["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"] = Field(
        default="CLIENT_AND_SERVER", description="Client, server or both."
    )
    ports: list[PortSelector] = Field(default_factory=list, description="Ports; all by default.")


class WasmPluginSpec(ApiModel):
    """A WasmPlugin's spec (Istio: WasmPlugin)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    target_ref: PolicyTargetReference | None = Field(default=None, description="Deprecated.")
    target_refs: list[PolicyTargetReference] = Field(
        default_factory=list, max_length=16, description="Gateways, Services and the like."
    )
    url: str = Field(min_length=1, description="The module: oci:// (the default), http(s), file.")
    sha256: str = Field(
        default="", pattern=r"(^$|^[a-f0-9]{64}$)", description="Checksum of the module."
    )
    image_pull_policy: Literal["UNSPECIFIED_POLICY", "IfNotPresent", "Always"] = Field(
        default="UNSPECIFIED_POLICY", description="When an image is fetched anew."
    )
    image_pull_secret: _Name | None = Field(
        default=None, description="A Secret of the same namespace, for the registry."
    )
    verification_key: str = Field(default="", description="A key that signs the image.")
    plugin_config: dict[str, Any] | None = Field(
        default=None, description="What the plug-in is given."
    )
    plugin_name: _Name | None = Field(default=None, description="The plug-in's root id.")
    phase: Literal["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"] = Field(
        default="UNSPECIFIED_PHASE", description="Before which filters it stands."
    )
    priority: Int32 | None = Field(default=None, description="Higher ones come first in a phase.")
    fail_strategy: Literal["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"] = Field(
        default="FAIL_CLOSE", description="What happens where it cannot run."
    )
    vm_config: VmConfig | None = Field(default=None, description="The machine that runs it.")
    match: list[TrafficSelector] = Field(
        default_factory=list, description="Traffic that it sees; all by default."
    )
    type: Literal["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"] = Field(
        default="UNSPECIFIED_PLUGIN_TYPE", description="For requests or for connections."
    )


class WasmPluginManifest(Manifest):
    """A WasmPlugin."""

    spec: Annotated[
        WasmPluginSpec,
        NotTranslated("plug-ins come with a later version; the object has no effect"),
    ] = Field(description="Its spec (Istio: WasmPlugin).")


def read_wasm_plugin(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the WasmPlugin that a manifest means."""
    return read(raw, key, WasmPluginManifest, _convert, _check)


def _convert(_manifest: WasmPluginManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: WasmPluginManifest) -> Iterator[Finding]:
    yield from at(("spec",), _spec(manifest.spec))


def _spec(spec: WasmPluginSpec) -> Iterator[Finding]:
    yield from check_reach(spec.selector, spec.target_ref, spec.target_refs)
    if _scheme(spec.url) not in _SCHEMES:
        words = ", ".join(_SCHEMES[1:])
        yield invalid(("url",), f"{spec.url!r} is not a URL of one of {words}")
    variables = spec.vm_config.env if spec.vm_config is not None else []
    names = [variable.name for variable in variables]
    yield from duplicates(("vmConfig", "env"), names, "the variable")
    for index, variable in enumerate(variables):
        if variable.value and variable.value_from == "HOST":
            path = ("vmConfig", "env", index, "value")
            yield conflict(path, "a value goes with valueFrom INLINE only")


def _scheme(url: str) -> str | None:
    """Return a URL's scheme, None where it is no URL; an image's name alone has none."""
    if any(sign in url for sign in " %#\\") or url.startswith(":"):
        return None
    return urlsplit(url).scheme if "://" in url else ""

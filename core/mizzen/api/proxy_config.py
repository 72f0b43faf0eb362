"""ProxyConfig (networking.istio.io): settings of proxies themselves (Istio: proxy_config.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from mizzen.api.base import ApiModel, Count, NotTranslated, WorkloadSelector
from mizzen.api.findings import Finding
from mizzen.api.hosts import check_selector
from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.noted import Noted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mizzen.model.meta import Meta
    from mizzen.names import ObjectKey


class ProxyImage(ApiModel):
    """Which image the proxy is made of (Istio: ProxyImage)."""

    image_type: str = Field(default="", description="default, debug or distroless.")


class ProxyConfigSpec(ApiModel):
    """A ProxyConfig's spec (Istio: ProxyConfig)."""

    selector: WorkloadSelector | None = Field(
        default=None, description="Workloads; all of the namespace, or of the mesh, by default."
    )
    concurrency: Count | None = Field(default=None, description="Worker threads; 0 is all cores.")
    environment_variables: dict[str, Annotated[str, Field(max_length=2048)]] = Field(
        default_factory=dict, description="Further variables of the proxy."
    )
    image: ProxyImage | None = Field(default=None, description="The proxy's image.")


class ProxyConfigManifest(Manifest):
    """A ProxyConfig."""

    spec: Annotated[
        ProxyConfigSpec,
        NotTranslated("proxies are set by the injector's settings; the object has no effect"),
    ] = Field(default_factory=ProxyConfigSpec, description="Its spec (Istio: ProxyConfig).")


def read_proxy_config(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the ProxyConfig that a manifest means."""
    return read(raw, key, ProxyConfigManifest, _convert, _check)


def _convert(_manifest: ProxyConfigManifest, meta: Meta) -> Noted:
    return Noted(meta=meta)


def _check(manifest: ProxyConfigManifest) -> Iterator[Finding]:
    selector = manifest.spec.selector
    if selector is not None:
        yield from check_selector(("spec", "selector", "matchLabels"), selector.match_labels)

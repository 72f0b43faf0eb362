"""Keeps an application's metrics within reach of a Prometheus that has no certificate.

``prometheus.io/port`` is turned to 15020, where the application's page comes behind Envoy's, as Istio's
annotations and dashboards expect it. Envoy's alone are on 15090 (container port ``http-envoy-prom``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.render.application import METRICS_PATH, STATUS_PORT, Metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCRAPE: Final = "prometheus.io/scrape"
_PORT: Final = "prometheus.io/port"
_PATH: Final = "prometheus.io/path"
_SCHEME: Final = "prometheus.io/scheme"
# Where Istio looks when no port is named.
_USUAL_PORT: Final = 80

ANNOTATIONS: Final = {
    _SCRAPE: "true",
    _PORT: str(STATUS_PORT),
    _PATH: METRICS_PATH,
}


def own_metrics(annotations: Mapping[str, str]) -> Metrics | None:
    """Return where an application says that its metrics are; None where it does not, or not well."""
    if annotations.get(_SCRAPE) != "true":
        return None
    port = annotations.get(_PORT, str(_USUAL_PORT))
    if not port.isdecimal() or int(port) == STATUS_PORT:
        return None
    path = annotations.get(_PATH, "/metrics")
    return Metrics(
        port=int(port),
        path=path if path.startswith("/") else f"/{path}",
        tls=annotations.get(_SCHEME, "http") == "https",
    )


def wants_scraping(annotations: Mapping[str, str]) -> bool:
    """Tell whether a pod leaves it to the mesh; an application that refused is not scraped."""
    return annotations.get(_SCRAPE, "true") == "true"


def scraped_here(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations that send Prometheus to 15020."""
    kept = {key: value for key, value in annotations.items() if key != _SCHEME}
    return kept | ANNOTATIONS

"""``mizzen operator``: a replica of the control plane on a cluster; the container's one command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click
from typing_extensions import Unpack

if TYPE_CHECKING:
    from mizzen_operator.address import Address
    from mizzen_operator.logs import Level


class _Options(TypedDict):
    """The command line's options, as click hands them over."""

    namespace: str
    trust_domain: str
    http: Address
    xds: Address
    webhooks: Address
    replicas: Address
    log_level: Level
    kubeconfig: Path | None
    sidecar_image: str
    init_image: str
    injection: Path | None
    webhook_url: str
    drain_seconds: float
    certificate_hours: float
    root_days: float


def _address(_ctx: click.Context, _param: click.Parameter, text: str) -> Address:
    """Read HOST:PORT; what is none is an error of the command line."""
    from mizzen_operator.address import Address  # noqa: PLC0415

    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command(context_settings={"auto_envvar_prefix": "MIZZEN", "show_default": True})
@click.option("--namespace", default="mizzen-system", help="Where this control plane is.")
@click.option("--trust-domain", default="cluster.local", help="Of all identities.")
@click.option(
    "--xds",
    callback=_address,
    metavar="HOST:PORT",
    default="0.0.0.0:15012",
    help="For proxies, over TLS.",
)
@click.option(
    "--webhooks",
    callback=_address,
    metavar="HOST:PORT",
    default="0.0.0.0:9443",
    help="For API servers.",
)
@click.option(
    "--http",
    callback=_address,
    metavar="HOST:PORT",
    default="0.0.0.0:15014",
    help="Metrics, health, status.",
)
@click.option(
    "--replicas",
    callback=_address,
    metavar="HOST:PORT",
    default="0.0.0.0:15016",
    help="For other replicas.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    show_default="as from a pod",
    help="How the API server is reached.",
)
@click.option(
    "--sidecar-image", default="", show_default="this version's", help="Of injected proxies."
)
@click.option(
    "--init-image", default="", show_default="this version's", help="Of what captures traffic."
)
@click.option(
    "--injection",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file of what else injection is to know: see docs/kubernetes.md.",
)
@click.option(
    "--webhook-url",
    default="",
    show_default="the Service",
    help="Where API servers find the webhooks.",
)
@click.option(
    "--drain-seconds", type=click.FloatRange(0), default=3.0, help="Served on after SIGTERM."
)
@click.option(
    "--certificate-hours",
    type=click.FloatRange(0, min_open=True),
    default=24.0,
    help="Life of a workload's certificate; it is renewed at half of it.",
)
@click.option(
    "--root-days",
    type=click.FloatRange(0, min_open=True),
    default=3650.0,
    help="Life of a root; its successor is made at half of it.",
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info"
)
def operator(**options: Unpack[_Options]) -> None:
    """Run one replica of the control plane on a Kubernetes cluster.

    Every option can be given by the environment: --trust-domain as MIZZEN_TRUST_DOMAIN. SIGTERM and
    SIGINT hand the proxies over and stop it; SIGUSR1 replaces all certificates at once.

    Exit codes: 0 stopped as asked; 1 it could not start or go on; 2 the command line is wrong.
    """
    from mizzen_operator.kube_app import run  # noqa: PLC0415  # heavy
    from mizzen_operator.kube_settings import KubeSettings  # noqa: PLC0415
    from mizzen_operator.plane import StartError  # noqa: PLC0415

    try:
        run(KubeSettings(**options))
    except StartError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)

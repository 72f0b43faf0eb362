"""``mizzen serve``: a control plane on a folder of YAML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict

import click
from typing_extensions import Unpack

if TYPE_CHECKING:
    from mizzen_operator.address import Address
    from mizzen_operator.logs import Level

# Hidden, so that nothing in it is taken for a manifest.
_STATE_NAME: Final = ".mizzen"


class _Options(TypedDict):
    """The command line's options, as click hands them over."""

    xds: Address
    insecure_xds: Address | None
    http: Address
    state: Path | None
    trust_domain: str
    log_level: Level


def _address(_ctx: click.Context, _param: click.Parameter, text: str | None) -> Address | None:
    """Read HOST:PORT; what is none is an error of the command line."""
    from mizzen_operator.address import Address  # noqa: PLC0415

    if text is None:
        return None
    try:
        return Address.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--xds",
    callback=_address,
    metavar="HOST:PORT",
    default="127.0.0.1:15012",
    show_default=True,
    help="For proxies, over TLS.",
)
@click.option(
    "--insecure-xds",
    callback=_address,
    metavar="HOST:PORT",
    help="For development: no TLS, no identities; loopback only.",
)
@click.option(
    "--http",
    callback=_address,
    metavar="HOST:PORT",
    default="127.0.0.1:15014",
    show_default=True,
    help="Metrics, health, status.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Keys, tokens, status.  [default: DIRECTORY/.mizzen]",
)
@click.option(
    "--trust-domain", default="cluster.local", show_default=True, help="Of all identities."
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning"]),
    default="info",
    show_default=True,
)
def serve(directory: Path, **options: Unpack[_Options]) -> None:
    """Run a control plane on the YAML below DIRECTORY, and follow every change of it.

    A file that is broken leaves its objects' last good versions in force. SIGTERM and SIGINT stop it
    cleanly; SIGUSR1 replaces all certificates at once.

    Exit codes: 0 stopped as asked; 1 it could not start or go on; 2 the command line is wrong.
    """
    insecure = options["insecure_xds"]
    if insecure is not None and not insecure.is_loopback:
        raise click.BadParameter(
            f"{insecure} can be reached from elsewhere: without TLS only loopback is allowed",
            param_hint="--insecure-xds",
        )
    from mizzen_operator.app import AppSettings, StartError, run  # noqa: PLC0415  # heavy

    settings = AppSettings(
        directory=directory,
        xds=options["xds"],
        insecure_xds=insecure,
        http=options["http"],
        state=options["state"] or directory / _STATE_NAME,
        trust_domain=options["trust_domain"],
        log_level=options["log_level"],
    )
    try:
        run(settings)
    except StartError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)

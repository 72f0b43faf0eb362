"""``mizzen inject``: what the webhook does, done to files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

if TYPE_CHECKING:
    from mizzen_operator.inject.settings import InjectSettings


@click.command()
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.File(encoding="utf-8"),
    required=True,
    help="Manifests; - reads standard input.",
)
@click.option("--namespace", default="mizzen-system", help="Where the control plane is.")
@click.option("--revision", default="default", help="Which control plane, by istio.io/rev.")
@click.option(
    "--injection",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What the mesh says of injection: the operator's file of that name.",
)
@click.option("--sidecar-image", help="The Envoy to run.")
@click.option("--init-image", help="The image that has iptables.")
@click.option(
    "--kubernetes",
    "version",
    default="1.33",
    metavar="MAJOR.MINOR",
    help="For which version of Kubernetes; before 1.29 the sidecar is an ordinary container.",
)
def inject(file: TextIO, version: str, injection: Path | None, **options: str | None) -> None:
    """Add the proxy to the pods of a file, and print the result.

    Pods, and whatever has a template of them (Deployments, Jobs, …), get what the webhook would have given
    them; a pod that says sidecar.istio.io/inject: "false", and everything else, is printed as it is. Labels of
    the namespace are not asked for.

    Exit codes: 0 done; 1 a pod asks for what cannot be given; 2 the command line is wrong.
    """
    import yaml  # noqa: PLC0415  # heavy imports wait for the verb

    from mizzen_operator.inject.manifests import inject_text  # noqa: PLC0415
    from mizzen_operator.inject.raw import InjectionRefused  # noqa: PLC0415
    from mizzen_operator.settings import SettingsError, with_file  # noqa: PLC0415

    settings = _settings(options)
    try:
        mesh = settings if injection is None else with_file(settings, injection)
        text, warnings = inject_text(file.read(), mesh.for_version(*_numbers(version)))
    except (InjectionRefused, SettingsError, yaml.YAMLError) as wrong:
        click.echo(f"error: {wrong}", err=True)
        sys.exit(1)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    click.echo(text, nl=False)


def _numbers(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise click.BadParameter(f"{version!r} is not MAJOR.MINOR", param_hint="--kubernetes")
    return int(major), int(minor)


def _settings(options: dict[str, str | None]) -> InjectSettings:
    from mizzen_operator.inject.settings import InjectSettings  # noqa: PLC0415

    given = {name: value for name, value in options.items() if value is not None}
    return InjectSettings(**given)  # type: ignore[arg-type]  # options are named as fields

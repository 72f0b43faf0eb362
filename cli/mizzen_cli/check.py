"""``mizzen check``: whether a cluster is fit for Mizzen, and whether what is installed is well."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from typing_extensions import Unpack

from mizzen_cli.cluster import Options, cluster_options, run

if TYPE_CHECKING:
    from mizzen_cli.checks.run import Result


@click.command()
@click.option("--before", is_flag=True, help="Only what can be known before the installation.")
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="Format.")
@cluster_options
def check(*, before: bool, output: str, **options: Unpack[Options]) -> None:
    """Check a cluster before the installation, or the cluster and the installation after it.

    Each check says what it proves and, where it fails, what to do.

    Exit codes: 0 nothing failed (warnings do not count); 1 something failed; 2 the command line is
    wrong.
    """
    from mizzen_cli.checks.show import show_json, show_text  # noqa: PLC0415  # heavy

    results = run(_results(options, before=before))
    if output == "json":
        click.echo(show_json(results))
    else:
        show_text(results)
    sys.exit(1 if any(result.state == "failed" for result in results) else 0)


async def _results(options: Options, *, before: bool) -> tuple[Result, ...]:
    from mizzen_cli.checks.catalogue import AFTER, BEFORE  # noqa: PLC0415  # wait for the verb
    from mizzen_cli.checks.run import ClusterView, run_checks  # noqa: PLC0415
    from mizzen_operator.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient.auto(options["kubeconfig"]) as api:
        view = ClusterView(api, options["control_plane"])
        return await run_checks(BEFORE if before else (*BEFORE, *AFTER), view)

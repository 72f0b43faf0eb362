"""The ``mizzen`` command: a literal list of verbs, each in a file that is imported when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Final

import click
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class _Verb:
    """A verb, the module that has a click command of its name, and the line that help shows."""

    name: str
    module: str
    summary: str


_VERBS: Final = (
    _Verb("serve", "mizzen_cli.serve", "Run a control plane on a folder of YAML."),
    _Verb("operator", "mizzen_cli.operator", "Run a replica of the control plane on a cluster."),
    _Verb("translate", "mizzen_cli.translate", "Show what a proxy would get, offline."),
    _Verb("analyze", "mizzen_cli.analyze", "Check a folder of YAML and say what to correct."),
    _Verb("inject", "mizzen_cli.inject", "Add the proxy to the pods of a file, offline."),
    _Verb("check", "mizzen_cli.check", "Check a cluster, before and after the installation."),
    _Verb("proxies", "mizzen_cli.proxies", "Show each proxy, and how far it is."),
    _Verb("config", "mizzen_cli.config", "Show what a connected proxy is to have, and has."),
    _Verb("wait", "mizzen_cli.wait", "Wait until objects are live on every proxy they concern."),
    _Verb("demo", "mizzen_cli.demo.command", "Run a whole mesh on this machine, without root."),
    _Verb("version", "mizzen_cli.version", "Print versions."),
)


class _Verbs(click.Group):
    """Imports a verb only to run it, so that ``mizzen --help`` is instant."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb.name for verb in _VERBS]

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = next((verb for verb in _VERBS if verb.name == cmd_name), None)
        if verb is None:
            return None
        command = getattr(import_module(verb.module), verb.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{verb.module}.{verb.name} is not a command")
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        near = get_close_matches(args[0], names, n=1) if args[0] not in names else ()
        if near:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{near[0]}'?")
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb.name, verb.summary) for verb in _VERBS])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done; 1 findings, or it did not work; 2 the command line is wrong.",
)
def mizzen() -> None:
    """A service mesh: Istio's APIs, stock Envoy, and a control plane that says what is live."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the script's entry point."""
    mizzen.main(args=arguments, prog_name="mizzen")

"""``mizzen demo``: a whole mesh on this machine, without root, and a tour that proves what it promises."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mizzen_cli.demo.gate import gate
from mizzen_cli.demo.host import ForbiddenError
from mizzen_cli.demo.mesh import Mesh, MeshError, Sources
from mizzen_cli.demo.stage import Stage
from mizzen_cli.demo.tour import STEPS, take
from mizzen_cli.demo.traffic import Visitor

if TYPE_CHECKING:
    from mizzen_cli.demo.tour import Outcome

_SHOP: Final = Path(__file__).parents[3] / "samples" / "shop"
_GATEWAY: Final = "istio-ingressgateway-1"
_GATEWAY_PORT: Final = 80
_DEFAULT_PORT: Final = 8080


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What was asked for on the command line."""

    stay: bool
    port: int
    keep_logs: bool


@click.command()
@click.option("--stay", is_flag=True, help="Leave it running after the tour, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULT_PORT,
    show_default=True,
    help="Port of this machine for the ingress gateway; another one when it is taken.",
)
@click.option("--keep-logs", is_flag=True, help="Keep the work folder with all logs.")
def demo(*, stay: bool, port: int, keep_logs: bool) -> None:
    """Run a whole mesh on this machine, without root, and try what it promises.

    A control plane on a folder of YAML, and a small shop: each pod has a network of its own, a stock
    Envoy, and the capture rules of a real pod. Nothing of this machine is changed, and nothing is left
    behind.

    Exit codes: 0 every step of the tour held; 1 one did not, or the mesh did not start; 2 the command
    line is wrong; 130 ended by Ctrl-C.
    """
    console = Console()
    options = _Options(stay=stay, port=port, keep_logs=keep_logs)
    with suppress(ValueError):  # only the main thread may; elsewhere the caller sees to signals
        signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        held = asyncio.run(_demo(console, options))
    except (ForbiddenError, MeshError) as failed:
        stderr = Console(stderr=True, highlight=False, soft_wrap=True)
        stderr.print(f"[bold red]The demo cannot run.[/] {escape(str(failed))}")
        raise SystemExit(1) from failed
    except KeyboardInterrupt:
        console.print("\nEnded; nothing is left behind.")
        raise SystemExit(130) from None
    raise SystemExit(0 if held else 1)


async def _demo(console: Console, options: _Options) -> bool:
    began = time.monotonic()
    listening = _listen(options.port)
    with listening, Mesh(_sources(), keep=options.keep_logs) as mesh:
        if mesh.realm.host.note:
            console.print(f"[yellow]Note:[/] {escape(mesh.realm.host.note)}")
        await _start(console, mesh)
        async with AsyncExitStack() as stack:
            door = f"http://127.0.0.1:{listening.getsockname()[1]}"
            target = (mesh.pod(_GATEWAY).ip, _GATEWAY_PORT)
            await stack.enter_async_context(gate(mesh, listening, target))
            stage = await _set_stage(stack, mesh, door)
            console.print(
                f"The shop is open: [bold]{door}[/]  ({time.monotonic() - began:.1f} s)\n"
            )
            held = await _tour(console, stage)
            console.print(f"[dim]{time.monotonic() - began:.0f} s in all.[/]")
            if options.keep_logs:
                console.print(f"Logs: {mesh.logs}")
            if options.stay:
                await _stay(console, stage)
    return held


async def _start(console: Console, mesh: Mesh) -> None:
    """Start everything in order, and say what is being done."""
    pods, proxies = len(mesh.cast.pods), len(mesh.proxied)
    for what, start in (
        (f"{pods} networks with capture", mesh.start_networks),
        ("the shop's applications", mesh.start_apps),
        ("the control plane", mesh.start_control_plane),
        (f"{proxies} Envoys, each with its whole configuration", mesh.start_proxies),
    ):
        began = time.monotonic()
        await asyncio.to_thread(start)
        console.print(f"  [green]✓[/] {what}  [dim]{time.monotonic() - began:.1f} s[/]")


async def _set_stage(stack: AsyncExitStack, mesh: Mesh, door: str) -> Stage:
    """Let everyone speak who has something to say in the tour."""
    inside = {
        pod.name: await stack.enter_async_context(Visitor(mesh, pod.name))
        for pod in mesh.cast.pods
        if not pod.router
    }
    outside = await stack.enter_async_context(Visitor(mesh, from_host=True))
    return Stage(mesh=mesh, door=door, outside=outside, inside=inside)


async def _tour(console: Console, stage: Stage) -> bool:
    held = 0
    for number, step in enumerate(STEPS, start=1):
        console.print(f"[bold]{number}. {step.title}[/]")
        outcome = await take(step, stage)
        console.print(_table(outcome))
        held += outcome.holds
    style = "green" if held == len(STEPS) else "red"
    console.print(f"[bold {style}]{held} of {len(STEPS)} promises held.[/]")
    return held == len(STEPS)


def _table(outcome: Outcome) -> Table:
    """Return what was measured, one line each."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=3, justify="right")
    table.add_column(ratio=2)
    table.add_column(ratio=3)
    for found in outcome.measured:
        sign = "[green]✓[/]" if found.holds else "[bold red]✗[/]"
        table.add_row(sign, escape(found.what), f"[bold]{escape(found.value)}[/]")
    table.add_row("", "", f"[dim]{outcome.seconds:.1f} s[/]")
    return table


async def _stay(console: Console, stage: Stage) -> None:
    """Say what there is to try, and wait for Ctrl-C."""
    console.print(
        f"""
The mesh stays until Ctrl-C. Try:

  curl {stage.door}/                            the shop, through the gateway
  curl {stage.door}/reviews                     reviews, by the weights of the canary
  curl -H 'end-user: tester' {stage.door}/reviews

Edit, save, and ask again:

  {stage.mesh.folder}/canary.yaml
""",
        highlight=False,
    )
    await asyncio.Event().wait()


def _sources() -> Sources:
    if not _SHOP.is_dir():
        raise ForbiddenError("The shop is in samples/ of a checkout: run the demo from there.")
    return Sources(manifests=_SHOP, apps=_SHOP / "app")


def _listen(port: int) -> socket.socket:
    """Open the gateway's port on this machine, or any other one when it is taken."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=256)


def _as_interrupt(_number: int, _frame: object) -> None:
    """Let SIGTERM clean up just as Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)

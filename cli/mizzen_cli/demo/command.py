"""``mizzen demo``: a whole mesh on this machine, without root, and a tour that proves what it promises."""

from __future__ import annotations

import asyncio
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

from mizzen_cli.demo.gate import gate
from mizzen_cli.demo.host import ForbiddenError
from mizzen_cli.demo.mesh import Mesh, MeshError, Sources
from mizzen_cli.demo.show import Show
from mizzen_cli.demo.stage import GATEWAY, SAMPLES, Stage, start
from mizzen_cli.demo.status import read_sent
from mizzen_cli.demo.stay import stay
from mizzen_cli.demo.tour import STEPS, Outcome, take
from mizzen_cli.demo.traffic import Visitor
from mizzen_cli.demo.wire import InsideError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mizzen_cli.demo.tour import Step

_SHOP: Final = SAMPLES / "shop"
_GATEWAY_PORT: Final = 80
_DEFAULT_PORT: Final = 8080
# What shells say of a command that a signal has ended.
_ENDED_BY: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What was asked for on the command line."""

    steps: tuple[Step, ...]
    sample: Path | None
    stay: bool
    port: int
    keep_logs: bool


class _EndedError(Exception):
    """A signal has ended the demo."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@click.command()
@click.option("--stay", is_flag=True, help="Leave it running after the tour, until Ctrl-C.")
@click.option(
    "--only",
    "names",
    multiple=True,
    type=click.Choice([step.id for step in STEPS]),
    help="Take only this step of the tour; may be given more than once.",
)
@click.option(
    "--sample",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="In place of the shop's rules and the tour: the YAML of this folder, and stay.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_DEFAULT_PORT,
    show_default=True,
    help="Port of this machine for the ingress gateway; another one when it is taken.",
)
@click.option("--keep-logs", is_flag=True, help="Keep the work folder with all logs.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write what is shown as an SVG, too.",
)
def demo(
    *,
    stay: bool,
    names: tuple[str, ...],
    sample: Path | None,
    port: int,
    keep_logs: bool,
    picture: Path | None,
) -> None:
    """Run a whole mesh on this machine, without root, and try what it promises.

    A control plane on a folder of YAML, and a small shop: each pod has a network of its own, a stock
    Envoy, and the capture rules of a real pod. Nothing of this machine is changed, and nothing is left
    behind.

    Exit codes: 0 every step of the tour held; 1 one did not, or the mesh did not start; 2 the command
    line is wrong; 130 and 143 ended by Ctrl-C and SIGTERM. With --stay, these two are the way to end
    it, and the code is the tour's.
    """
    steps = tuple(step for step in STEPS if sample is None and (not names or step.id in names))
    options = _Options(
        steps=steps, sample=sample, stay=stay or bool(sample), port=port, keep_logs=keep_logs
    )
    show = Show(picture=picture)
    try:
        held = asyncio.run(_until_signalled(_demo(show, options)))
    except (ForbiddenError, MeshError, InsideError) as failed:
        stderr = Console(stderr=True, highlight=False, soft_wrap=True)
        stderr.print(f"[bold red]The demo cannot run.[/] {escape(str(failed))}")
        raise SystemExit(1) from failed
    except _EndedError as ended:
        show.say("Ended; nothing is left behind.")
        raise SystemExit(_ENDED_BY + ended.number) from None
    show.close()
    raise SystemExit(0 if held else 1)


async def _until_signalled(work: Coroutine[object, object, bool]) -> bool:
    """Let the work clean up when Ctrl-C or SIGTERM come; then :class:`_EndedError`."""
    running = asyncio.ensure_future(work)
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        running.cancel()

    loop = asyncio.get_running_loop()
    with suppress(ValueError, RuntimeError):  # only the main thread may
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, int(number))
    try:
        return await running
    except asyncio.CancelledError:
        if not received:
            raise
        raise _EndedError(received[0]) from None


async def _demo(show: Show, options: _Options) -> bool:
    began = time.monotonic()
    listening = _listen(options.port)
    with listening, Mesh(_sources(options.sample), keep=options.keep_logs) as mesh:
        show.opening(len(mesh.cast.pods), mesh.realm.host.note)
        await _start(show, mesh)
        async with AsyncExitStack() as stack:
            door = f"http://127.0.0.1:{listening.getsockname()[1]}"
            target = (mesh.pod(GATEWAY).ip, _GATEWAY_PORT)
            await stack.enter_async_context(gate(mesh, listening, target))
            stage = await _set_stage(stack, mesh, door)
            show.open(door, time.monotonic() - began)
            outcomes = await _tour(show, stage, options.steps)
            if outcomes:
                show.final(outcomes, stage.requests, time.monotonic() - began)
            if options.keep_logs:
                show.say(f"Logs: {mesh.logs}")
            held = all(outcome.holds for outcome in outcomes)
            if options.stay:
                await _stay(show, stage, options.sample)
    return held


async def _start(show: Show, mesh: Mesh) -> None:
    """Start everything in order, and say what is being done."""
    apps = sum(bool(pod.command) for pod in mesh.cast.pods)
    for what, work in (
        (f"{len(mesh.cast.pods)} networks, with the capture rules of a pod", mesh.start_networks),
        (f"{apps} applications", mesh.start_apps),
        ("the control plane, on the YAML of samples/shop", mesh.start_control_plane),
        (
            f"{len(mesh.proxied)} stock Envoys, each with its first configuration",
            mesh.start_proxies,
        ),
    ):
        began = time.monotonic()
        with show.doing(f"starting {what}"):
            await start(mesh, work)
        show.started(what, time.monotonic() - began)


async def _set_stage(stack: AsyncExitStack, mesh: Mesh, door: str) -> Stage:
    """Let everyone speak who has something to say in the tour."""
    inside = {
        pod.name: await stack.enter_async_context(Visitor(mesh, pod.name))
        for pod in mesh.cast.pods
        if not pod.router
    }
    outside = await stack.enter_async_context(Visitor(mesh, from_host=True))
    return Stage(mesh=mesh, door=door, outside=outside, inside=inside, first=read_sent(mesh))


async def _tour(show: Show, stage: Stage, steps: tuple[Step, ...]) -> tuple[Outcome, ...]:
    outcomes: list[Outcome] = []
    for number, step in enumerate(STEPS, start=1):
        if step not in steps:
            continue
        show.step(number, step)
        with show.doing(step.title):
            outcome = await take(step, stage, show.measured)
        show.verdict(outcome)
        outcomes.append(outcome)
    return tuple(outcomes)


async def _stay(show: Show, stage: Stage, sample: Path | None) -> None:
    """Stay until a signal comes; then it is not the signal but the tour that decides the exit code."""
    with suppress(asyncio.CancelledError):
        await stay(show, stage, sample)
    show.say("Ended; nothing is left behind.")


def _sources(sample: Path | None) -> Sources:
    """Return the shop with its rules; or its workloads and its door, with a sample's rules."""
    if not _SHOP.is_dir():
        raise ForbiddenError("The shop is in samples/ of a checkout: run the demo from there.")
    apps = _SHOP / "app"
    if sample is None:
        return Sources(manifests=_SHOP, apps=apps)
    more = (_SHOP / "gateway.yaml", *sorted(sample.glob("*.yaml")))
    return Sources(manifests=_SHOP / "workloads", apps=apps, more=more)


def _listen(port: int) -> socket.socket:
    """Open the gateway's port on this machine, or any other one when it is taken."""
    try:
        return socket.create_server(("127.0.0.1", port), backlog=256)
    except OSError:
        return socket.create_server(("127.0.0.1", 0), backlog=256)

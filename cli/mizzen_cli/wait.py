"""``mizzen wait``: until what was applied is live on every proxy that it concerns, or cannot be."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import Unpack

from mizzen_cli.cluster import FailedError, Options, cluster_options, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen_operator.kube.client import ApiClient

Json = dict[str, Any]

# Status is written a few times a second at most.
_LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An object that is waited for."""

    word: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How far an object is; ``is_live`` is None while it may still become so."""

    is_live: bool | None
    message: str


@click.command()
@click.argument("objects", nargs=-1, metavar="KIND/NAME...")
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A file or folder of manifests, as was applied.",
)
@click.option("-n", "--namespace", default="default", show_default=True, help="The objects'.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds.")
@cluster_options
def wait(
    objects: tuple[str, ...],
    files: tuple[Path, ...],
    namespace: str,
    timeout: float,
    **options: Unpack[Options],
) -> None:
    """Wait until objects are live on every proxy that they concern: vs/reviews, dr/reviews, ...

    Ends at once where an object cannot become live: it is not accepted, or a proxy refuses it.

    Exit codes: 0 all are live; 1 one is not, or not in time; 2 the command line is wrong.
    """
    try:
        targets = (*(_named(word, namespace) for word in objects), *_written(files, namespace))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not targets:
        raise click.UsageError("say what to wait for: KIND/NAME, or -f FILE")
    verdicts = run(_wait(targets, timeout, options))
    sys.exit(0 if all(verdict.is_live for verdict in verdicts) else 1)


def _named(word: str, namespace: str) -> Target:
    from mizzen.api.crd_kinds import CUSTOM_KINDS  # noqa: PLC0415  # heavy imports wait for the verb
    from mizzen_operator.kube.paths import path  # noqa: PLC0415

    kind, _, name = word.partition("/")
    plain = kind.lower().partition(".")[0]
    for known in CUSTOM_KINDS:
        if plain in (known.name.lower(), known.plural, known.short) and known.spec and name:
            version = f"{known.group}/{known.versions[0]}"
            return Target(
                word=f"{known.name} {namespace}/{name}",
                path=path(version, known.plural, namespace, name),
            )
    raise ValueError(f"{word!r} is not KIND/NAME of a kind that has a status, such as vs/reviews")


def _written(files: tuple[Path, ...], namespace: str) -> Iterator[Target]:
    """Yield the objects of manifests that have a status of ours; those of other kinds are passed over."""
    for manifest in _manifests(files):
        metadata = manifest.get("metadata") or {}
        try:
            yield _named(
                f"{manifest.get('kind')}/{metadata.get('name', '')}",
                metadata.get("namespace") or namespace,
            )
        except ValueError:
            continue


def _manifests(files: tuple[Path, ...]) -> Iterator[Json]:
    import yaml  # noqa: PLC0415

    for place in files:
        below = sorted((*place.rglob("*.yaml"), *place.rglob("*.yml"), *place.rglob("*.json")))
        for file in below if place.is_dir() else (place,):
            try:
                documents = list(yaml.load_all(file.read_text(), Loader=yaml.CSafeLoader))
            except yaml.YAMLError as error:
                raise ValueError(f"{file} is not YAML: mizzen analyze says where") from error
            for document in documents:
                if isinstance(document, dict):
                    items = document.get("items")
                    yield from items if isinstance(items, list) else (document,)


async def _wait(
    targets: tuple[Target, ...], timeout_s: float, options: Options
) -> tuple[Verdict, ...]:
    from mizzen_operator.kube.client import ApiClient  # noqa: PLC0415

    async with ApiClient.auto(options["kubeconfig"]) as api:
        each = (_wait_for(api, target, timeout_s) for target in dict.fromkeys(targets))
        return tuple(await asyncio.gather(*each))


async def _wait_for(api: ApiClient, target: Target, timeout_s: float) -> Verdict:
    """Look until it is decided; tell of every step."""
    said = ""
    verdict = Verdict(is_live=None, message="not looked at yet")
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                verdict = await _look(api, target)
                if verdict.message != said:
                    said = verdict.message
                    click.echo(f"{target.word}: {said}")
                if verdict.is_live is not None:
                    return verdict
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        click.echo(f"{target.word}: not live after {timeout_s:g} s: {verdict.message}", err=True)
        return verdict


async def _look(api: ApiClient, target: Target) -> Verdict:
    from mizzen_operator.kube.client import NotFoundError  # noqa: PLC0415

    try:
        return verdict_of(await api.get(target.path))
    except NotFoundError as error:
        raise FailedError(f"there is no {target.word}: {error.message}") from error


def verdict_of(found: Json) -> Verdict:
    """Return how far an object is, by its conditions; those of an older generation say nothing."""
    conditions = {
        one.get("type"): one
        for one in (found.get("status") or {}).get("conditions") or ()
        if str(one.get("observedGeneration", "")) == str(found["metadata"].get("generation", ""))
    }
    accepted, live = conditions.get("Accepted"), conditions.get("Live")
    if accepted is not None and accepted.get("status") == "False":
        # What refers to something that is not there yet may go on once it is.
        is_final = accepted.get("reason") == "Invalid"
        message = f"not accepted: {accepted.get('message', '')}"
        return Verdict(is_live=False if is_final else None, message=message)
    if live is None:
        return Verdict(is_live=None, message="waiting for its status")
    message = str(live.get("message", ""))
    if live.get("status") == "True":
        return Verdict(is_live=True, message=message or "live")
    is_refused = live.get("reason") == "Rejected"
    return Verdict(is_live=False if is_refused else None, message=message or "not live yet")

"""How the verbs for a cluster reach it: the API server, and through it the control plane's replicas."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

import aiohttp
import click

from mizzen_operator.http import PROOF_HEADER
from mizzen_operator.kube.client import ApiClient, ApiError, content_of, open_session
from mizzen_operator.kube.connection import ConfigError
from mizzen_operator.kube.paths import path
from mizzen_operator.kube.reviews import AUDIENCE
from mizzen_operator.trust import ACCOUNT, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

Json = dict[str, Any]
F = TypeVar("F", bound="Callable[..., object]")
T = TypeVar("T")

PODS_OF: Final = "app.kubernetes.io/name=mizzen"

_HTTP_PORT: Final = 15014
_SECONDS: Final = 20.0
# Long enough for one command, the shortest that API servers give.
_TOKEN_SECONDS: Final = 600


class Options(TypedDict):
    """The options that all verbs for a cluster have."""

    kubeconfig: Path | None
    control_plane: str


class FailedError(Exception):
    """The verb cannot do what it is asked for; the message says why and what to do."""


def cluster_options(verb: F) -> F:
    """Add to a verb the options that say which cluster."""
    for option in (
        click.option(
            "--control-plane",
            metavar="NAMESPACE",
            default=NAMESPACE,
            show_default=True,
            envvar="MIZZEN_NAMESPACE",
            help="Where the control plane is.",
        ),
        click.option(
            "--kubeconfig",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="How the API server is reached.  [default: as kubectl]",
        ),
    ):
        verb = option(verb)
    return verb


def address_option(verb: F) -> F:
    """Add to a verb the option to ask a replica itself."""
    option = click.option(
        "--address",
        "addresses",
        multiple=True,
        metavar="HOST:PORT",
        help="A control plane's HTTP port, asked instead of the replicas of a cluster.",
    )
    return option(verb)


def run(work: Awaitable[T]) -> T:
    """Run a verb's work; what it cannot do goes to stderr, with exit code 1."""

    async def main() -> T:
        return await work

    try:
        return asyncio.run(main())
    except (FailedError, ConfigError, ApiError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica of the control plane, and how it is reached."""

    name: str
    base: str
    headers: Mapping[str, str]


class Replicas:
    """The replicas of a control plane, asked one by one."""

    def __init__(self, session: aiohttp.ClientSession, replicas: tuple[Replica, ...]) -> None:
        self._session = session
        self.replicas = replicas

    async def ask_all(self, place: str) -> dict[str, Json]:
        """Return the page of each replica by its name; one that has not got it is left out.

        :class:`FailedError` where none can be asked.
        """
        answers = await asyncio.gather(*(self._ask(one, place) for one in self.replicas))
        if answers and all(isinstance(answer, FailedError) for answer in answers):
            raise next(answer for answer in answers if isinstance(answer, FailedError))
        named = zip(self.replicas, answers, strict=True)
        return {one.name: answer for one, answer in named if isinstance(answer, dict)}

    async def _ask(self, replica: Replica, place: str) -> Json | FailedError | None:
        url = f"{replica.base}{place}"
        try:
            async with self._session.get(url, headers=replica.headers) as answer:
                return content_of(answer.status, answer.reason or "", await answer.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return FailedError(
                f"{replica.name} cannot be asked: {str(error) or type(error).__name__}"
            )
        except ApiError as error:
            return None if error.status == 404 else FailedError(f"{replica.name}: {error}")


@asynccontextmanager
async def replicas_at(addresses: tuple[str, ...]) -> AsyncIterator[Replicas]:
    """Reach control planes at their own HTTP ports."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        known = (Replica(name=one, base=f"http://{one}", headers={}) for one in addresses)
        yield Replicas(session, tuple(known))


@asynccontextmanager
async def replicas_of(api: ApiClient, namespace: str) -> AsyncIterator[Replicas]:
    """Reach the replicas in a namespace through the API server, as who is one of them.

    Raises:
        FailedError: There is none.
        ApiError: The user may not see pods, or may not have a token of the control plane made.
    """
    pods = await api.list(path("v1", "pods", namespace), labelSelector=PODS_OF)
    names = sorted(pod["metadata"]["name"] for pod in pods if _runs(pod))
    if not names:
        raise FailedError(
            f"no replica runs in namespace {namespace}: mizzen check says what is missing"
        )
    headers = {PROOF_HEADER: await _proof(api, namespace)}
    start = f"{api.connection.server}{path('v1', 'pods', namespace)}"
    known = (
        Replica(name=name, base=f"{start}/http:{name}:{_HTTP_PORT}/proxy", headers=headers)
        for name in names
    )
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    async with open_session(api.connection, timeout=timeout) as session:
        yield Replicas(session, tuple(known))


def _runs(pod: Json) -> bool:
    is_leaving = bool(pod["metadata"].get("deletionTimestamp"))
    return not is_leaving and pod.get("status", {}).get("phase") == "Running"


async def _proof(api: ApiClient, namespace: str) -> str:
    """Return a short-lived token of the control plane's own account."""
    place = path("v1", "serviceaccounts", namespace, ACCOUNT, "token")
    spec = {"audiences": [AUDIENCE], "expirationSeconds": _TOKEN_SECONDS}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    token: str = (await api.create(place, body))["status"]["token"]
    return token


@asynccontextmanager
async def control_planes(
    options: Options, addresses: tuple[str, ...] = ()
) -> AsyncIterator[Replicas]:
    """Reach the replicas that the command line means."""
    if addresses:
        async with replicas_at(addresses) as replicas:
            yield replicas
        return
    async with (
        ApiClient.auto(options["kubeconfig"]) as api,
        replicas_of(api, options["control_plane"]) as replicas,
    ):
        yield replicas

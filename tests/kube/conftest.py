"""The API server that the suite shares: every test keeps to a namespace or to names of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from e2e.cluster.programs import ProgramMissing
from mizzen.identity import DEFAULT_TRUST_DOMAIN
from mizzen_certs import Authority, MemoryStore, SystemClock
from mizzen_operator.kube.client import ApiClient
from tests.support.clock import ManualClock
from tests.support.cluster_objects import apply_crds
from tests.support.kube_api import ApiServer
from tests.support.kube_shop import Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


def _served(folder: Path) -> Iterator[ApiServer]:
    try:
        server = ApiServer(folder)
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server, for the whole session; an outage is for a server of a test's own."""
    yield from _served(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server of a module's own: it asks the webhooks of the module's replicas."""
    yield from _served(tmp_path_factory.mktemp("own"))


@pytest.fixture(scope="session")
def server_with_kinds(api_server: ApiServer) -> ApiServer:
    """The API server, which has the mesh's kinds."""

    async def install() -> None:
        async with ApiClient.from_kubeconfig(api_server.kubeconfig) as client:
            await apply_crds(client)

    asyncio.run(install())
    return api_server


@pytest_asyncio.fixture
async def api(server_with_kinds: ApiServer) -> AsyncIterator[ApiClient]:
    """A client for the API server, which has the kinds."""
    async with ApiClient.from_kubeconfig(server_with_kinds.kubeconfig) as client:
        yield client


@pytest.fixture
def clock() -> ManualClock:
    """A clock that starts now, since the API server has its own."""
    return ManualClock(SystemClock().now())


@pytest.fixture
def authority(clock: ManualClock) -> Authority:
    """The authority of the replicas of a test."""
    return Authority.open(MemoryStore(), DEFAULT_TRUST_DOMAIN, clock)


@pytest_asyncio.fixture
async def shop(api: ApiClient, request: pytest.FixtureRequest) -> Shop:
    """A namespace named after the test."""
    made = Shop(api, request.node.name.replace("_", "-")[-60:].strip("-"))
    await made.make()
    return made

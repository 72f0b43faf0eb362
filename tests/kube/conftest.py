"""The API server that the suite shares: every test keeps to a namespace or to names of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.cluster.programs import ProgramMissing
from tests.support.kube_api import ApiServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real API server, for the whole session; an outage is for a server of a test's own."""
    try:
        server = ApiServer(tmp_path_factory.mktemp("api"))
    except ProgramMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server

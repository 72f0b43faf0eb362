"""Without Helm, and without Go to build it with, the suite says so once."""

from __future__ import annotations

import pytest

from tests.support.helm import HelmMissing, helm_program


@pytest.fixture(scope="session", autouse=True)
def _helm() -> None:
    """Skip the suite where there is no Helm to be had."""
    try:
        helm_program()
    except HelmMissing as missing:
        pytest.skip(str(missing))

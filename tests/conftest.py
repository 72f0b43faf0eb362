"""What every suite shares: its marker, the seeds in the header, goldens' flag, and no skips where CI runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

_TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden`` rewrites the kept files instead of comparing with them."""
    parser.addoption("--update-golden", action="store_true", help="rewrite goldens")


def pytest_report_header() -> str:
    """Say how the run is repeated: with this hash seed, and pytest-randomly's beside it."""
    return f"PYTHONHASHSEED={os.environ.get('PYTHONHASHSEED', 'random (not set)')}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The folder that a test stands in is its suite, so ``-m`` and the path select alike."""
    for item in items:
        suite = item.path.relative_to(_TESTS).parts[0]
        item.add_marker(suite)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """With ``-n``, processes share the tests by what these share (tests/support/scheduling.py)."""
    from tests.support.scheduling import Shares  # noqa: PLC0415  # only where there are several

    config.option.loadscopereorder = False  # the order is random, and repeated by its seed
    return Shares(config, log)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are to be rewritten."""
    return bool(request.config.getoption("--update-golden"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI runs nothing may be skipped: a suite that did not run proved nothing."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _fail_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """As above, for modules that skip themselves while they are collected."""
    report = yield
    if report.skipped:
        _fail_in_ci(report)
    return report


def _fail_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI allows no skips: {report.longrepr}"

"""``mizzen serve`` as a process: it says where it listens, obeys signals, and explains why it cannot start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from mizzen.wire import TypeUrl
from tests.support.ads import AdsClient, node_id, stream
from tests.unit.operator.manifests import service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TIMEOUT_S = 60.0
COMMAND = (sys.executable, "-c", "from mizzen_cli.main import main; main()", "serve")
ANY_PORTS = ("--xds", "127.0.0.1:0", "--insecure-xds", "127.0.0.1:0", "--http", "127.0.0.1:0")
CART = "outbound|80||cart.shop.svc.cluster.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one service."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "cart.yaml").write_text(service("cart"))
    return folder


class Process:
    """A running control plane, whose log lines are read one by one."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen

    def event(self, name: str) -> dict[str, Any]:
        """Wait for an event in the log."""
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
        raise AssertionError(f"the log ended without {name!r}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def end(self) -> int:
        """Wait for the end; return the exit code."""
        return self._popen.wait(TIMEOUT_S)


@contextmanager
def running(folder: Path) -> Iterator[Process]:
    """Start the command on a folder; end it with the block whatever happens."""
    with subprocess.Popen(
        (*COMMAND, str(folder), *ANY_PORTS), stderr=subprocess.PIPE, text=True
    ) as popen:
        try:
            yield Process(popen)
        finally:
            if popen.poll() is None:
                popen.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_it_cleanly_with_streams_open(
    folder: Path, number: signal.Signals
) -> None:
    with running(folder) as process:
        ports = process.event("listening")
        async with stream(ports["insecure_xds"], AdsClient(node_id())) as app:
            await app.until_has(TypeUrl.CLUSTER, CART)
            process.signal(number)
            process.event("stopped")
            assert process.end() == 0
    assert (folder / ".mizzen" / "status.yaml").exists()


def test_sigusr1_replaces_all_certificates(folder: Path) -> None:
    with running(folder) as process:
        process.event("everything read")
        process.signal(signal.SIGUSR1)
        assert process.event("certificates replaced")["count"] == 0
        process.signal(signal.SIGTERM)
        assert process.end() == 0


def test_a_port_that_is_taken_is_an_error_in_one_line(folder: Path, tmp_path: Path) -> None:
    with running(folder) as process:
        taken = f"127.0.0.1:{process.event('listening')['http']}"
        result = _fails(folder, "--http", taken, "--state", str(tmp_path / "other"))
    assert taken in result
    assert len(result.splitlines()) == 1


def test_keys_of_another_trust_domain_are_not_used(folder: Path) -> None:
    with running(folder) as process:
        process.event("listening")
        process.signal(signal.SIGTERM)
        process.end()
    assert "trust domain" in _fails(folder, "--trust-domain", "other.example")


def test_a_state_folder_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / ".mizzen" / "tokens").mkdir(parents=True)
    (folder / ".mizzen" / "tokens").chmod(0o755)
    assert "chmod 700" in _fails(folder)


def _fails(folder: Path, *words: str) -> str:
    """Run the command, which must end with 1; return what it says."""
    result = subprocess.run(
        (*COMMAND, str(folder), "--xds", "127.0.0.1:0", "--http", "127.0.0.1:0", *words),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("error: ")
    return result.stderr

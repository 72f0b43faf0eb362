"""``mizzen operator``: what the command line says before anything is begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mizzen_cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

_LOOPBACK = (
    *("--xds", "127.0.0.1:0", "--http", "127.0.0.1:0"),
    *("--webhooks", "127.0.0.1:0", "--replicas", "127.0.0.1:0"),
)


def test_an_address_that_is_none_is_an_error_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["operator", "--xds", "nowhere"])
    assert ended.value.code == 2
    assert "is not HOST:PORT" in capsys.readouterr().err


def test_without_a_way_to_a_cluster_it_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["operator", *_LOOPBACK, "--kubeconfig", str(tmp_path / "missing")])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "cannot read" in said
    assert "--kubeconfig FILE" in said


def test_options_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a container is told."""
    broken = tmp_path / "config"
    broken.write_text("nothing: here\n")
    monkeypatch.setenv("MIZZEN_KUBECONFIG", str(broken))
    with pytest.raises(SystemExit) as ended:
        main(["operator", *_LOOPBACK])
    assert ended.value.code == 1
    assert "is not a usable kubeconfig" in capsys.readouterr().err

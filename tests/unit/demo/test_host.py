"""What this machine permits, and what we say where it does not."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from mizzen_cli.demo.host import (
    ForbiddenError,
    UidRange,
    Way,
    advice,
    look_around,
    read_sysctl,
    spare_range,
)
from mizzen_cli.demo.realm import work_folder


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("ann:100000:65536", UidRange(start=100_000, count=65_536)),
        ("1000:200000:65536", UidRange(start=200_000, count=65_536)),
        ("ann:100000:1000", None),
        ("bob:100000:65536", None),
        ("ann:100000", None),
        ("", None),
    ],
)
def test_a_spare_range_is_the_users_own_and_large_enough(
    tmp_path: Path, line: str, found: UidRange | None
) -> None:
    """By name or by number, with room for Envoy's uid."""
    file = tmp_path / "subuid"
    file.write_text(f"# nothing\n{line}\n", encoding="utf-8")
    assert spare_range(file, frozenset(("ann", "1000"))) == found


def test_without_the_file_there_is_no_range(tmp_path: Path) -> None:
    """Systems without the package uidmap often lack the file."""
    assert spare_range(tmp_path / "missing", frozenset(("ann",))) is None


@pytest.mark.parametrize(
    ("switch", "value", "command"),
    [
        ("kernel.unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
        (
            "kernel.apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user.max_user_namespaces", "0", "user.max_user_namespaces=10000"),
    ],
)
def test_the_switch_that_forbids_is_named(switch: str, value: str, command: str) -> None:
    """Advice has the very command, only for what is really switched off, and the other way in."""
    told = advice("not permitted", root=False, switch=lambda name: value if name == switch else "")
    assert f"sudo sysctl -w {command}" in told
    assert told.count("sysctl") == 1
    assert "sudo make demo" in told


def test_root_without_its_powers_is_told_so() -> None:
    """In a container, root may be root by name only."""
    told = advice("not permitted", root=True, switch=lambda _name: "")
    assert "CAP_SYS_ADMIN" in told
    assert "sudo" not in told


def test_switches_are_read_from_the_kernel() -> None:
    """A switch that this kernel does not have reads as empty."""
    assert read_sysctl("kernel.pid_max").isdigit()
    assert read_sysctl("kernel.no_such_switch") == ""


def test_this_machine_has_a_way_in() -> None:
    """Root needs no user namespace; everyone else gets one."""
    assert (look_around().way is Way.ROOT) == (os.geteuid() == 0)


def test_work_is_done_where_everybody_may_go() -> None:
    """A closed folder, and one below a closed one, are passed over; so is one that is not there."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        base = Path(name)
        closed, opened = base / "closed", base / "open"
        for folder in (base, closed, closed / "below", opened):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        closed.chmod(0o700)
        places = (base / "missing", closed, closed / "below", opened)
        assert work_folder(places).parent == opened
        with pytest.raises(ForbiddenError, match="TMPDIR"):
            work_folder((closed,))

"""Where namespaces are forbidden, the demo says why and how to go on; really forbidden, not pretended."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.support.demo_run import DemoRun, User, users_without_map
from tests.support.repository import ROOT

# Ways of becoming someone who may not, and then the demo.
_DEMO: Final = """
import sys
from mizzen_cli.main import main
sys.argv[1:] = ["demo", "--port", "0"]
main()
"""
_USER_WITHOUT_NAMESPACES: Final = """
from pathlib import Path
from mizzen_cli.demo import linux
linux.unshare(linux.CLONE_NEWUSER)
Path("/proc/sys/user/max_user_namespaces").write_text("0", encoding="ascii")
"""


def test_a_user_without_namespaces_is_told_which_switch_to_turn() -> None:
    """The command that helps stands in the message, with the other way to go."""
    done = _run(sys.executable, "-c", f"{_USER_WITHOUT_NAMESPACES}\n{_DEMO}")
    assert done.returncode == 1
    assert "The demo cannot run. This system does not let us make namespaces" in done.stderr
    assert "sudo sysctl -w user.max_user_namespaces=" in done.stderr
    assert "sudo make demo" in done.stderr
    assert "Traceback" not in done.stderr


def test_root_without_its_powers_is_told_so() -> None:
    """As in a container that is not privileged."""
    powerless = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all")
    done = _run("unshare", "--user", "--map-root-user", *powerless, sys.executable, "-c", _DEMO)
    assert done.returncode == 1
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("user", users_without_map(), ids=str)
def test_spare_uids_that_cannot_be_mapped_are_done_without(user: User) -> None:
    """It goes on with one uid and a mark, and says so."""
    with DemoRun("--only", "access", user=user) as run:
        code = run.end()
    assert code == 0, run.text
    if user.broken_map:
        assert "newuidmap does not work: not permitted" in run.text


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)

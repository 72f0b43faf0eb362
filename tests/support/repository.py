"""The repository as its own tests see it: the root, the planes, the files that are or would be committed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]

# Source root -> the one package in it.
PLANES: Final = {
    "core": "mizzen",
    "xds": "mizzen_xds",
    "certs": "mizzen_certs",
    "operator": "mizzen_operator",
    "cli": "mizzen_cli",
}

# What a checkout without git (an unpacked archive) may hold beside the project's own files.
_LEFT_BY_TOOLS: Final = frozenset({".git", ".venv", "__pycache__", "build", "dist"})


def committed_files() -> list[Path]:
    """Every file that is committed or would be: what git ignores is left out, deleted files too."""
    if shutil.which("git") and (ROOT / ".git").exists():
        return sorted(path for path in map(ROOT.joinpath, _names_from_git()) if path.is_file())
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and not _is_leftover(path))


def python_files(*, below: tuple[str, ...] = tuple(PLANES)) -> list[Path]:
    """The committed Python files below these top-level folders."""
    return [
        path
        for path in committed_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in below
    ]


def relative(path: Path) -> str:
    """The path as people write it, from the root."""
    return path.relative_to(ROOT).as_posix()


def _names_from_git() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.split("\0") if name]


def _is_leftover(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    return any(part in _LEFT_BY_TOOLS or part.endswith(("_cache", ".egg-info")) for part in parts)

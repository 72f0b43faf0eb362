"""The images of an end-to-end run, made on this machine: no registry, no Docker.

One base (Debian with Python, iptables and ip) lies below all of them, so it is made and unpacked once. Above it: the
operator as its Dockerfile assembles it, the stock Envoy of the virtual environment, and the applications of the scenarios.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.cluster.node import PAUSE_IMAGE
from e2e.cluster.oci import Image, write_archive, write_layer
from e2e.cluster.programs import cache, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_ROOT: Final = Path(__file__).parents[1]
_RELEASE: Final = "bookworm"
_PACKAGES: Final = ("ca-certificates", "curl", "iproute2", "iptables", "python3")
_DROPPED: Final = (
    "dev/",
    "proc/",
    "sys/",
    "var/cache/",
    "var/lib/apt/",
    "var/log/",
    "usr/share/doc/",
    "usr/share/locale/",
    "usr/share/man/",
)
# What the operator's layer is made of: a change of anything else leaves it as it is.
_OPERATOR_SOURCES: Final = (
    *("core", "xds", "certs", "operator", "cli"),
    *("pyproject.toml", "requirements/operator.txt", "images/operator/assemble"),
)
# Of the base, what a program that is linked to the C library needs.
_DISTROLESS: Final = re.compile(
    r"lib|lib64|usr/lib64/.*|usr/lib/[^/]+/(?:ld-linux.*|lib(?:c|m|rt|dl|pthread|nss_\w+|resolv)\.so.*)"
    r"|etc/(?:passwd|group|nsswitch\.conf|ssl/certs/ca-certificates\.crt)|tmp"
)
APPLICATION: Final = "mizzen.test/application:1"
# What the samples are written for, which has the same command line here.
_HTTP_ECHO: Final = "hashicorp/http-echo:1.0"
_CURL: Final = "curlimages/curl:8.11.1"
_KEPT: Final = 6


def make() -> list[Path]:
    """Make what is missing and return the archives to import."""
    base = _once("base", f"{_RELEASE} {_PACKAGES}", _base)
    made_of = f"{base.name} {_digest([Path(__file__), _envoy()])}"
    envoy = _once("envoy", made_of, lambda file: _envoy_layer(file, base))
    operator = _once("operator", _digest(_files(_OPERATOR_SOURCES)), _operator_layer)
    application = _once("application", _digest(_files(("e2e/application",))), _application_layer)
    return [
        _once(
            "images",
            f"{base}{envoy}{operator}{application}{_version()}{_digest([Path(__file__)])}",
            lambda file: write_archive(file, _images(base, envoy, operator, application)),
        )
    ]


def _images(base: Path, envoy: Path, operator: Path, application: Path) -> Iterable[Image]:
    python = "/usr/bin/python3"
    yield Image(name=PAUSE_IMAGE, layers=(base,), command=("sleep", "infinity"))
    yield Image(
        name=f"mizzen/operator:{_version()}",
        layers=(base, operator),
        entrypoint=(python, "/app/bin/mizzen"),
        command=("operator",),
        environment=(
            "PATH=/app/bin:/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH=/app/lib",
            "PYTHONDONTWRITEBYTECODE=1",
            "PYTHONUNBUFFERED=1",
        ),
        user="65532:65532",
    )
    yield Image(name=f"mizzen/init:{_version()}", layers=(base,), entrypoint=("/bin/sh",))
    yield Image(
        name="envoyproxy/envoy:distroless-v1.40.0",
        layers=(envoy,),
        entrypoint=("/usr/local/bin/envoy",),
        user="65532:65532",
    )
    yield Image(name=_CURL, layers=(base,))
    for name in (APPLICATION, _HTTP_ECHO):
        yield Image(
            name=name, layers=(base, application), entrypoint=(python, "/application/main.py")
        )


def _version() -> str:
    text = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def _once(name: str, made_of: str, make: Callable[[Path], None]) -> Path:
    key = hashlib.sha256(f"{platform.machine()} {made_of}".encode()).hexdigest()[:16]
    folder = cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{key}.tar"
    if not file.exists():
        print(f"==> making the layer {name!r} ...", flush=True)
        new = file.with_suffix(".new")
        make(new)
        new.rename(file)
    os.utime(file)
    _forget(folder, name)
    return file


def _forget(folder: Path, name: str) -> None:
    kept = sorted(folder.glob(f"{name}-*.tar"), key=lambda file: file.stat().st_mtime)
    for file in kept[:-_KEPT]:
        file.unlink()


def _base(file: Path) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        root = Path(work, "root")
        command = [str(program("debootstrap")), "--variant=minbase"]
        command += [f"--include={','.join(_PACKAGES)}", _RELEASE, str(root)]
        # In mounts of its own: what an interrupted run leaves mounted is gone with it.
        subprocess.run(["unshare", "--mount", *command], check=True, stdout=subprocess.DEVNULL)
        write_layer(file, {"": root}, without=lambda path: path.startswith(_DROPPED))


def _envoy_layer(file: Path, base: Path) -> None:
    # Like the image of that name: no shell and no tools that a sidecar could come to rest on.
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        with tarfile.open(base) as archive:
            kept = [member for member in archive if _DISTROLESS.fullmatch(member.name)]
            archive.extractall(work, kept, filter="fully_trusted")
        write_layer(file, {"": Path(work), "usr/local/bin/envoy": _envoy()})


def _envoy() -> Path:
    found = importlib.util.find_spec("envoy._bin")
    assert found, "the virtual environment has the stock Envoy"
    assert found.origin
    return Path(found.origin).with_name("envoy")


def _operator_layer(file: Path) -> None:
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        source, target = Path(work, "source"), Path(work, "app")
        # A copy of what git holds or would hold: neither caches nor half-written files get into an image.
        for path in [*_files(_OPERATOR_SOURCES), *_files(("README.md", "LICENSE", "requirements"))]:
            copy = source / path.relative_to(_ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        assemble = source / "images/operator/assemble"
        environment = os.environ | {"PYTHON": sys.executable}
        subprocess.run([assemble, target], check=True, env=environment)
        write_layer(file, {"app": target})


def _application_layer(file: Path) -> None:
    write_layer(
        file, {"application": _ROOT / "e2e/application"}, without=lambda path: "__pycache__" in path
    )


def _files(names: Iterable[str]) -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *names]
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    return sorted(path for name in done.stdout.split("\0") if (path := _ROOT / name).is_file())


def _digest(files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.name} {file.stat().st_size}\n".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()

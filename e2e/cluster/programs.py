"""The programs of a Kubernetes cluster: found where a user has them, built from the Go module beside this file otherwise.

A folder that ``KUBEBUILDER_ASSETS`` names is looked at first, then what was built before
(``${XDG_CACHE_HOME:-~/.cache}/mizzen``), then ``PATH`` for what comes with the system. Building needs Go and a few
minutes the first time; it happens outside the work tree, once a version.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_MODULE: Final = Path(__file__).parent
_COREDNS: Final = "1.14.7"  # a module of its own: its requirements and those of Kubernetes differ
# Program -> the package it is built from; what is not here comes with the system.
_PACKAGES: Final = {
    "coredns": f"github.com/coredns/coredns@v{_COREDNS}",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
}
# Where Debian puts daemons, which is not on everybody's PATH.
_SYSTEM: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class ProgramMissing(Exception):
    """A program is neither here nor can be built here; the message says what would bring it."""


def program(name: str) -> Path:
    """Return where a program is, built first if need be.

    Raises ProgramMissing.
    """
    found = _given(name) or _built(name) or _installed(name)
    if found:
        return found
    if name not in _PACKAGES:
        raise ProgramMissing(f"{name} is not installed: see the Debian packages in the Makefile")
    return _build(name)


def cache() -> Path:
    """Return the folder for what is built once and kept: outside the work tree."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mizzen"


def kubernetes_version() -> str:
    """Return the version of Kubernetes that go.mod pins, such as 1.36.3."""
    text = (_MODULE / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^(?:require)?\s*k8s\.io/kubernetes v(\S+)$", text, re.MULTILINE)
    assert found, "go.mod names the version"
    return found[1]


def _given(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return _file(Path(assets, name)) if assets else None


def _built(name: str) -> Path | None:
    return _file(_place(name)) if name in _PACKAGES else None


def _installed(name: str) -> Path | None:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM}")
    # kube-apiserver of a distribution may be of any version: what go.mod pins is what is tested.
    return Path(found) if found and name not in _PACKAGES else None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _place(name: str) -> Path:
    package, _at, version = _PACKAGES[name].partition("@v")
    module = package.partition("/cmd/")[0].rpartition("/")[2]
    return cache() / f"{module}-{version or kubernetes_version()}" / name


def _build(name: str) -> Path:
    if not shutil.which("go"):
        raise ProgramMissing(
            f"{name} must be built and Go is not here: install Go, or name a folder that has {name} "
            "in KUBEBUILDER_ASSETS"
        )
    place = _place(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two suites that start together build once
        if not place.is_file():
            _compile(name, place)
    return place


def _compile(name: str, place: Path) -> None:
    print(f"==> building {name} (a few minutes, once) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as new:
        environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": new}
        command = ["go", "install", "-trimpath", "-ldflags", _flags(), _PACKAGES[name]]
        done = subprocess.run(command, cwd=_MODULE, env=environment, check=False)
        if done.returncode:
            raise ProgramMissing(f"{name} could not be built; Go says why above")
        Path(new, name).rename(place)
    print(f"==> built {place}", file=sys.stderr, flush=True)


def _flags() -> str:
    version = kubernetes_version()
    major, minor, _patch = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    package = "k8s.io/component-base/version"
    return " ".join(["-s -w", *(f"-X {package}.{key}={value}" for key, value in values.items())])

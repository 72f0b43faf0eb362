"""Helm: the user's own, or built once into the cache, and the chart as it renders."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.repository import ROOT

CHART: Final = ROOT / "charts" / "mizzen"
NAMESPACE: Final = "mizzen-system"
# What the goldens are rendered for; a Helm that was built from source believes in a much older one by default.
KUBERNETES: Final = "1.36"

_VERSION: Final = "v3.21.4"
_PACKAGE: Final = f"helm.sh/helm/v3/cmd/helm@{_VERSION}"


class HelmMissing(Exception):
    """There is no Helm and no Go to build it with."""


class HelmRefused(Exception):
    """Helm ended with an error; the message is what it wrote."""


@cache
def helm_program() -> Path:
    """Return where Helm is: ``HELM``, then the path, then the cache, built first if need be (two minutes).

    Raises HelmMissing.
    """
    given = os.environ.get("HELM") or shutil.which("helm")
    if given:
        return Path(given)
    place = _cache() / f"helm-{_VERSION}" / "helm"
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two suites that start together build once
        if not place.is_file():
            _build(place.parent)
    return place


def helm(*arguments: str) -> str:
    """Run Helm and return what it printed. Raises HelmRefused with what it wrote where it fails."""
    done = subprocess.run(
        [str(helm_program()), *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode:
        raise HelmRefused(done.stdout + done.stderr)
    return done.stdout


def rendered(*arguments: str) -> str:
    """Return the manifests of the chart, as ``helm template`` prints them."""
    return helm(
        "template",
        "mizzen",
        str(CHART),
        f"--namespace={NAMESPACE}",
        f"--kube-version={KUBERNETES}",
        *arguments,
    )


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of rendered manifests."""
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mizzen"


def _build(folder: Path) -> None:
    if not shutil.which("go"):
        raise HelmMissing(f"install Helm, or Go, with which Helm {_VERSION} is built")
    environment = os.environ | {"GOBIN": str(folder), "CGO_ENABLED": "0"}
    subprocess.run(["go", "install", "-trimpath", _PACKAGE], env=environment, check=True)

"""What holds for every resource that is rendered, whatever it is."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from typing import Final

import pytest

from mizzen.wire import Resource
from tests.support.render_samples import resources
from tests.support.repository import ROOT
from tests.support.second_decoder import first, second

_SEEDS: Final = ("0", "1", "4242")
_DIGEST: Final = "from tests.unit.render.test_laws import digest; print(digest())"


def digest() -> str:
    """Return one number for all bytes of all samples."""
    whole = sha256()
    for _kind, resource in resources():
        whole.update(resource.wire)
    return whole.hexdigest()


def _all() -> list[Resource]:
    return [resource for _kind, resource in resources()]


def test_two_decoders_read_the_same() -> None:
    """What xds-protos wrote, envoy-data-plane reads to the same values, with no field unknown to it."""
    different = [r.name for r in _all() if first(r) != second(r)]
    assert different == []


@pytest.mark.parametrize("seed", _SEEDS)
def test_no_hash_seed_changes_a_byte(seed: str) -> None:
    """Another process with another hash seed renders the same bytes."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DIGEST],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == digest()


def test_a_resource_is_named_as_its_message() -> None:
    """The name on the wire is the one inside, which VHDS and delta removals rely on."""
    assert [r.name for r in _all() if first(r)[1] != r.name] == []

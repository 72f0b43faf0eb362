"""What may stand in a committed file: text, links to public documentation, and nothing of anybody's machine."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.repository import committed_files, relative

if TYPE_CHECKING:
    from pathlib import Path

# Files that must name what they forbid.
_NAMES_WHAT_IT_FORBIDS: Final = "tests/shape/test_files.py"

_REGISTRY: Final = re.compile(
    r"pypi\.|pythonhosted|/simple/|artifactory|registry\.npmjs|proxy\.golang|(?<!no-emit-)index-url|find-links"
    r"|deb\.debian\.org|archive\.ubuntu",
    re.IGNORECASE,
)
_MACHINE_PATH: Final = re.compile(r"(?<![\w./-])/(?:work|root|home/\w+|Users/\w+)/[\w.]")
_URL: Final = re.compile(
    r"\b(?:https?|grpcs?|ftp|git|ssh)://(?P<host>\[[^\]]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)"
)

# Public documentation, specifications, and source that a comment may cite.
_CITED: Final = frozenset(
    {
        "cel.dev",
        "cncf.io",
        "datatracker.ietf.org",
        "docs.python.org",
        "envoyproxy.io",
        "gateway-api.sigs.k8s.io",
        "github.com",
        "grpc.github.io",
        "grpc.io",
        "istio.io",
        "json-schema.org",
        "keepachangelog.com",
        "kubernetes.io",
        "kopf.readthedocs.io",
        "man7.org",
        "protobuf.dev",
        "rfc-editor.org",
        "semver.org",
        "spiffe.io",
        "towncrier.readthedocs.io",
        "w3.org",
        "apache.org",
    }
)
# Names that can lead nowhere outside: loopback, and what RFC 2606 and Kubernetes reserve.
_RESERVED: Final = re.compile(
    r"(?:^|\.)(?:localhost|local|internal|test|invalid|example|svc|example\.(?:com|org|net))$"
    r"|^(?:127|10|0|192\.168|169\.254)[\d.]*$|^\[.*\]$|^[\w-]+$"
)


def _is_left_as_it_is(path: Path) -> bool:
    return relative(path) == _NAMES_WHAT_IT_FORBIDS


_FILES: Final = [path for path in committed_files() if not _is_left_as_it_is(path)]


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def binaries() -> list[str]:
    """Committed files that are not text."""
    return [relative(path) for path in _FILES if _is_binary(path.read_bytes())]


def test_no_binary_is_committed(binaries: list[str]) -> None:
    """Everything here can be read, reviewed and compared as text."""
    assert binaries == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the user's business: any index that has them serves the lock."""
    assert _lines_with(_REGISTRY) == []


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """What is committed works wherever it is checked out."""
    assert _lines_with(_MACHINE_PATH) == []


def test_every_url_leads_to_public_documentation_or_nowhere() -> None:
    """A host that is named is a page to read, a loopback or reserved name, or a name inside the mesh."""
    strange = [
        f"{relative(path)}: {found['host']}"
        for path in _FILES
        for found in _URL.finditer(_text(path))
        if not _may_be_named(found["host"].rstrip("."))
    ]
    assert strange == []


def _may_be_named(host: str) -> bool:
    return bool(_RESERVED.search(host)) or any(
        host == site or host.endswith(f".{site}") for site in _CITED
    )


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{relative(path)}:{number}: {line.strip()[:120]}"
        for path in _FILES
        for number, line in enumerate(_text(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def _is_binary(content: bytes) -> bool:
    if b"\0" in content:
        return True
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False

"""``docs/api-support.md``: for each field of a kind what it becomes, and the test that shows it.

The words stand in ``tests/support/api_fields/<Kind>.yaml``: path of a field -> [what it becomes, test]. An
entry speaks for all fields below its own that have no entry themselves. What is not translated needs none:
the models say it, and why. ``python -m tests.support.api_support`` writes the page anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, get_args, get_origin

import yaml

from tests.support.models import MODELS
from tests.support.repository import ROOT
from tests.unit.api.fields import child, mark

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.api.base import ApiModel
    from mizzen.api.meta import Manifest

PAGE: Final = ROOT / "docs" / "api-support.md"
_WORDS: Final = ROOT / "tests" / "support" / "api_fields"
# A kind comes here with its file of words; then none of its fields goes without.
KINDS: Final[dict[str, type[Manifest]]] = {
    name: MODELS[name]
    for name in (
        "VirtualService",
        "DestinationRule",
        "Gateway",
        "AuthorizationPolicy",
        "RequestAuthentication",
        "PeerAuthentication",
        "Sidecar",
        "ServiceEntry",
        "WorkloadEntry",
        "WorkloadGroup",
        "ProxyConfig",
        "EnvoyFilter",
        "Telemetry",
        "WasmPlugin",
        "Ingress",
    )
}
_HEAD: Final = """# What of Istio's API is in force

For each field: what it becomes, and the test that shows it by traffic through a real Envoy. A line speaks for all fields
below its own. This page is generated (`make api-support`); a field with neither a test nor a diagnostic fails the build,
and so does one whose test has no traffic, but where nothing is what it becomes.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a kind by its path; ``why_not`` says what becomes of it where it is not translated."""

    path: str
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a field becomes, and the test that shows it, as pytest names it."""

    becomes: str
    test: str


def fields(kind: str) -> list[Field]:
    """Return the fields of a kind's spec that hold values, and those that are not translated."""
    spec = KINDS[kind].model_fields["spec"]
    model, marked = child(spec.annotation), mark(spec)
    if marked is not None:
        return [Field(path="spec", why_not=marked.reason)]
    return list(_below(model, "spec")) if model else []


def _below(model: type[ApiModel], path: str) -> Iterator[Field]:
    for name, info in model.model_fields.items():
        here = f"{path}.{info.alias or name}{_brackets(info.annotation)}"
        marked, below = mark(info), child(info.annotation)
        if marked is not None and not (marked.only or marked.unless):
            yield Field(path=here, why_not=marked.reason)
        elif below is not None:
            yield from _below(below, here)
        else:
            yield Field(path=here)


def _brackets(annotation: object) -> str:
    """Return how a path goes on into a list or a map, whether or not it may be left out."""
    kinds = {get_origin(annotation), *(get_origin(each) for each in get_args(annotation))}
    return "[]" if list in kinds else "{}" if dict in kinds else ""


def entries(kind: str) -> dict[str, Entry]:
    """Return the words on a kind's fields, by path; none where none is translated."""
    file = _WORDS / f"{kind}.yaml"
    raw = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {path: Entry(becomes=becomes, test=test) for path, (becomes, test) in raw.items()}


def entry_of(path: str, known: dict[str, Entry]) -> str | None:
    """Return the path of the entry that speaks for a field: its own, or the nearest above it."""
    above = [
        one for one in known if path == one or path.startswith((f"{one}.", f"{one}[", f"{one}{{"))
    ]
    return max(above, key=len, default=None)


def page() -> str:
    """Return the text of the page."""
    return "\n".join([_HEAD, *(line for kind in KINDS for line in _section(kind))]) + "\n"


def _section(kind: str) -> Iterator[str]:
    known = entries(kind)
    yield f"## {kind}\n"
    yield "| field | becomes | shown by |"
    yield "| --- | --- | --- |"
    told: set[str] = set()
    for field in fields(kind):
        path = entry_of(field.path, known)
        if field.why_not:
            yield f"| `{field.path}` | not translated, and told of (MZ0201): {field.why_not} | |"
        elif path is not None and path not in told:
            told.add(path)
            entry = known[path]
            yield f"| `{path}` | {entry.becomes} | `{entry.test}` |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

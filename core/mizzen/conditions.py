"""Diagnostics and acknowledgements in, conditions out: what stands on an object for people to read.

Conditions follow Kubernetes' convention (type, status, reason, message), so that ``kubectl wait`` works on
them. ``Accepted`` is about what was written: it is valid and what it refers to exists. ``Programmed`` is
about what became of it: it is live on every proxy that it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mizzen.diagnostics import Diagnostic, Severity

ACCEPTED: Final = "Accepted"
PROGRAMMED: Final = "Programmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Where an object's configuration is in force.

    Attributes:
        live: Proxies that have acknowledged all that was made from the object.
        of: Proxies that the object concerns.
        rejected: What Envoy said against it, one text for each different complaint.
    """

    live: int = 0
    of: int = 0
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of an object; ``reason`` is a word for programs, ``message`` is for people."""

    type: str
    status: bool
    reason: str
    message: str


def conditions(
    diagnostics: Iterable[Diagnostic], liveness: Liveness
) -> tuple[Condition, Condition]:
    """Return an object's two conditions, ``Accepted`` and ``Programmed``."""
    errors = [one for one in diagnostics if one.code.severity is Severity.ERROR]
    return _accepted(errors), _programmed(liveness)


def _accepted(errors: list[Diagnostic]) -> Condition:
    if not errors:
        return Condition(type=ACCEPTED, status=True, reason="Accepted", message="")
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = f"{first.path}: " if first.path else ""
    message = f"{first.code.id} {where}{first.message}{more}. {first.advice}"
    return Condition(type=ACCEPTED, status=False, reason=_reason(first), message=message)


def _reason(error: Diagnostic) -> str:
    """Return Invalid for what is wrong in itself, RefNotFound for what is wrong among objects."""
    return "RefNotFound" if error.code.id.startswith("MZ03") else "Invalid"


def _programmed(liveness: Liveness) -> Condition:
    count = f"live on {liveness.live} of {liveness.of} proxies"
    if liveness.rejected:
        message = f"{count}; Envoy rejected it: {'; '.join(liveness.rejected)}"
        return Condition(type=PROGRAMMED, status=False, reason="Rejected", message=message)
    if liveness.of == 0:
        return Condition(
            type=PROGRAMMED, status=True, reason="NoProxies", message="concerns no proxy"
        )
    if liveness.live < liveness.of:
        return Condition(type=PROGRAMMED, status=False, reason="Pending", message=count)
    return Condition(type=PROGRAMMED, status=True, reason="Live", message=count)

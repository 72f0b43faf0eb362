"""Diagnostics and acknowledgements in, conditions out: what stands on an object for people to read.

Conditions follow Kubernetes' convention (type, status, reason, message), so that ``kubectl wait`` works on
them. ``Accepted`` is about what was written: it is valid and what it refers to exists. ``Programmed`` is about
the control plane: what was written is what it serves. ``Live`` is about the proxies: every one that the object
concerns has acknowledged it, so that connections made from then on obey it. What is open goes on under the policies
that it was made under, until its proxy has drained it (docs/decisions/0017).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mizzen.diagnostics import REJECTED, Diagnostic, Severity

ACCEPTED: Final = "Accepted"
PROGRAMMED: Final = "Programmed"
LIVE: Final = "Live"

# Of many different complaints the first ones tell enough; a status has to stay readable.
_COMPLAINTS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """Where an object's configuration is in force.

    Attributes:
        live: Proxies that have acknowledged all that was made from the object.
        of: Proxies that the object concerns.
        rejected: What Envoy said against it, one text for each different complaint.
        in_force: What is served was made from what is written now, not from an earlier good version.
        behind: Replicas of the control plane that do not serve what is written now yet.
        silent: Replicas of the control plane that do not say how it is with their proxies.
        awaited: Proxies that are to come (back) in a moment; the object may concern them.
    """

    live: int = 0
    of: int = 0
    rejected: tuple[str, ...] = ()
    in_force: bool = True
    behind: int = 0
    silent: int = 0
    awaited: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of an object; ``reason`` is a word for programs, ``message`` is for people."""

    type: str
    status: bool
    reason: str
    message: str


def conditions(
    diagnostics: Iterable[Diagnostic], liveness: Liveness
) -> tuple[Condition, Condition, Condition]:
    """Return an object's three conditions: ``Accepted``, ``Programmed`` and ``Live``."""
    return _accepted(tuple(diagnostics)), _programmed(liveness), _live(liveness)


def _accepted(found: tuple[Diagnostic, ...]) -> Condition:
    errors = [one for one in found if one.code.severity is Severity.ERROR]
    warnings = [one for one in found if one.code.severity is Severity.WARNING]
    if errors:
        reason = _reason(errors[0])
        return Condition(type=ACCEPTED, status=False, reason=reason, message=_told(errors))
    if warnings:
        reason = "AcceptedWithWarnings"
        return Condition(type=ACCEPTED, status=True, reason=reason, message=_told(warnings))
    return Condition(type=ACCEPTED, status=True, reason="Accepted", message="")


def _told(found: list[Diagnostic]) -> str:
    """Return the first finding whole, and how many others there are."""
    first = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = f"{first.path}: " if first.path else ""
    return f"{first.code.id} {where}{first.message}{more}. {first.advice}"


def _reason(error: Diagnostic) -> str:
    """Return Invalid for what is wrong in itself, RefNotFound for what is wrong among objects."""
    return "RefNotFound" if error.code.id.startswith("MZ03") else "Invalid"


def _programmed(liveness: Liveness) -> Condition:
    if (problem := _problem(PROGRAMMED, liveness, "")) is not None:
        return problem
    if liveness.behind:
        message = f"{liveness.behind} {_replicas(liveness.behind)} yet to serve it"
        return Condition(type=PROGRAMMED, status=False, reason="Pending", message=message)
    return Condition(type=PROGRAMMED, status=True, reason="Programmed", message="")


def _live(liveness: Liveness) -> Condition:
    count = f"live on {liveness.live} of {liveness.of} proxies"
    if (problem := _problem(LIVE, liveness, count)) is not None:
        return problem
    open_ends = []
    if liveness.behind:
        open_ends.append(f"{liveness.behind} {_replicas(liveness.behind)} yet to serve it")
    if liveness.silent:
        open_ends.append(f"{liveness.silent} {_replicas(liveness.silent)} not said how it is")
    if liveness.awaited:
        open_ends.append(f"{liveness.awaited} not connected yet")
    if open_ends or liveness.live < liveness.of:
        message = "; ".join((count, *open_ends))
        return Condition(type=LIVE, status=False, reason="Pending", message=message)
    if liveness.of == 0:
        return Condition(type=LIVE, status=True, reason="NoProxies", message="concerns no proxy")
    return Condition(type=LIVE, status=True, reason="Live", message=count)


def _problem(of: str, liveness: Liveness, count: str) -> Condition | None:
    """Return the condition of what will not come into force unless somebody does something."""
    before = (count,) if count else ()
    if not liveness.in_force:
        told = "; ".join((*before, "what is written now is not in force, see Accepted"))
        return Condition(type=of, status=False, reason="NotAccepted", message=told)
    if liveness.rejected:
        shown = "; ".join(liveness.rejected[:_COMPLAINTS_SHOWN])
        told = "; ".join((*before, f"Envoy rejected it: {shown}. {REJECTED.remedy}"))
        return Condition(type=of, status=False, reason="Rejected", message=told)
    return None


def _replicas(number: int) -> str:
    return "replica has" if number == 1 else "replicas have"

"""What is answered to an AdmissionReview, from what is wrong with the object. No I/O.

What is wrong in itself is refused; what does not resolve or conflicts is admitted with a warning, for
the order in which objects are applied must not matter. Source: admission.k8s.io/v1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mizzen.diagnostics import INVALID_COMBINATION, MISSING_FIELD, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.diagnostics import Diagnostic

Json = dict[str, Any]

_VERSION: Final = "admission.k8s.io/v1"
_UNPROCESSABLE: Final = 422
# An API server passes no more on (Kubernetes, «Dynamic admission control», warnings), and a terminal is no book.
_WARNING_CHARACTERS: Final = 256
_WARNINGS: Final = 12
_CAUSES: Final = {MISSING_FIELD: "FieldValueRequired", INVALID_COMBINATION: "FieldValueForbidden"}


def is_settled(request: Mapping[str, Any]) -> bool:
    """Tell whether a request changes nothing of what an object means.

    An object that has become invalid (it is older than a rule) has to stay free to be labelled, to lose
    its finalizers and to go.
    """
    if request.get("operation") not in ("CREATE", "UPDATE"):
        return True
    new, old = request.get("object") or {}, request.get("oldObject") or {}
    is_leaving = bool((new.get("metadata") or {}).get("deletionTimestamp"))
    return is_leaving or (bool(old) and new.get("spec") == old.get("spec"))


def answer(review: Json, findings: Iterable[Diagnostic] = ()) -> Json:
    """Return the AdmissionReview that answers one, given what is wrong with the object in itself."""
    found = tuple(findings)
    errors = [one for one in found if one.code.severity is Severity.ERROR]
    return refused(review, errors) if errors else admitted(review, found)


def admitted(review: Json, warnings: Iterable[Diagnostic] = ()) -> Json:
    """Return the answer that lets the object in, with what its writer should know."""
    said = list(_warnings(warnings))
    return _answer(review, {"allowed": True} | ({"warnings": said} if said else {}))


def refused(review: Json, errors: Iterable[Diagnostic]) -> Json:
    """Return the answer that keeps the object out, with every reason and what to do."""
    found = tuple(errors)
    status = {
        "status": "Failure",
        "code": _UNPROCESSABLE,
        "reason": "Invalid",
        "message": "; ".join(_sentence(one) for one in found),
        "details": {"causes": [_cause(one) for one in found]},
    }
    return _answer(review, {"allowed": False, "status": status})


def _answer(review: Json, response: Json) -> Json:
    uid = (review.get("request") or {}).get("uid", "")
    return {
        "apiVersion": review.get("apiVersion", _VERSION),
        "kind": "AdmissionReview",
        "response": {"uid": uid, **response},
    }


def _cause(found: Diagnostic) -> Json:
    return {
        "reason": _CAUSES.get(found.code, "FieldValueInvalid"),
        "field": found.path,
        "message": f"{found.code.id}: {found.message}. {found.advice}",
    }


def _warnings(findings: Iterable[Diagnostic]) -> Iterator[str]:
    found = [one for one in findings if one.code.severity is not Severity.INFO]
    for one in found[:_WARNINGS]:
        text = _sentence(one)
        cut = len(text) > _WARNING_CHARACTERS
        yield f"{text[: _WARNING_CHARACTERS - 3]}..." if cut else text
    if len(found) > _WARNINGS:
        yield f"and {len(found) - _WARNINGS} more: they stand in the object's status"


def _sentence(found: Diagnostic) -> str:
    where = f"{found.path}: " if found.path else ""
    return f"{where}{found.message} ({found.code.id}). {found.advice}"

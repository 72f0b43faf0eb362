"""The small change of checks: a finding, and lists in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from mizzen.diagnostics import Code, Diagnostic
from mizzen.resolve.aliases import real_host

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.meta import Labels, Meta
    from mizzen.model.proxy import Scope

Found = Iterator[Diagnostic]


def finding(code: Code, meta: Meta, path: str, message: str, remedy: str = "") -> Diagnostic:
    """Return a diagnostic on an object."""
    return Diagnostic(code=code, object=meta.key, path=path, message=message, remedy=remedy)


def listed(values: Iterable[object]) -> str:
    """Return values as they stand in a sentence."""
    return ", ".join(str(value) for value in values)


def pairs(selector: Labels) -> str:
    """Return labels as they stand in a sentence."""
    return listed(f"{key}={value}" for key, value in selector)


def why_unknown(db: Database, scope: Scope, host: str) -> str:
    """Return why a host means nothing to a namespace: nobody has it, or it is another's name."""
    if (real := real_host(db, host)) != host:
        return (
            f"{host} is but another name of {real} (ExternalName), to which rules have to be given"
        )
    return f"{host} is neither a Service nor a ServiceEntry that {scope.namespace} sees"

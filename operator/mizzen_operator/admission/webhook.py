"""The handler of ``/validate``: the findings of ``mizzen analyze``, before an object is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from mizzen.api.parse import parse_object
from mizzen.diagnostics import UNKNOWN_CREDENTIAL, Diagnostic, Severity
from mizzen_operator.admission.review import admitted, is_settled, refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from mizzen.model.world import Object
    from mizzen.names import ObjectKey
    from mizzen_operator.admission.review import Json

    # What would be wrong about an object among all others, were it in force.
    Consider = Callable[[ObjectKey, Object], Awaitable[tuple[Diagnostic, ...]]]

# The compiler may be at a large round; who applies a manifest does not wait for warnings that long.
_PATIENCE_SECONDS: Final = 2.0


def validation_handler(
    consider: Consider, now: Callable[[], datetime], *, patience_s: float = _PATIENCE_SECONDS
) -> Callable[[Json], Awaitable[Json]]:
    """Return the handler, which asks ``consider`` about what is right in itself."""

    async def handle(review: Json) -> Json:
        request = review.get("request") or {}
        if is_settled(request):
            return admitted(review)
        parsed = parse_object(_as_stored(request, now()))
        if isinstance(parsed, Diagnostic):
            return admitted(review)  # not a kind that we handle
        errors = [one for one in parsed.diagnostics if one.code.severity is Severity.ERROR]
        if errors:
            return refused(review, errors)
        among_others: tuple[Diagnostic, ...] = ()
        if parsed.object is not None:
            try:
                async with asyncio.timeout(patience_s):
                    found = await consider(parsed.key, parsed.object)
                    # Secrets are fetched when something in force refers to them, and not before.
                    among_others = tuple(one for one in found if one.code is not UNKNOWN_CREDENTIAL)
            except TimeoutError:
                pass  # the same stands in the object's status a little later
        return admitted(review, (*parsed.diagnostics, *among_others))

    return handle


def _as_stored(request: dict[str, Any], at: datetime) -> Json:
    """Return the object as it will be: in its namespace, and as young as it is, for the oldest wins."""
    written = request["object"]
    metadata = written.get("metadata") or {}
    given = {
        "name": request.get("name") or metadata.get("generateName") or "new",
        "namespace": request.get("namespace", ""),
        "creationTimestamp": at.isoformat(),
    }
    stored = {**given, **{name: value for name, value in metadata.items() if value}}
    return {**written, "metadata": stored}

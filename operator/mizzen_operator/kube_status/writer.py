"""Writes conditions to objects' status subresource, and nothing that stands there already.

Only our own conditions are touched: others' stay, so that two meshes may share a cluster for a while. So do
addresses that others gave to hosts; ours are told by the hosts that they belong to. A
write carries the resourceVersion that was read, so it never lands on an object that has changed since.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from mizzen.conditions import ACCEPTED, LIVE, PROGRAMMED
from mizzen.model.allocation import is_given
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.kube.client import ApiError, ConflictError, NotFoundError
from mizzen_operator.kube.paths import RESOURCE_OF, is_steering
from mizzen_operator.kube_status.said import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from mizzen.resolve.allocation import Given
    from mizzen_operator.kube.client import ApiClient
    from mizzen_operator.kube_status.records import Record
    from mizzen_operator.kube_status.said import Told

Json = dict[str, Any]

_OURS: Final = (ACCEPTED, PROGRAMMED, LIVE)


class Outcome(Enum):
    """What became of a write."""

    WRITTEN = "written"
    EQUAL = "stood there already"
    OTHER = "the object is another one by now, or gone"
    REFUSED = "the API server would not have it"


class Writer:
    """Reads and writes the status of objects. All of it raises ``ApiError`` where the server does not answer."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def standing(self) -> AsyncIterator[tuple[ObjectKey, State]]:
        """Yield what stands on all objects that have any conditions of ours, page by page."""
        for kind, resource in RESOURCE_OF.items():
            if not is_steering(kind):
                continue
            try:
                async for page in self._api.pages(resource.path(), {}):
                    for raw in page:
                        if (found := _standing(raw)) is not None:
                            yield _key(kind, raw), found
            except NotFoundError:
                continue  # a kind that the cluster does not have (yet)

    async def write(self, key: ObjectKey, record: Record, wanted: State, at: datetime) -> Outcome:
        """Have an object say what is wanted, if it is still of that version."""
        try:
            return await self._write(key, record, wanted, at)
        except ApiError as error:
            # What is wrong with one object must not keep the others from being told of.
            if is_refusal(error):
                return Outcome.REFUSED
            raise

    async def _write(self, key: ObjectKey, record: Record, wanted: State, at: datetime) -> Outcome:
        path = RESOURCE_OF[key.kind].path(key.namespace, key.name)
        try:
            raw = await self._api.get(path)
            metadata = raw["metadata"]
            if (metadata["uid"], metadata.get("generation", 0)) != (record.uid, record.generation):
                return Outcome.OTHER
            if _standing(raw) == wanted:
                return Outcome.EQUAL
            status = _status(raw.get("status") or {}, wanted, record.generation, at)
            body = {
                "metadata": {"resourceVersion": metadata["resourceVersion"]},
                "status": status,
            }
            await self._api.patch(f"{path}/status", body)
        except (NotFoundError, ConflictError):
            return Outcome.OTHER
        return Outcome.WRITTEN


def _key(kind: str, raw: Mapping[str, Any]) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(DEFAULT_REGISTRY, kind, metadata.get("namespace", ""), metadata["name"])


def _standing(raw: Mapping[str, Any]) -> State | None:
    """Return what our conditions on an object say, None where not all are there or they are of old."""
    by_type = {one.get("type"): one for one in _conditions(raw.get("status"))}
    if any(of not in by_type for of in _OURS):
        return None
    metadata = raw["metadata"]
    observed = {str(by_type[of].get("observedGeneration")) for of in _OURS}
    if len(observed) != 1:
        return None
    told = tuple(_told(by_type[of]) for of in _OURS)
    return State(f"{metadata['uid']}/{observed.pop()}", told, _given(raw.get("status")))


def _given(status: Mapping[str, Any] | None) -> Given:
    """Return those addresses on an object that are ours to give."""
    found = (status or {}).get("addresses") or []
    pairs = [(str(one.get("host")), str(one.get("value"))) for one in found]
    return tuple(pair for pair in pairs if is_given(*pair))


def _told(condition: Mapping[str, Any]) -> Told:
    of, status, reason, message = (
        str(condition.get(name, "")) for name in ("type", "status", "reason", "message")
    )
    return of, status, reason, message


def _status(before: Mapping[str, Any], wanted: State, generation: int, at: datetime) -> Json:
    """Return the status that says what is wanted and leaves what others say."""
    known = {one.get("type"): one for one in _conditions(before)}
    others = [one for of, one in known.items() if of not in _OURS]
    ours = [_condition(told, known.get(told[0]), generation, at) for told in wanted.told]
    status: Json = {"conditions": [*others, *ours], "observedGeneration": generation}
    standing = _given(before)
    if before.get("addresses") and not standing:
        return status  # somebody else's
    if standing != wanted.addresses:
        given = [{"value": address, "host": host} for host, address in wanted.addresses]
        status["addresses"] = given or None
    return status


def _condition(told: Told, before: Mapping[str, Any] | None, generation: int, at: datetime) -> Json:
    of, status, reason, message = told
    since = before.get("lastTransitionTime") if before and before.get("status") == status else None
    return {
        "type": of,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": since or timestamp(at),
    }


def is_refusal(error: ApiError) -> bool:
    """Tell whether an API server that is well refused something, for good as far as we can tell."""
    return 400 <= error.status < 500 and error.status != 429


def timestamp(at: datetime) -> str:
    """Return a moment as Kubernetes writes it, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(status: Mapping[str, Any] | None) -> list[Json]:
    found = (status or {}).get("conditions") or []
    return [one for one in found if isinstance(one, dict)]

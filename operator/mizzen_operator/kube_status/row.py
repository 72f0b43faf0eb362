"""Writes the one MeshStatus object: at once what matters, now and then what always changes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from mizzen_operator.kube.client import ConflictError, NotFoundError
from mizzen_operator.kube.paths import path
from mizzen_operator.kube_status.mesh import VOLATILE
from mizzen_operator.kube_status.writer import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from mizzen_operator.kube.client import ApiClient

Json = dict[str, Any]

API_VERSION: Final = "mizzen.dev/v1alpha1"
KIND: Final = "MeshStatus"
NAME: Final = "mizzen"

_PATH: Final = path(API_VERSION, "meshstatuses")
_OBJECT: Final = f"{_PATH}/{NAME}"
# How long what matters waits for more of it, and how long the rest does.
_SETTLE_S: Final = 5.0
_LULL_S: Final = 30.0


class Pace:
    """When a document is to be written, by what was written last."""

    def __init__(self) -> None:
        self._written: Json | None = None
        self._at_s = float("-inf")

    def is_due(self, document: Json, now_s: float) -> bool:
        """Tell whether a document is to be written now."""
        if self._written is None:
            return True
        if document == self._written:
            return False
        age_s = now_s - self._at_s
        return age_s >= (_LULL_S if _lasting(document) == _lasting(self._written) else _SETTLE_S)

    def wrote(self, document: Json, now_s: float) -> None:
        """Take note of what stands there."""
        self._written, self._at_s = document, now_s

    def forget(self) -> None:
        """Forget what stands there: another replica may write from now on."""
        self._written = None


class Row:
    """The object; ``uid`` is empty until it was read or made, ``owners`` are its ownerReferences."""

    def __init__(self, api: ApiClient, owners: tuple[dict[str, object], ...] = ()) -> None:
        self.uid = ""
        self.pace = Pace()
        self._api = api
        self._owners = owners

    async def write(self, document: Json, at: datetime) -> bool:
        """Have the object say what the document says; tell whether that took a write.

        Raises ``ApiError``.
        """
        try:
            raw = await self._read()
        except NotFoundError:
            # The cluster does not have the kind (yet); another look is taken when there is more to say.
            self.pace.wrote(document, at.timestamp())
            return False
        self.uid = raw["metadata"]["uid"]
        before = raw.get("status") or {}
        wanted = {**document, "conditions": _conditions(before, document["conditions"], at)}
        is_new = any(before.get(name) != value for name, value in wanted.items())
        if is_new:
            await self._api.patch(f"{_OBJECT}/status", {"status": wanted})
        self.pace.wrote(document, at.timestamp())
        return is_new

    async def _read(self) -> Json:
        with suppress(NotFoundError):
            return await self._api.get(_OBJECT)
        try:
            metadata = {"name": NAME, "ownerReferences": list(self._owners)}
            made = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
            return await self._api.create(_PATH, made)
        except ConflictError:
            return await self._api.get(_OBJECT)


def _lasting(document: Mapping[str, Any]) -> Json:
    return {name: value for name, value in document.items() if name not in VOLATILE}


def _conditions(before: Mapping[str, Any], wanted: list[Json], at: datetime) -> list[Json]:
    known = {one.get("type"): one for one in before.get("conditions") or ()}
    return [
        {**one, "lastTransitionTime": _since(known.get(one["type"]), one) or timestamp(at)}
        for one in wanted
    ]


def _since(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    if before is None or before.get("status") != now["status"]:
        return ""
    return str(before.get("lastTransitionTime") or "")

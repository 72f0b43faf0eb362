"""Kubernetes Events for what a person must know: a refusal, a pod without its sidecar, a certificate's end.

An event's name follows from what it says of whom, so that a replica that takes over, or one that starts
anew, counts the event that is there instead of making it again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from mizzen_operator.kube.client import ApiError, ConflictError
from mizzen_operator.kube.paths import path
from mizzen_operator.kube_status.budget import Budget
from mizzen_operator.kube_status.writer import is_refusal, timestamp

if TYPE_CHECKING:
    from datetime import datetime

    from mizzen_operator.kube.client import ApiClient

# Kubernetes refuses longer ones.
_MESSAGE_LENGTH: Final = 1024
# Events of objects that have no namespace stand here (Kubernetes, validation of events).
_DEFAULT: Final = "default"
# The API server forgets events after an hour; what goes on is then told again.
_AGAIN_S: Final = 3600.0
_REMEMBERED: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What an event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What an event says."""

    about: Subject
    reason: str
    message: str


class Herald:
    """Tells news, each once an hour, a few in a second at most. ``replica`` is who tells them."""

    def __init__(self, api: ApiClient, *, replica: str) -> None:
        self._api = api
        self._replica = replica
        self._told: OrderedDict[News, float] = OrderedDict()
        self._budget = Budget(per_second=1.0, most=10.0)

    def is_news(self, news: News, now_s: float) -> bool:
        """Tell whether something has not been told within the hour."""
        at_s = self._told.get(news)
        return at_s is None or now_s - at_s >= _AGAIN_S

    async def tell(self, news: News, at: datetime) -> bool:
        """Make an event of news, unless it was told or too many were; raises ``ApiError``."""
        now_s = at.timestamp()
        if not self.is_news(news, now_s) or not self._budget.take(now_s, urgent=True):
            return False
        try:
            await self._write(replace(news, about=await self._known(news.about)), timestamp(at))
        except ApiError as error:
            # The object is gone, or its namespace ends, or it has a name that Kubernetes takes for none.
            if not is_refusal(error):
                raise
        self._told[news] = now_s
        self._told.move_to_end(news)
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        return True

    async def _known(self, about: Subject) -> Subject:
        """Return a subject with its uid, without which ``kubectl describe`` does not find the event."""
        if about.uid or about.kind != "Pod":
            return about
        raw = await self._api.get(path("v1", "pods", about.namespace, about.name))
        return replace(about, uid=raw["metadata"]["uid"])

    async def _write(self, news: News, at: str) -> None:
        collection = path("v1", "events", news.about.namespace or _DEFAULT)
        event = self._event(news, at)
        try:
            await self._api.create(collection, event)
        except ConflictError:
            await self._count(f"{collection}/{event['metadata']['name']}", at)

    async def _count(self, where: str, at: str) -> None:
        raw = await self._api.get(where)
        change = {"count": int(raw.get("count") or 1) + 1, "lastTimestamp": at}
        await self._api.patch(where, change)

    def _event(self, news: News, at: str) -> dict[str, Any]:
        about = news.about
        identity = "\0".join((about.kind, about.uid, news.reason, news.message))
        digest = blake2b(identity.encode(), digest_size=8).hexdigest()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.name}.{digest}",
                "namespace": about.namespace or _DEFAULT,
            },
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "name": about.name,
                **({"namespace": about.namespace} if about.namespace else {}),
                **({"uid": about.uid} if about.uid else {}),
            },
            "type": "Warning",
            "reason": news.reason,
            "message": news.message[:_MESSAGE_LENGTH],
            "count": 1,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "source": {"component": "mizzen"},
            "reportingComponent": "mizzen.dev/operator",
            "reportingInstance": self._replica,
        }

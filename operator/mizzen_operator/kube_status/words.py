"""What replicas say to one another: a question about a few objects, and a report.

::

    {"objects": [["VirtualService", "shop", "reviews"], …]}

    {"replica": "mizzen-7d4b…", "proxies": 12, "upToDate": 12, …,
     "objects": [["<uid>/3", true, 12, 12, []], null, …]}       in the order of the question

A field that is missing has its default, and one that is not known is passed over, because replicas of two
versions talk while one is being replaced by the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mizzen.names import DEFAULT_REGISTRY, ObjectKey

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]

# More is not asked at once, and not answered: it bounds what an answer costs.
QUESTION_LIMIT: Final = 500
_REJECTED_LIMIT: Final = 100
_TEXTS_LIMIT: Final = 5


class NotUnderstoodError(ValueError):
    """What another replica said has not the form that is spoken here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How it stands with one object at one replica.

    Attributes:
        version: The version that was read last there.
        in_force: That version is the one that is served; else it is an earlier one.
        rejected: What proxies said against it.
    """

    version: str
    in_force: bool = True
    live: int = 0
    of: int = 0
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How it stands at one replica.

    Attributes:
        complete: It has read everything; before, it serves nobody and has nothing to say.
        pods: How many of its proxies are pods that it knows to have a proxy.
        envoys: How many proxies there are of each version of Envoy.
        slowest: The proxy that is the furthest behind, or was the last to catch up; empty where none is.
        slowest_s: How far behind it is, or how long it took.
        convergence_p99_s: From a change to the last acknowledgement; negative where nothing is known.
        rejected: The first objects that something refused was made from, with what was said.
        objects: The answers, in the order of the question; None where there is no such object.
    """

    replica: str
    complete: bool = True
    version: str = ""
    revision: int = 0
    proxies: int = 0
    pods: int = 0
    up_to_date: int = 0
    rejecting: int = 0
    envoys: tuple[tuple[str, int], ...] = ()
    slowest: str = ""
    slowest_s: float = 0.0
    convergence_p99_s: float = -1.0
    snapshot_bytes: int = 0
    rejected: tuple[tuple[ObjectKey, tuple[str, ...]], ...] = ()
    objects: tuple[Answer | None, ...] = ()


def question(keys: tuple[ObjectKey, ...]) -> Json:
    """Return a question as it is sent."""
    return {"objects": [_named(key) for key in keys[:QUESTION_LIMIT]]}


def asked(said: object) -> tuple[ObjectKey, ...]:
    """Return the objects that a question is about; :class:`NotUnderstoodError` where it is none."""
    try:
        return tuple(_key(one) for one in _object(said)["objects"][:QUESTION_LIMIT])
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstoodError(f"not a question: {error!r}") from error


def report(of: Report) -> Json:
    """Return a report as it is sent."""
    return {
        "replica": of.replica,
        "complete": of.complete,
        "version": of.version,
        "revision": of.revision,
        "proxies": of.proxies,
        "pods": of.pods,
        "upToDate": of.up_to_date,
        "rejecting": of.rejecting,
        "envoys": dict(of.envoys),
        "slowest": of.slowest,
        "slowestSeconds": of.slowest_s,
        "convergenceP99Seconds": of.convergence_p99_s,
        "snapshotBytes": of.snapshot_bytes,
        "rejected": [
            [*_named(key), list(texts[:_TEXTS_LIMIT])]
            for key, texts in of.rejected[:_REJECTED_LIMIT]
        ],
        "objects": [_answered(one) for one in of.objects],
    }


def reported(said: object) -> Report:
    """Return what a report says; :class:`NotUnderstoodError` where it is none."""
    try:
        return _report(_object(said))
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstoodError(f"not a report: {error!r}") from error


def _report(said: Mapping[str, Any]) -> Report:
    return Report(
        replica=str(said["replica"]),
        complete=bool(said.get("complete", True)),
        version=str(said.get("version", "")),
        revision=int(said.get("revision", 0)),
        proxies=int(said.get("proxies", 0)),
        pods=int(said.get("pods", 0)),
        up_to_date=int(said.get("upToDate", 0)),
        rejecting=int(said.get("rejecting", 0)),
        envoys=tuple((str(name), int(number)) for name, number in said.get("envoys", {}).items()),
        slowest=str(said.get("slowest", "")),
        slowest_s=float(said.get("slowestSeconds", 0.0)),
        convergence_p99_s=float(said.get("convergenceP99Seconds", -1.0)),
        snapshot_bytes=int(said.get("snapshotBytes", 0)),
        rejected=tuple((_key(one[:3]), _texts(one[3])) for one in said.get("rejected", ())),
        objects=tuple(_answer(one) for one in said.get("objects", ())),
    )


def _named(key: ObjectKey) -> list[str]:
    return [key.kind, key.namespace, key.name]


def _key(said: list[str]) -> ObjectKey:
    kind, namespace, name = map(str, said)
    return ObjectKey(DEFAULT_REGISTRY, kind, namespace, name)


def _answered(of: Answer | None) -> list[object] | None:
    if of is None:
        return None
    return [of.version, of.in_force, of.live, of.of, list(of.rejected[:_TEXTS_LIMIT])]


def _answer(said: list[Any] | None) -> Answer | None:
    if said is None:
        return None
    version, in_force, live, of, texts = said[:5]
    return Answer(
        version=str(version),
        in_force=bool(in_force),
        live=int(live),
        of=int(of),
        rejected=_texts(texts),
    )


def _texts(said: list[str]) -> tuple[str, ...]:
    return tuple(map(str, said))


def _object(said: object) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise TypeError("an object is expected")
    return said

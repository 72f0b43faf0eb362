"""From what all replicas say to what is said of an object and of the mesh: sums, with what is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.conditions import Liveness

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mizzen.names import ObjectKey
    from mizzen_operator.kube_status.records import Record
    from mizzen_operator.kube_status.words import Answer, Report


def liveness(
    record: Record, answers: Iterable[Answer | None], *, silent: int = 0, awaited: int = 0
) -> Liveness:
    """Return where an object is in force, from what each replica says and how many say nothing.

    A replica that has read another version counts with its proxies, but none of them is live: what they
    acknowledged is not what the condition speaks of.
    """
    said = tuple(answers)
    same = [one for one in said if one is not None and one.version == record.version]
    texts = dict.fromkeys(text for one in same for text in one.rejected)
    return Liveness(
        live=sum(one.live for one in same),
        of=sum(one.of for one in said if one is not None),
        rejected=tuple(texts),
        in_force=record.in_force,
        behind=len(said) - len(same),
        silent=silent,
        awaited=awaited,
    )


def missing(injected: int, reports: Iterable[Report]) -> int:
    """Return how many of the pods that have a proxy are connected to no replica."""
    return max(0, injected - sum(one.pods for one in reports))


def by_object(
    keys: tuple[ObjectKey, ...], reports: Iterable[Report]
) -> Mapping[ObjectKey, tuple[Answer | None, ...]]:
    """Return what each replica that serves says of each object; one that left it out says None."""
    told = tuple(one for one in reports if one.complete)
    return {
        key: tuple(one.objects[place] if place < len(one.objects) else None for one in told)
        for place, key in enumerate(keys)
    }


def rejected(reports: Iterable[Report]) -> Mapping[ObjectKey, tuple[str, ...]]:
    """Return the objects that proxies of any replica complain of, with each complaint once, in order."""
    found: dict[ObjectKey, dict[str, None]] = {}
    for key, text in _complaints(reports):
        found.setdefault(key, {})[text] = None
    return {key: tuple(found[key]) for key in sorted(found)}


def _complaints(reports: Iterable[Report]) -> Iterator[tuple[ObjectKey, str]]:
    for one in reports:
        for key, texts in one.rejected:
            yield from ((key, text) for text in texts)

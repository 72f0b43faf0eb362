"""What a schema cannot say of locality load balancing (Istio: ValidateLocalityLbSetting)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen.api.findings import Finding, Path, at, conflict, invalid, without_effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mizzen.api.load_balancing import (
        LocalityFailover,
        LocalityLbSetting,
        ZoneAwareLbSetting,
    )

_WHOLE: Final = 100
_ANY: Final = "*"
# What failover by regions says too.
_TOPOLOGY: Final = (
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
)


def check_locality(locality: LocalityLbSetting, *, ejects: bool) -> Iterator[Finding]:
    """Check a setting; ``ejects`` tells whether outlier detection stands beside it."""
    if locality.distribute and locality.failover:
        yield conflict(("distribute",), "distribute and failover exclude each other")
    elif locality.distribute and locality.failover_priority:
        message = "where traffic is distributed, nothing is left for failoverPriority"
        yield without_effect(("failoverPriority",), message)
    yield from _distribute(locality)
    if locality.failover:
        for index, label in enumerate(locality.failover_priority):
            if label in _TOPOLOGY:
                message = f"failover says it by regions already, so {label} does not go with it"
                yield conflict(("failoverPriority", index), message)
    for index, failover in enumerate(locality.failover):
        yield from at(("failover", index), _failover(failover))
    if (locality.failover or locality.failover_priority) and not ejects:
        field = "failover" if locality.failover else "failoverPriority"
        message = "without outlierDetection no endpoint is found to fail, and nothing fails over"
        yield without_effect((field,), message, "Add outlierDetection beside the load balancer.")


def check_zones(zones: ZoneAwareLbSetting) -> Iterator[Finding]:
    """Check a setting about zones (Istio: ZoneAwareLoadBalancerSetting)."""
    for index, label in enumerate(zones.failover_priority):
        if label.partition("=")[0] in _TOPOLOGY:
            message = f"regions and zones count in any case, so {label} does not go with it"
            yield conflict(("failoverPriority", index), message)
    for index, failover in enumerate(zones.failover):
        yield from at(("failover", index), _failover(failover))


def _failover(failover: LocalityFailover) -> Iterator[Finding]:
    if failover.from_ == failover.to:
        yield invalid(("to",), f"traffic of {failover.from_!r} cannot fail over to itself")
    for field, region in (("from", failover.from_), ("to", failover.to)):
        if "/" in region or _ANY in region:
            yield invalid((field,), f"{region!r} is not a region; it has neither zone nor wildcard")


def _distribute(locality: LocalityLbSetting) -> Iterator[Finding]:
    for index, spread in enumerate(locality.distribute):
        path: Path = ("distribute", index, "to")
        wrong = [place for place, weight in spread.to.items() if not 1 <= weight <= _WHOLE]
        for place in wrong:
            yield invalid((*path, place), f"a weight is from 1 to 100, not {spread.to[place]}")
        total = sum(spread.to.values())
        if total != _WHOLE and not wrong:
            yield invalid(path, f"weights must add up to 100, not {total}")
        # The order of a map means nothing, so wildcards come last.
        yield from _places(((*path, place), place) for place in sorted(spread.to, key=_is_wild))
    sources = ((("distribute", n, "from"), d.from_) for n, d in enumerate(locality.distribute))
    yield from _places(sources)


def _places(places: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    """Check localities, none of which may be within one before it."""
    seen: list[tuple[str, ...]] = []
    for path, text in places:
        parts = tuple(text.split("/", 2))
        if not all(parts):
            yield invalid(path, f"{text!r} is not a locality: region, region/zone or .../subzone")
        elif _ANY in text and (text.count(_ANY) > 1 or not text.endswith(_ANY)):
            yield invalid(path, f"{text!r} has a * elsewhere than at its end")
        elif any(_overlap(parts, other) for other in seen):
            yield invalid(path, f"{text!r} and a locality before it overlap")
        seen.append(parts)


def _is_wild(place: str) -> bool:
    return _ANY in place


def _overlap(one: tuple[str, ...], before: tuple[str, ...]) -> bool:
    """Tell whether a locality is within one before it, or around it without a wildcard."""
    return all(b in (a, _ANY) for a, b in zip(one, before, strict=False))

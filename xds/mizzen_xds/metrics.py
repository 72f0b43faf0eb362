"""What the plane counts, as plain numbers; the operator writes them in Prometheus' form."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mizzen.wire import TypeUrl

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, slots=True)
class Sample:
    """One number under its Prometheus name."""

    name: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


class Durations:
    """A histogram of seconds with fixed buckets."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(_BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def quantile(self, share: float) -> float:
        """Return the upper bound, in seconds, of the bucket that a share of durations lies within."""
        total = sum(self._counts)
        reached = 0
        for bound, number in zip(_BUCKETS_S, self._counts, strict=False):
            reached += number
            if total and reached >= share * total:
                return bound
        return float("inf") if total else 0.0

    def samples(self, name: str) -> Iterator[Sample]:
        """Yield the buckets, the sum and the count."""
        reached = 0
        for bound, number in zip((*_BUCKETS_S, float("inf")), self._counts, strict=True):
            reached += number
            label = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield Sample(f"{name}_bucket", reached, (("le", label),))
        yield Sample(f"{name}_sum", self._sum_s)
        yield Sample(f"{name}_count", reached)


@dataclass(slots=True)
class Metrics:
    """Counters and gauges of the plane; counters never go down."""

    streams: int = 0
    refused_streams_total: int = 0
    lagging_streams: int = 0
    quarantined_resources: int = 0
    unknown_requests_total: int = 0
    requests_total: Counter[TypeUrl] = field(default_factory=Counter)
    responses_total: Counter[TypeUrl] = field(default_factory=Counter)
    response_bytes_total: Counter[TypeUrl] = field(default_factory=Counter)
    rejections_total: Counter[TypeUrl] = field(default_factory=Counter)
    convergence: Durations = field(default_factory=Durations)

    def samples(self) -> Iterator[Sample]:
        """Yield everything under names of the form ``mizzen_xds_<noun>_<unit>``."""
        yield Sample("mizzen_xds_streams", self.streams)
        yield Sample("mizzen_xds_refused_streams_total", self.refused_streams_total)
        yield Sample("mizzen_xds_lagging_streams", self.lagging_streams)
        yield Sample("mizzen_xds_quarantined_resources", self.quarantined_resources)
        yield Sample("mizzen_xds_unknown_requests_total", self.unknown_requests_total)
        for name, counter in (
            ("requests", self.requests_total),
            ("responses", self.responses_total),
            ("response_bytes", self.response_bytes_total),
            ("rejections", self.rejections_total),
        ):
            for type_url in TypeUrl:
                label = (("type", short_name(type_url)),)
                yield Sample(f"mizzen_xds_{name}_total", counter[type_url], label)
        yield from self.convergence.samples("mizzen_xds_convergence_seconds")


def short_name(type_url: TypeUrl) -> str:
    """Return the last word of a type URL."""
    return type_url.value.rpartition(".")[2]

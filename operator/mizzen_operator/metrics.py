"""What the control plane counts, in Prometheus' text format.

The planes count in plain numbers; here they get their form. Source: the text exposition format,
version 0.0.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Final

from mizzen_xds.metrics import Durations, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HISTOGRAM_PARTS: Final = ("_bucket", "_sum", "_count")


@dataclass(slots=True)
class OperatorMetrics:
    """Counters and gauges of this plane; counters never go down."""

    revision: int = 0
    objects: int = 0
    errors: int = 0
    warnings: int = 0
    batches_total: int = 0
    changed_objects_total: int = 0
    offered_bundles_total: int = 0
    status_writes_total: int = 0
    rounds: Durations = field(default_factory=Durations)

    def samples(self) -> Iterator[Sample]:
        """Yield everything under names of the form ``mizzen_operator_<noun>_<unit>``."""
        yield Sample("mizzen_operator_revision", self.revision)
        yield Sample("mizzen_operator_objects", self.objects)
        for severity, number in (("error", self.errors), ("warning", self.warnings)):
            yield Sample("mizzen_operator_findings", number, (("severity", severity),))
        yield Sample("mizzen_operator_batches_total", self.batches_total)
        yield Sample("mizzen_operator_changed_objects_total", self.changed_objects_total)
        yield Sample("mizzen_operator_offered_bundles_total", self.offered_bundles_total)
        yield Sample("mizzen_operator_status_writes_total", self.status_writes_total)
        yield from self.rounds.samples("mizzen_operator_round_seconds")


def exposition(samples: Iterable[Sample]) -> bytes:
    """Return samples as a page for Prometheus, those of one family together and in their order."""
    ordered = sorted(samples, key=lambda sample: _family(sample.name))
    lines: list[str] = []
    for family, members in groupby(ordered, key=lambda sample: _family(sample.name)):
        together = list(members)
        lines.append(f"# TYPE {family} {_kind(family, together)}")
        lines += (_line(sample) for sample in together)
    return ("\n".join(lines) + "\n").encode()


def _family(name: str) -> str:
    for part in _HISTOGRAM_PARTS:
        if name.endswith(f"_seconds{part}"):
            return name.removesuffix(part)
    return name


def _kind(family: str, members: list[Sample]) -> str:
    if members[0].name != family:
        return "histogram"
    return "counter" if family.endswith("_total") else "gauge"


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    name = f"{sample.name}{{{labels}}}" if labels else sample.name
    return f"{name} {_number(sample.value)}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)

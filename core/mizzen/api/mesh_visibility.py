"""Parts of a MeshConfig: which namespaces are looked at, and who sees what says nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from mizzen.api.base import ApiModel
from mizzen.api.findings import Finding, Path, at, conflict, invalid, missing
from mizzen.api.hosts import check_export_to, check_labels, is_label
from mizzen.model.discovery import LabelSelector, Operator, Requirement
from mizzen.model.meta import ExportTo, labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WITH_VALUES: Final = (Operator.IN, Operator.NOT_IN)


class LabelSelectorRequirement(ApiModel):
    """What is asked of one label (Kubernetes: LabelSelectorRequirement)."""

    key: str = Field(description="The label.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How its value is held against the values."
    )
    values: list[str] = Field(default_factory=list, description="Of In and NotIn.")


class NamespaceSelector(ApiModel):
    """Namespaces by their labels (Kubernetes: LabelSelector); an empty one selects all."""

    match_labels: dict[str, str] = Field(default_factory=dict, description="Labels they have.")
    match_expressions: list[LabelSelectorRequirement] = Field(
        default_factory=list, description="What else is asked of their labels."
    )


def namespace_selectors(written: Sequence[NamespaceSelector]) -> tuple[LabelSelector, ...] | None:
    """Return which namespaces are looked at; None where nothing is written, which is all of them."""
    if not written:
        return None
    return tuple(
        LabelSelector(
            labels=labels(one.match_labels),
            expressions=tuple(
                Requirement(key=e.key, operator=Operator(e.operator), values=tuple(e.values))
                for e in one.match_expressions
            ),
        )
        for one in written
    )


def check_selectors(written: Sequence[NamespaceSelector]) -> Iterator[Finding]:
    """Check the selectors of namespaces."""
    for index, one in enumerate(written):
        yield from at((index,), check_labels(("matchLabels",), one.match_labels))
        for place, expression in enumerate(one.match_expressions):
            path = (index, "matchExpressions", place)
            yield from at(path, _check_requirement(expression))


def _check_requirement(written: LabelSelectorRequirement) -> Iterator[Finding]:
    yield from check_labels(("key",), {written.key: ""})
    if written.operator not in _WITH_VALUES:
        if written.values:
            yield conflict(("values",), f"{written.operator} asks for no values", "Remove them.")
    elif not written.values:
        yield missing(("values",), f"{written.operator} needs values")
    for index, value in enumerate(written.values):
        yield from check_labels(("values", index), {written.key or "x": value})


def default_export(written: Sequence[str]) -> ExportTo | None:
    """Return who sees what says nothing of it; None where nothing is written, which is everybody."""
    return ExportTo(tuple(written)) if written else None


def check_default_export(path: Path, written: Sequence[str]) -> Iterator[Finding]:
    """Check a default of ``exportTo``: of the namespaces there is no one that all objects share."""
    yield from check_export_to(path, written, hidden=True)
    for index, target in enumerate(written):
        if is_label(target):
            remedy = "Use '*', '.' or '~', and write namespaces on the objects."
            yield invalid((*path, index), f"{target!r} is a namespace", remedy)

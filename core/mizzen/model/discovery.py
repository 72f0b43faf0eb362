"""Which namespaces belong to the mesh: selectors of their labels (Kubernetes: LabelSelector)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from mizzen.model.meta import NO_LABELS, Labels

if TYPE_CHECKING:
    from collections.abc import Mapping


class Operator(StrEnum):
    """How a label's value is held against a requirement's."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """``matchExpressions[]``: what is asked of one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def holds(self, of: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; one that is not there is in no list of values."""
        match self.operator:
            case Operator.IN:
                return of.get(self.key) in self.values
            case Operator.NOT_IN:
                return of.get(self.key) not in self.values
            case Operator.EXISTS:
                return self.key in of
            case Operator.DOES_NOT_EXIST:
                return self.key not in of


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """All of it has to hold; an empty one selects everything."""

    labels: Labels = NO_LABELS
    expressions: tuple[Requirement, ...] = ()

    def selects(self, of: Mapping[str, str]) -> bool:
        """Tell whether it selects what has these labels."""
        alike = all(of.get(key) == value for key, value in self.labels)
        return alike and all(requirement.holds(of) for requirement in self.expressions)

"""What all models of manifests share: strictness, names in camelCase, and the mark of the untranslated.

A model says the shape of a manifest as Istio's CRD does. pydantic refuses wrong types (a label that
YAML reads as a number is a mistake there as here); what a model does not know is not refused but
reported (``shape``), so that a manifest written for a newer Istio goes on working.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class NotTranslated:
    """Marks a field that is read and checked but changes nothing yet; setting it raises MZ0201.

    Attributes:
        reason: What the field would do, or which feature it comes with; part of the message.
        only: Values that are not translated, where others are.
        unless: Values that ask for what happens anyway.
        for_good: Istio does nothing with it either, so no later version will.
    """

    reason: str
    only: tuple[object, ...] = ()
    unless: tuple[object, ...] = ()
    for_good: bool = False

    def concerns(self, value: object) -> bool:
        """Tell whether a written value asks for something that does not happen."""
        if self.only:
            return value in self.only
        return not is_default(value) and value not in self.unless


def is_default(value: object) -> bool:
    """Tell whether a written value says the same as leaving the field out (protobuf's JSON)."""
    return value is None or value is False or value in ("", [], {}) or (value == 0)


class ApiModel(BaseModel):
    """A part of a manifest. ``OPEN`` models know only what a mesh needs of a larger kind."""

    model_config = ConfigDict(
        # Most processes read but some of the kinds, and what reads one takes half a megabyte.
        defer_build=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        protected_namespaces=(),
    )

    OPEN: ClassVar[bool] = False


class OpenModel(ApiModel):
    """A part of one of Kubernetes' own kinds, whose other fields are none of the mesh's business."""

    OPEN: ClassVar[bool] = True


Port = Annotated[int, Field(ge=1, le=65_535)]
"""A port's number."""

UInt32 = Annotated[int, Field(ge=0, le=4_294_967_295)]

Int32 = Annotated[int, Field(ge=-2_147_483_648, le=2_147_483_647)]

Count = Annotated[int, Field(ge=0, le=2_147_483_647)]
"""An int32 that cannot sensibly be negative."""

Percent = Annotated[float, Field(ge=0, le=100)]


class PortSelector(ApiModel):
    """A port of a service by its number (Istio: PortSelector)."""

    number: Port = Field(description="The port's number on the service.")


class WorkloadSelector(ApiModel):
    """Which workloads a policy is for, by their labels (Istio: type.v1beta1.WorkloadSelector)."""

    match_labels: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict,
        max_length=4096,
        description="Labels that a workload must all have; empty selects every one in scope.",
    )

"""Random namespaces with labels, settings that look at some of them, and objects that don't say who sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from hypothesis import strategies as st

from mizzen.model.discovery import LabelSelector, Operator, Requirement
from mizzen.model.kube import Namespace, Service
from mizzen.model.mesh import MeshConfig
from mizzen.model.meta import EXPORT_ALL, EXPORT_NONE, ExportTo, Meta, labels
from mizzen.model.routing import VirtualService
from mizzen.model.traffic import DestinationRule, ServiceEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

_Exported = TypeVar("_Exported", Service, ServiceEntry, VirtualService, DestinationRule)

_OWN: Final = ExportTo((".",))
_IN_MESH: Final = LabelSelector(labels=labels({"mesh": "yes"}))
_NOT_OLD: Final = LabelSelector(
    expressions=(Requirement(key="era", operator=Operator.NOT_IN, values=("old",)),)
)
_BANK: Final = LabelSelector(labels=labels({"kubernetes.io/metadata.name": "bank"}))

MESHES_BY_NAMESPACE: Final = (
    MeshConfig(discovery=(_IN_MESH,)),
    MeshConfig(discovery=(_IN_MESH, _BANK), rule_export=_OWN),
    MeshConfig(discovery=(_NOT_OLD,), service_export=_OWN),
    MeshConfig(service_export=EXPORT_NONE, route_export=_OWN),
    MeshConfig(route_export=EXPORT_NONE, rule_export=_OWN),
)
"""Settings that decide which objects are in force, and who sees those that say nothing of it."""


def namespaces(names: Sequence[str]) -> st.SearchStrategy[Namespace]:
    """Return namespaces with the labels that those settings ask for."""
    meta = st.builds(
        Meta,
        kind=st.just("Namespace"),
        namespace=st.just(""),
        name=st.sampled_from(names),
        labels=st.sampled_from(
            tuple(labels(one) for one in ({}, {"mesh": "yes"}, {"mesh": "yes", "era": "old"}))
        ),
    )
    return st.builds(Namespace, meta=meta)


def as_written(items: st.SearchStrategy[_Exported]) -> st.SearchStrategy[_Exported]:
    """Return objects of which some leave it to the mesh who sees them; those for some clients never do."""
    return st.builds(_unsaid, items, st.booleans())


def _unsaid(item: _Exported, is_unsaid: bool) -> _Exported:
    is_for_some = (
        getattr(item, "selector", None) is not None and item.meta.kind == "DestinationRule"
    )
    if is_for_some or not is_unsaid:
        return item
    return replace(item, export_to=EXPORT_ALL, export_unsaid=True)

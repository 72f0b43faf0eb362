"""Namespace, Node and ServiceAccount (core/v1): of each hardly more than that it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from mizzen.api.meta import Manifest
from mizzen.api.reading import Reading, read
from mizzen.model.kube import Namespace, Node, ServiceAccount
from mizzen.model.meta import Meta, label

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen.names import ObjectKey

_REGION: Final = "topology.kubernetes.io/region"
_ZONE: Final = "topology.kubernetes.io/zone"
_SUBZONE: Final = "topology.istio.io/subzone"


class NamedManifest(Manifest):
    """An object of which only the metadata matters."""

    OPEN: ClassVar[bool] = True


def read_namespace(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Namespace that a manifest means."""
    return read(raw, key, NamedManifest, lambda _, meta: Namespace(meta=meta))


def read_node(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the Node that a manifest means."""
    return read(raw, key, NamedManifest, lambda _, meta: _node(meta))


def read_service_account(raw: Mapping[str, object], key: ObjectKey) -> Reading:
    """Return the ServiceAccount that a manifest means."""
    return read(raw, key, NamedManifest, lambda _, meta: ServiceAccount(meta=meta))


def _node(meta: Meta) -> Node:
    return Node(
        meta=meta,
        region=label(meta.labels, _REGION),
        zone=label(meta.labels, _ZONE),
        subzone=label(meta.labels, _SUBZONE),
    )

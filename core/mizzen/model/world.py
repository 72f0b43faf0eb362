"""The World: every object that matters, frozen; and the batches by which sources change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mizzen.diagnostics import Diagnostic
from mizzen.model.gateway import Gateway
from mizzen.model.kube import (
    ConfigMap,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    Secret,
    Service,
    ServiceAccount,
)
from mizzen.model.noted import Noted
from mizzen.model.routing import VirtualService
from mizzen.model.security import (
    AuthorizationPolicy,
    IssuerKeys,
    PeerAuthentication,
    RequestAuthentication,
)
from mizzen.model.sidecar import Sidecar
from mizzen.model.traffic import DestinationRule, ServiceEntry, WorkloadEntry
from mizzen.names import ObjectKey

Object = (
    Service
    | EndpointSlice
    | Pod
    | Namespace
    | Node
    | ServiceAccount
    | Secret
    | ConfigMap
    | VirtualService
    | DestinationRule
    | Gateway
    | ServiceEntry
    | WorkloadEntry
    | PeerAuthentication
    | AuthorizationPolicy
    | RequestAuthentication
    | IssuerKeys
    | Sidecar
    | Noted
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What the edge made of one manifest.

    ``object`` is None where an error keeps it from meaning anything; then the source keeps the last
    good version in force, and the diagnostics say why.
    """

    key: ObjectKey
    object: Object | None
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes that are taken in together: key → object, or None where it is gone.

    ``complete`` marks the first batch after which the source has told everything it knows; nothing is
    served before.

    ``versions`` are the source's own names for the versions of the objects that the batch speaks of, the same
    in every process that reads the same source (Kubernetes: ``<uid>/<generation>``), empty for one that is gone. They never enter
    the World; they come back with what was made of the batch, so that a status says what it is a status of.
    """

    changes: Mapping[ObjectKey, Object | None] = field(default_factory=dict)
    diagnostics: Mapping[ObjectKey, tuple[Diagnostic, ...]] = field(default_factory=dict)
    versions: Mapping[ObjectKey, str] = field(default_factory=dict)
    complete: bool = True

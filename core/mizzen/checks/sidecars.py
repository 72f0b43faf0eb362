"""What a Sidecar gets wrong about the others: workloads, other Sidecars, and hosts that it imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen import diagnostics as codes
from mizzen.checks.findings import Found, finding, listed, pairs
from mizzen.checks.workloads import selected
from mizzen.model.kube import Pod
from mizzen.model.security import MtlsMode
from mizzen.model.sidecar import ANY_NAMESPACE, EVERY_ADDRESS
from mizzen.names import is_wildcard
from mizzen.resolve.inbound import OWN_TLS
from mizzen.resolve.peers import workload_modes
from mizzen.resolve.services import written
from mizzen.resolve.sidecars import sidecar_for, sidecars_in
from mizzen.resolve.world import OBJECT, ROUTES_AT_HOST, UNCAPTURED_IN, settings

if TYPE_CHECKING:
    from mizzen.engine import Database
    from mizzen.model.sidecar import Import, Sidecar


def check(db: Database, item: Sidecar) -> Found:
    """Yield what a Sidecar gets wrong."""
    namespace = item.meta.namespace
    if item.selector and not selected(db, namespace, item.selector):
        message = f"no workload of {namespace} has {pairs(item.selector)}"
        yield finding(codes.SELECTS_NOTHING, item.meta, "spec.workloadSelector.labels", message)
    yield from _shadowed(db, item)
    yield from _without_own_tls(db, item)
    if item.ingress:
        yield from _unserved(item, _uncaptured(db, item))
    for index, egress in enumerate(item.egress):
        for entry in egress.hosts:
            if not _is_known(db, entry):
                message = f"nothing gives {entry.host} in namespace {entry.namespace}"
                path = f"spec.egress[{index}].hosts"
                yield finding(codes.EMPTY_IMPORT, item.meta, path, message)


def _without_own_tls(db: Database, item: Sidecar) -> Found:
    """Yield ports whose own TLS does not end at the proxy, because the mesh's does."""
    base, ports = workload_modes(db, (item.meta.namespace, item.selector))
    for number, entry in enumerate(item.ingress):
        mode = dict(ports).get(entry.port, base)
        if entry.tls is not None and entry.tls.mode in OWN_TLS and mode is not MtlsMode.DISABLE:
            message = f"mutual TLS of the port is {mode}; TLS of its own ends where it is DISABLE"
            yield finding(codes.NO_EFFECT, item.meta, f"spec.ingress[{number}].tls", message)


def _uncaptured(db: Database, item: Sidecar) -> Pod | None:
    """Return a pod of which nothing is captured and for which a Sidecar holds, the first of several."""
    own = item.meta.namespace
    is_everywhere = own == settings(db).root_namespace and not item.selector
    for namespace in sorted(UNCAPTURED_IN.all_keys(db)) if is_everywhere else (own,):
        for key in UNCAPTURED_IN(db, namespace):
            found = OBJECT(db, key)
            if isinstance(found, Pod) and sidecar_for(db, namespace, found.meta.labels) == item:
                return found
    return None


def _unserved(item: Sidecar, pod: Pod | None) -> Found:
    """Yield ports that nobody can call where nothing is captured, and addresses that nobody listens at."""
    for number, entry in enumerate(item.ingress):
        path = f"spec.ingress[{number}]"
        if pod is not None and not (entry.bind or entry.free_bind):
            message = (
                f"nothing is captured of {pod.meta.key}, where port {entry.port} is not served"
            )
            remedy = (
                "Write captureMode: NONE, and in defaultEndpoint where the application listens."
            )
            yield finding(codes.NO_EFFECT, item.meta, f"{path}.captureMode", message, remedy)
        if pod is None and entry.free_bind not in ("", EVERY_ADDRESS):
            message = "captured connections come to the address they went to"
            remedy = "Leave it out, or write captureMode: NONE."
            yield finding(codes.NO_EFFECT, item.meta, f"{path}.bind", message, remedy)


def _shadowed(db: Database, item: Sidecar) -> Found:
    alike = [one for one in sidecars_in(db, item.meta.namespace) if one.selector == item.selector]
    winner, *losers = alike
    if winner.meta.key != item.meta.key:
        message = f"{winner.meta.key} holds for the same workloads, which goes first by age"
        yield finding(codes.SHADOWED_SIDECAR, item.meta, "spec.workloadSelector", message)
    elif losers:
        others = listed(one.meta.key for one in losers)
        message = f"this one holds; {others} for the same workloads has no effect"
        yield finding(codes.SHADOWED_SIDECAR, item.meta, "spec.workloadSelector", message)


def _is_known(db: Database, entry: Import) -> bool:
    """Tell whether an import means anything; a wildcard may be for what is to come."""
    if is_wildcard(entry.host) or entry.excluded:
        return True
    owners = {service.namespace for service in written(db, entry.host)}
    owners |= {key.namespace for key in ROUTES_AT_HOST(db, entry.host)}
    return bool(owners) if entry.namespace == ANY_NAMESPACE else entry.namespace in owners

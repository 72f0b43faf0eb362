"""What is live where: findings from reading and linting, joined with what the proxies have acknowledged.

The document is made when somebody asks. It lists what people write to steer the mesh, and every other
object only where there is something to say of it: a mesh has ten times as many pods and slices, and a
status that lists them all hides the one line that matters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from mizzen.conditions import Liveness, conditions
from mizzen.diagnostics import REJECTED, Diagnostic, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from mizzen.names import ObjectKey
    from mizzen_certs import Issuing
    from mizzen_operator.compiler import Round
    from mizzen_xds.ledger import Ledger, ProxyState, Quarantine

# A document in JSON's own types.
Document = dict[str, Any]
Findings = tuple[Diagnostic, ...]

# What people write to steer the mesh; the other kinds come from a platform.
_STEERING: Final = frozenset(
    (
        "AuthorizationPolicy",
        "DestinationRule",
        "EnvoyFilter",
        "Gateway",
        "Ingress",
        "PeerAuthentication",
        "ProxyConfig",
        "RequestAuthentication",
        "Service",
        "ServiceEntry",
        "Sidecar",
        "Telemetry",
        "VirtualService",
        "WasmPlugin",
        "WorkloadEntry",
        "WorkloadGroup",
    )
)
# Of how many revisions the moment is remembered; what has not changed since then is simply live.
_REVISIONS_KEPT: Final = 1_000


class MeshStatus:
    """Keeps what there is to say of objects; lives in the event loop.

    ``located`` gives findings of the lint their place in a file.
    """

    def __init__(self, ledger: Ledger, located: Callable[[Diagnostic], Diagnostic]) -> None:
        self._ledger = ledger
        self._located = located
        self._objects: set[ObjectKey] = set()
        self._changed_in: dict[ObjectKey, int] = {}
        self._read: dict[ObjectKey, Findings] = {}
        self._linted: dict[ObjectKey, Findings] = {}
        self._offered: OrderedDict[int, float] = OrderedDict()

    @property
    def objects(self) -> int:
        """How many objects are in force."""
        return len(self._objects)

    def take_round(self, made: Round, at: datetime) -> Findings:
        """Take note of what a round has brought into force; return the findings that are new."""
        batch = made.batch
        if batch is None:
            return ()
        self._offered[made.revision] = at.timestamp()
        if len(self._offered) > _REVISIONS_KEPT:
            self._offered.popitem(last=False)
        for key, item in batch.changes.items():
            self._changed_in[key] = made.revision
            if item is None:
                self._objects.discard(key)
                del self._changed_in[key]
            else:
                self._objects.add(key)
        known = {one for key in batch.diagnostics for one in self._read.get(key, ())}
        _replace(self._read, batch.diagnostics)
        new = (one for found in batch.diagnostics.values() for one in found if one not in known)
        return tuple(dict.fromkeys(new))

    def take_lint(self, findings: Mapping[ObjectKey, Findings]) -> Findings:
        """Take in the findings of the whole mesh; return those that are new, with their places."""
        before = {one for found in self._linted.values() for one in found}
        self._linted = {key: found for key, found in findings.items() if found}
        new = (one for found in self._linted.values() for one in found if one not in before)
        return tuple(map(self._located, new))

    def count(self, severity: Severity) -> int:
        """Return how many findings of a severity there are; one of a file counts once."""
        every = (*self._read.values(), *self._linted.values())
        each = {one for found in every for one in found}
        return sum(one.code.severity is severity for one in each)

    def summary(self, authority: Issuing) -> Document:
        """Return how the mesh is, in a few numbers."""
        proxies = self._ledger.proxies()
        return {
            "objects": len(self._objects),
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
            "proxies": {
                "connected": len(proxies),
                "upToDate": sum(proxy.is_up_to_date for proxy in proxies),
                "rejecting": sum(proxy.refusing > 0 for proxy in proxies),
            },
            "convergenceSeconds": self._convergence(),
            "certificates": {
                "rootsExpire": authority.bundle().expires_at.isoformat(),
                "nextRotation": authority.next_tick().isoformat(),
            },
        }

    def document(self, authority: Issuing, *, brief: bool = False) -> Document:
        """Return everything; a brief one passes over Services that there is nothing to say of."""
        quarantines = self._ledger.quarantines()
        kinds = _STEERING - {"Service"} if brief else _STEERING
        return {
            "mesh": self.summary(authority),
            "objects": self._objects_of(kinds, quarantines),
            "proxies": [_proxy(proxy, quarantines) for proxy in self._ledger.proxies()],
            "diagnostics": [finding_document(one) for one in self._of_files()],
        }

    def _of_files(self) -> Iterable[Diagnostic]:
        """Return what is wrong with files as such; each of a broken file's objects has it too."""
        every = (one for found in self._read.values() for one in found)
        return dict.fromkeys(one for one in every if one.object is None)

    def _objects_of(
        self, kinds: frozenset[str], quarantines: tuple[Quarantine, ...]
    ) -> list[Document]:
        """Return the objects of some kinds, and those that there is something to say of, in order."""
        rejected: dict[ObjectKey, dict[str, None]] = {}
        for held in quarantines:
            for origin in held.origins:
                rejected.setdefault(origin, {})[held.text] = None
        keys = {key for key in self._objects if key.kind in kinds}
        keys |= self._linted.keys() | rejected.keys()
        keys |= {key for key, found in self._read.items() if found and found[0].object is not None}
        counted = self._ledger.liveness(keys)
        moments = self._moments()
        return [
            self._object(
                key,
                Liveness(
                    live=counted[key].live,
                    of=counted[key].concerned,
                    rejected=tuple(rejected.get(key, ())),
                ),
                moments,
            )
            for key in sorted(keys)
        ]

    def _object(
        self, key: ObjectKey, liveness: Liveness, moments: Callable[[int], float | None]
    ) -> Document:
        read = (*self._read.get(key, ()), *self._linted.get(key, ()))
        rejections = (_rejection(key, text) for text in liveness.rejected)
        stand = conditions(read, liveness)
        revision = self._changed_in.get(key)
        at = None if revision is None or liveness.live < liveness.of else moments(revision)
        return {
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "inForce": key in self._objects,
            "accepted": stand[0].status,
            "conditions": [
                {
                    "type": condition.type,
                    "status": str(condition.status),
                    "reason": condition.reason,
                    "message": condition.message,
                }
                for condition in stand
            ],
            "programmed": {
                "live": liveness.live,
                "of": liveness.of,
                "rejected": list(liveness.rejected),
                **({} if at is None else {"at": at}),
            },
            "diagnostics": [finding_document(self._located(one)) for one in (*read, *rejections)],
        }

    def _moments(self) -> Callable[[int], float | None]:
        """Return what tells when a revision came to be in force everywhere; ``None`` while it is not.

        In seconds since the epoch. One that changed nothing for any proxy was in force when it was
        offered, but that is known only once every proxy has what it is to have.
        """
        converged = [
            (done.revision, self._offered[done.revision] + done.took.total_seconds())
            for done in self._ledger.convergences
            if done.revision in self._offered
        ]
        is_over = all(proxy.is_up_to_date for proxy in self._ledger.proxies())

        def moment(revision: int) -> float | None:
            place = bisect_left(converged, (revision, 0.0))
            if place < len(converged):
                return converged[place][1]
            return self._offered.get(revision) if is_over else None

        return moment

    def _convergence(self) -> Document:
        """Return how long the latest revisions took to be in force everywhere."""
        took = sorted(done.took.total_seconds() for done in self._ledger.convergences)
        if not took:
            return {"p50": None, "p99": None}
        return {"p50": took[len(took) // 2], "p99": took[min(len(took) - 1, len(took) * 99 // 100)]}


def finding_document(found: Diagnostic) -> Document:
    """Return a finding as JSON has it."""
    where = found.location
    return {
        "code": found.code.id,
        "severity": found.code.severity.value,
        "field": found.path,
        "message": found.message,
        "remedy": found.advice,
        "file": where.file if where else "",
        "line": where.line if where else 0,
    }


def class_label(class_key: object) -> str:
    """Return a short name of a class of proxies, the same in every process."""
    return blake2b(repr(class_key).encode(), digest_size=4).hexdigest()


def _rejection(key: ObjectKey, text: str) -> Diagnostic:
    return Diagnostic(code=REJECTED, object=key, path="", message=f"Envoy says: {text}")


def _proxy(proxy: ProxyState, quarantines: Iterable[Quarantine]) -> Document:
    return {
        "id": proxy.node.id,
        "identity": str(proxy.identity),
        "class": class_label(proxy.class_key),
        "envoy": proxy.node.envoy_version,
        "connected": True,
        "connectedAt": proxy.connected_at.isoformat(),
        "target": proxy.target,
        "acknowledged": proxy.acknowledged,
        "upToDate": proxy.is_up_to_date,
        "nacks": [
            {
                "type": held.type.value.rpartition(".")[2],
                "name": held.name,
                "message": held.text,
                "origins": [str(origin) for origin in held.origins],
            }
            for held in quarantines
            if held.class_key == proxy.class_key
        ],
    }


def _replace(mine: dict[ObjectKey, Findings], changes: Mapping[ObjectKey, Findings]) -> None:
    for key, found in changes.items():
        if found:
            mine[key] = found
        else:
            mine.pop(key, None)

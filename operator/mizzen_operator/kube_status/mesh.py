"""The one row of the mesh: what MeshStatus says, from what all replicas say and what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from mizzen.diagnostics import (
    CERTIFICATE_ENDS,
    NO_SIDECAR,
    REJECTED,
    SILENT_REPLICA,
    Diagnostic,
    Severity,
)
from mizzen_operator.kube_status import tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from mizzen.names import ObjectKey
    from mizzen_operator.kube_status.words import Report

Json = dict[str, Any]

# What ends sooner is somebody's business: our authority replaces its roots long before, and cert-manager
# what it makes when a third of its life is left.
_NOTICE: Final = timedelta(days=30)
_ALARM: Final = timedelta(days=7)
_NOTICE_SHARE: Final = 4
_ALARM_SHARE: Final = 10
# A proxy that is behind for longer is not merely on its way.
_BEHIND_S: Final = 30.0
_PROBLEMS_SHOWN: Final = 50
_PODS_SHOWN: Final = 50
# What changes with every change of anything is no reason to write at once.
VOLATILE: Final = ("convergenceP99", "slowestProxy", "snapshotSize", "replicas", "objects")
_RANKS: Final = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """When the first certificate that matters ends, and when the authority acts next by itself.

    ``lifetime`` is how long such a certificate is good for when it is made.
    """

    expire: datetime
    next_rotation: datetime
    lifetime: timedelta = timedelta(days=3650)

    def is_ending(self, now: datetime) -> bool:
        """Tell whether it should have been replaced by now."""
        return self.expire - now < min(_NOTICE, self.lifetime / _NOTICE_SHARE)

    def is_urgent(self, now: datetime) -> bool:
        """Tell whether it ends so soon that the mesh is not well."""
        return self.expire - now < min(_ALARM, self.lifetime / _ALARM_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """What the row is made from.

    Attributes:
        reports: Of the replicas that answer, the writer's own first.
        silent: The addresses of those that do not.
        objects: How many objects people wrote.
        wrong: What is wrong with objects of any kind.
        uninjected: Pods without the sidecar that they should have, ``namespace/name``.
    """

    reports: tuple[Report, ...]
    certificates: Certificates
    now: datetime
    silent: tuple[str, ...] = ()
    objects: int = 0
    wrong: Mapping[ObjectKey, tuple[Diagnostic, ...]] = field(default_factory=dict)
    uninjected: tuple[str, ...] = ()


def document(mesh: Mesh) -> Json:
    """Return the status, with every field, so that nothing of an earlier one stays."""
    reports = mesh.reports
    problems = sorted(_problems(mesh), key=lambda one: _RANKS[one.code.severity])
    counts = Counter(one.code.severity for one in problems)
    hindrance = _hindrance(mesh)
    return {
        "ready": str(not hindrance),
        "proxies": sum(one.proxies for one in reports),
        "upToDate": sum(one.up_to_date for one in reports),
        "rejecting": sum(one.rejecting for one in reports),
        "certificateExpiry": _date(mesh.certificates.expire),
        "convergenceP99": _duration(max((one.convergence_p99_s for one in reports), default=-1.0)),
        "issues": counts[Severity.ERROR] + counts[Severity.WARNING],
        "slowestProxy": _slowest(reports),
        "versions": _versions(reports),
        "snapshotSize": _size(max((one.snapshot_bytes for one in reports), default=0)),
        "objects": mesh.objects,
        "errors": counts[Severity.ERROR],
        "warnings": counts[Severity.WARNING],
        "certificates": {
            "rootsExpire": _date(mesh.certificates.expire),
            "nextRotation": _date(mesh.certificates.next_rotation),
        },
        "replicas": [_replica(one, is_leader=place == 0) for place, one in enumerate(reports)],
        "problems": [_problem(one) for one in problems[:_PROBLEMS_SHOWN]],
        "uninjected": list(mesh.uninjected[:_PODS_SHOWN]),
        "conditions": [_ready(hindrance)],
    }


def _problems(mesh: Mesh) -> Iterator[Diagnostic]:
    for key, texts in tally.rejected(mesh.reports).items():
        message = f"Envoy says: {'; '.join(texts)}"
        yield Diagnostic(code=REJECTED, object=key, path="", message=message)
    for found in mesh.wrong.values():
        yield from found
    for address in mesh.silent:
        message = f"the replica at {address} does not say how it is with its proxies"
        yield Diagnostic(code=SILENT_REPLICA, object=None, path="", message=message)
    for name in mesh.uninjected:
        message = f"Pod {name} has no sidecar"
        yield Diagnostic(code=NO_SIDECAR, object=None, path="", message=message)
    left = mesh.certificates.expire - mesh.now
    if mesh.certificates.is_ending(mesh.now):
        message = f"the first certificate that matters ends in {days(left)}"
        yield Diagnostic(code=CERTIFICATE_ENDS, object=None, path="", message=message)


def _hindrance(mesh: Mesh) -> tuple[str, str] | None:
    """Return why all is not well, as a word and a sentence, None where it is."""
    rejecting = sum(one.rejecting for one in mesh.reports)
    behind = next((one for one in mesh.reports if _is_behind(one)), None)
    left = mesh.certificates.expire - mesh.now
    if mesh.certificates.is_urgent(mesh.now):
        return "CertificateEnds", f"a certificate ends in {days(left)}. {CERTIFICATE_ENDS.remedy}"
    if rejecting:
        return "Rejecting", f"{rejecting} proxies refuse configuration: see problems"
    if mesh.silent:
        return "ReplicaSilent", f"{len(mesh.silent)} replicas do not answer: see problems"
    if behind is not None:
        return "ProxyBehind", f"{behind.slowest} has been behind for {behind.slowest_s:.0f} s"
    return None


def _is_behind(report: Report) -> bool:
    return report.up_to_date < report.proxies and report.slowest_s > _BEHIND_S


def _ready(hindrance: tuple[str, str] | None) -> Json:
    reason, message = hindrance or ("AllIsWell", "every proxy is served and certificates are good")
    return {
        "type": "Ready",
        "status": str(hindrance is None),
        "reason": reason,
        "message": message,
    }


def _replica(report: Report, *, is_leader: bool) -> Json:
    return {
        "name": report.replica,
        "proxies": report.proxies,
        "upToDate": report.up_to_date,
        "isLeader": is_leader,
        "version": report.version,
        "revision": report.revision,
    }


def _problem(found: Diagnostic) -> Json:
    return {
        "severity": found.code.severity.value,
        "code": found.code.id,
        "object": str(found.object or ""),
        "field": found.path,
        "message": found.message,
        "remedy": found.advice,
    }


def _slowest(reports: Iterable[Report]) -> str:
    """Return the proxy that is the furthest behind, or was the last one to catch up."""
    named = [one for one in reports if one.slowest]
    if not named:
        return ""
    worst = max(named, key=lambda one: (one.up_to_date < one.proxies, one.slowest_s))
    return f"{worst.slowest} {_duration(worst.slowest_s)}"


def _versions(reports: Iterable[Report]) -> str:
    found: Counter[str] = Counter()
    for one in reports:
        found.update(dict(one.envoys))
    return ", ".join(f"{version} ({number})" for version, number in sorted(found.items()))


def _duration(seconds: float) -> str:
    """Return a duration to two digits: what differs in the third is the same to a person."""
    if seconds < 0:
        return ""
    if seconds < 1:
        return f"{float(f'{seconds * 1_000:.2g}'):g} ms"
    return f"{float(f'{seconds:.2g}'):g} s"


def _size(size: int) -> str:
    if size < 1_000:
        return f"{size} B"
    if size < 1_000_000:
        return f"{float(f'{size / 1_000:.2g}'):g} kB"
    return f"{float(f'{size / 1_000_000:.2g}'):g} MB"


def _date(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def days(left: timedelta) -> str:
    """Return how long something lasts, in whole days or hours."""
    hours = max(0, int(left.total_seconds() // 3600))
    if hours < 48:
        return "1 hour" if hours == 1 else f"{hours} hours"
    return f"{hours // 24} days"

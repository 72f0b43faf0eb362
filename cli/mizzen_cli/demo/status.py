"""What the control plane says of its objects and proxies, read from ``/status`` of its HTTP port."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mizzen_cli.demo.proxies import AskError

if TYPE_CHECKING:
    from mizzen_cli.demo.mesh import Mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with an object, as the control plane words it."""

    code: str
    message: str
    file: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStatus:
    """One object.

    Attributes:
        live: On how many proxies what it says is acknowledged, of ``of`` that it concerns.
        at: When that became so, seconds since the epoch.
    """

    kind: str
    namespace: str
    name: str
    accepted: bool
    findings: tuple[Finding, ...] = ()
    live: int = 0
    of: int = 0
    at: float = 0.0

    @property
    def fully_live(self) -> bool:
        """Whether all proxies that it concerns have it."""
        return self.live == self.of > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatus:
    """One proxy; ``rejected`` has Envoy's own words for what it did not take.

    Attributes:
        up_to_date: Whether it has acknowledged all that it is to have.
    """

    id: str
    connected: bool
    up_to_date: bool = False
    rejected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment."""

    objects: tuple[ObjectStatus, ...]
    proxies: tuple[ProxyStatus, ...]
    findings: tuple[Finding, ...] = ()

    def object(self, kind: str, name: str) -> ObjectStatus | None:
        """Return an object by kind and ``namespace/name``."""
        for found in self.objects:
            if (found.kind, f"{found.namespace}/{found.name}") == (kind, name):
                return found
        return None

    @property
    def connected(self) -> int:
        """How many proxies are connected."""
        return sum(proxy.connected for proxy in self.proxies)

    @property
    def settled(self) -> bool:
        """Whether all proxies have what they are to have."""
        return all(proxy.up_to_date for proxy in self.proxies)


def read_status(mesh: Mesh) -> Status:
    """Ask the control plane; :class:`AskError` when it does not answer."""
    code, body = mesh.ask_control_plane("/status")
    if code != 200:
        raise AskError(f"/status: {code} {body.strip()}")
    return parse_status(body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a control plane has sent to its proxies since it started."""

    responses: int
    bytes: int


def read_sent(mesh: Mesh) -> Sent:
    """Ask the control plane's metrics; :class:`AskError` when it does not answer."""
    code, body = mesh.ask_control_plane("/metrics")
    if code != 200:
        raise AskError(f"/metrics: {code} {body.strip()}")
    return Sent(
        responses=sum_of(body, "mizzen_xds_responses_total"),
        bytes=sum_of(body, "mizzen_xds_response_bytes_total"),
    )


def sum_of(exposition: str, name: str) -> int:
    """Return a metric summed over its labels; :class:`AskError` when there is none of that name."""
    lines = [line for line in exposition.splitlines() if line.partition("{")[0] == name]
    if not lines:
        raise AskError(f"/metrics has no {name}")
    return sum(int(float(line.rpartition(" ")[2])) for line in lines)


def parse_status(body: str) -> Status:
    """Read what ``/status`` answers."""
    said: dict[str, Any] = json.loads(body)
    return Status(
        objects=tuple(_object(entry) for entry in said["objects"]),
        proxies=tuple(_proxy(entry) for entry in said["proxies"]),
        findings=tuple(_finding(entry) for entry in said.get("diagnostics", ())),
    )


def _object(entry: dict[str, Any]) -> ObjectStatus:
    programmed = entry.get("programmed") or {}
    return ObjectStatus(
        kind=entry["kind"],
        namespace=entry.get("namespace") or "",
        name=entry["name"],
        accepted=entry["accepted"],
        findings=tuple(_finding(found) for found in entry.get("diagnostics", ())),
        live=programmed.get("live", 0),
        of=programmed.get("of", 0),
        at=programmed.get("at", 0.0),
    )


def _proxy(entry: dict[str, Any]) -> ProxyStatus:
    return ProxyStatus(
        id=entry["id"],
        connected=entry["connected"],
        up_to_date=entry.get("upToDate", False),
        rejected=tuple(nack["message"] for nack in entry.get("nacks", ())),
    )


def _finding(entry: dict[str, Any]) -> Finding:
    return Finding(
        code=entry["code"],
        message=entry["message"],
        file=entry.get("file") or "",
        line=entry.get("line") or 0,
    )

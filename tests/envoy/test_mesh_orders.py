"""Make before break: five changes at once, saved in a hundred random orders under load, and nobody notices.

A canary set of three objects comes and goes, a service's subsets get other names, a host moves from one
VirtualService to another, and a gateway gets another certificate: in one Secret whose content changes, and by
another Secret with another name. Each is several files, and at any moment only some of them are saved.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import Issued, TestAuthority, tls_secret
from tests.support.live_mesh import LiveMesh, eventually, pod, pod_ip, router, service
from tests.support.small_mesh import istio
from tests.support.tls_visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ORDERS: Final = 100
_URLS: Final = ("http://web/", "http://api/", "http://moved/")
_HOST: Final = "web.example.org"
_OTHER: Final = "other.example.org"
_HOSTS: Final = (_HOST, _OTHER)
_AUTHORITY: Final = TestAuthority()
_CERTIFICATES: Final = (_AUTHORITY.issue(*_HOSTS), _AUTHORITY.issue(*_HOSTS))
# Between the gateway's visitors, each of whom shakes hands.
_VISIT_S: Final = 0.02


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client, a gateway, and three services, one of them of two versions."""
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11)),
        "api.yaml": pod("api-v1", 12, app="api")
        + pod("api-v2", 13, app="api", version="v2")
        + service("api", 12, ("api-v1", 12), ("api-v2", 13)),
        "moved.yaml": service("moved", 14, ("web", 11)),
        "ann.yaml": pod("ann", 2),
        "gate.yaml": router("gate", 80) + service("gate", 80, ("gate", 80), ports="https:443:8443"),
        **_now(0),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _now(turn: int) -> dict[str, str]:
    """Return what is to be in force after so many turns, by file."""
    there = turn % 2 == 1
    return {
        **(_canary(turn) if there else {}),
        **_subsets("late" if there else "early"),
        **_owners(there=there),
        **_door(turn),
    }


def _canary(turn: int) -> dict[str, str]:
    """Half of web's requests go to a subset of a service that was not there before."""
    name = f"next-{turn}"
    rule = f"host: {name}\nsubsets: [{{name: v1, labels: {{version: v1}}}}]"
    targets = (
        "{destination: {host: web, port: {number: 80}}, weight: 50}, "
        f"{{destination: {{host: {name}, subset: v1, port: {{number: 80}}}}, weight: 50}}"
    )
    return {
        f"{name}-service.yaml": service(name, 30 + turn, ("api-v1", 12)),
        f"{name}-rule.yaml": istio("DestinationRule", name, rule, namespace="test"),
        "canary.yaml": istio(
            "VirtualService",
            "web",
            f"hosts: [web]\nhttp: [{{route: [{targets}]}}]",
            namespace="test",
        ),
    }


def _subsets(name: str) -> dict[str, str]:
    """The versions of api are called by other names, and its route uses them."""
    rule = (
        f"host: api\nsubsets: [{{name: {name}-one, labels: {{version: v1}}}}, "
        f"{{name: {name}-two, labels: {{version: v2}}}}]"
    )
    targets = ", ".join(
        f"{{destination: {{host: api, subset: {name}-{one}, port: {{number: 80}}}}, weight: 50}}"
        for one in ("one", "two")
    )
    route = f"hosts: [api]\nhttp: [{{route: [{targets}]}}]"
    return {
        "subsets.yaml": istio("DestinationRule", "api", rule, namespace="test"),
        "versions.yaml": istio("VirtualService", "api", route, namespace="test"),
    }


def _owners(*, there: bool) -> dict[str, str]:
    """A host is one VirtualService's or another's, or for a moment both's or nobody's."""
    hosts = (["one.test", "moved"], ["two.test"])
    if there:
        hosts = (["one.test"], ["two.test", "moved"])
    return {
        f"{name}.yaml": istio(
            "VirtualService",
            name,
            f"hosts: [{', '.join(of)}]\nhttp: [{{headers: {{response: {{set: {{x-by: {name}}}}}}},"
            " route: [{destination: {host: api, port: {number: 80}}}]}]",
            namespace="test",
        )
        for name, of in zip(("one", "two"), hosts, strict=True)
    }


def _door(turn: int) -> dict[str, str]:
    """One host's certificate is another one in the same Secret, another host's in another Secret."""
    name = f"certificate-{turn}"
    servers = ", ".join(
        f"{{port: {{number: 443, name: {secret}, protocol: HTTPS}}, hosts: ['{host}'], "
        f"tls: {{mode: SIMPLE, credentialName: {secret}}}}}"
        for host, secret in ((_HOST, "certificate"), (_OTHER, name))
    )
    rule = "{route: [{destination: {host: web, port: {number: 80}}}]}"
    route = f"hosts: ['{_HOST}', '{_OTHER}']\ngateways: [gate]\nhttp: [{rule}]"
    return {
        "certificate.yaml": tls_secret("certificate", "test", _certificate(turn)),
        f"{name}.yaml": tls_secret(name, "test", _certificate(turn)),
        "door.yaml": istio(
            "Gateway", "gate", f"selector: {{istio: gate}}\nservers: [{servers}]", namespace="test"
        ),
        "behind.yaml": istio("VirtualService", "door", route, namespace="test"),
    }


def _certificate(turn: int) -> Issued:
    return _CERTIFICATES[turn % 2]


@dataclass(slots=True)
class _Visits:
    """What visitors of the gateway have met so far."""

    number: int = 0
    failures: Counter[str] = field(default_factory=Counter)


@contextmanager
def _visiting(visitor: Visitor) -> Iterator[_Visits]:
    """Keep coming to the gateway, each time on a new connection, for as long as the block lasts."""
    visits, over = _Visits(), threading.Event()

    def work() -> None:
        while not over.wait(_VISIT_S):
            reply = visitor.call(_HOSTS[visits.number % 2])
            visits.number += 1
            if reply.status != 200:
                visits.failures[reply.failure or f"{reply.status} {reply.body!r}"] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        eventually(lambda: visits.number > 3, "visitors come")
        yield visits
    finally:
        over.set()
        thread.join()


def _save(mesh: LiveMesh, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Go from some files to others, one by one in a random order; returns the order.

    After some of them it is waited until it has been offered to the proxies; others come together.
    """
    edits = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    random.shuffle(edits)
    order = []
    for name in edits:
        if name in after:
            mesh.write(name, after[name])
        else:
            mesh.remove(name)
        order.append(name if name in after else f"without {name}")
        if random.random() < 0.25:
            mesh.notice()
            order[-1] += ", noticed"
    mesh.settle()
    return order


def _is_in_force(mesh: LiveMesh, visitor: Visitor, turn: int) -> bool:
    owner = mesh.call("ann", "http://moved/").headers.get("x-by")
    shown = {_shown(visitor, host) for host in _HOSTS}
    return owner == ("two" if turn % 2 else "one") and shown == {_certificate(turn).hash}


def _shown(visitor: Visitor, host: str) -> str:
    with visitor.connected(host) as made:
        return hashlib.sha256(made.getpeercert(binary_form=True) or b"").hexdigest()


def test_a_hundred_orders_and_no_failed_request(mesh: LiveMesh) -> None:
    """Fifty times there and fifty times back; after each, what was written is in force."""
    visitor = Visitor(mesh=mesh, address=pod_ip(80), port=8443, roots=_AUTHORITY.pem)
    bad: dict[str, list[str]] = {}
    with mesh.load("ann", *_URLS) as load, _visiting(visitor) as visits:
        for turn in range(1, _ORDERS + 1):
            known = load.failures + visits.failures
            order = _save(mesh, _now(turn - 1), _now(turn))
            eventually(lambda t=turn: _is_in_force(mesh, visitor, t), "it is in force")  # type: ignore[misc]
            if failed := (load.failures + visits.failures) - known:
                bad[f"order {turn}: {dict(failed)}"] = order
    assert not bad, "\n".join(f"{what}: {' · '.join(order)}" for what, order in bad.items())
    assert not load.failures + visits.failures
    assert load.pods.keys() == {"web", "api-v1", "api-v2"}
    assert load.requests > 10 * _ORDERS
    assert visits.number > _ORDERS
    refused = [nack["message"] for proxy in mesh.status()["proxies"] for nack in proxy["nacks"]]
    assert refused == []

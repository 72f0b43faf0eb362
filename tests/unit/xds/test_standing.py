"""Counts for a few objects, made from what changed, are those that a count of everything gives."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest

from mizzen.bundle import EMPTY_TABLE, Bundle, Table
from mizzen.wire import TypeUrl
from mizzen_xds.provenance import TableIndex
from mizzen_xds.standing import Standing, Standings
from tests.support.bundles import (
    bundle,
    changed,
    cluster,
    endpoints,
    host,
    listener,
    origin,
    route_configuration,
)
from tests.support.control_plane import CLASS, Plane, plane
from tests.support.proxy_model import ProxyModel

VHDS: Final = TypeUrl.VIRTUAL_HOST
KINDS: Final = ("VirtualService", "Service")


def _shop() -> Bundle:
    return bundle(
        1,
        cluster("one"),
        endpoints("one", 1),
        listener("web", 80, "80"),
        route_configuration("80"),
        host("80/a", "one", domains=["a"]),
    )


def _proxy(made: Plane, name: str, *, at: str = CLASS, bad: str = "") -> ProxyModel:
    def fault(_of: TypeUrl, _name: str, body: bytes) -> str | None:
        return "I don't like it" if bad and bad.encode() in body else None

    model = ProxyModel(made.publisher, node=f"sidecar~10.0.0.1~{name}.shop~x", fault=fault)
    made.classes[model.node] = at
    model.connect()
    model.drain()
    return model


def _agrees(made: Plane, standings: Standings) -> None:
    keys = [origin(name) for name in "abcdefgh"] + [origin("one", "Service")]
    counted = made.publisher.ledger.liveness(keys)
    found = standings.of(keys)
    told = {key: (one.live, one.concerned) for key, one in found.items()}
    assert told == {key: (one.live, one.concerned) for key, one in counted.items()}


@pytest.mark.parametrize("seed", range(8))
def test_any_edits_leave_the_counts_that_a_count_of_everything_gives(seed: int) -> None:
    """Whatever is added, changed, refused and removed, and whoever comes, answers late, and goes."""
    random = Random(seed)
    made = plane()
    standings = Standings(made.publisher.ledger, KINDS)
    bundles = {CLASS: _shop(), "other": _shop()}
    for at, first in bundles.items():
        made.publisher.offer(at, first)
    proxies = [_proxy(made, f"p{i}", at=random.choice([CLASS, "other"]), bad="BAD") for i in "123"]
    for step in range(60):
        name, at = random.choice("abcdefgh"), random.choice([CLASS, "other"])
        match random.randrange(5):
            case 0:
                bundles[at] = changed(bundles[at], without=[(VHDS, f"80/{name}")])
            case 1:
                bundles[at] = changed(bundles[at], host(f"80/{name}", domains=["BAD" + name]))
            case 2 if len(proxies) < 6:
                proxies.append(_proxy(made, f"q{step}", at=at, bad=random.choice(["", "BAD"])))
            case 3:
                random.choice(proxies).drain()
            case _:
                bundles[at] = changed(bundles[at], host(f"80/{name}", domains=[f"{name}{step}"]))
        made.publisher.offer(at, bundles[at])
        _agrees(made, standings)
    for one in proxies:
        one.drain()
    _agrees(made, standings)


def test_what_was_said_against_an_object_stands_with_it() -> None:
    """An object that proxies of two classes refuse in the same words is complained of once."""
    made = plane()
    standings = Standings(made.publisher.ledger, KINDS)
    for at in (CLASS, "other"):
        made.publisher.offer(at, changed(_shop(), host("80/b", domains=["BAD"])))
        _proxy(made, f"of-{at}", at=at, bad="BAD")
    found = standings.of([origin("a"), origin("b"), origin("c")])
    assert found[origin("a")] == Standing(live=2, concerned=2)
    assert (found[origin("b")].live, found[origin("b")].concerned) == (0, 2)
    (complaint,) = found[origin("b")].rejected
    assert "I don't like it" in complaint
    assert found[origin("c")] == Standing()


def test_a_question_after_a_change_looks_at_what_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many resources there are, only those that the change touched are looked at."""
    many = [host(f"80/x{number}", domains=[f"x{number}"]) for number in range(500)]
    index = TableIndex(VHDS, frozenset(KINDS))
    before = Table({one.resource.name: one for one in many})
    index.follow(before)
    looked: list[str] = []
    real = Table.get

    def counting(self: Table, key: str) -> object:
        looked.append(key)
        return real(self, key)

    monkeypatch.setattr(Table, "get", counting)
    index.follow(before.updated({"80/x7": host("80/x7", domains=["new"])}))
    assert set(looked) == {"80/x7"}


def test_an_index_forgets_what_is_gone() -> None:
    """Its names and its size are those of the table that it follows."""
    one = host("80/a", domains=["a"])
    index = TableIndex(VHDS, frozenset(KINDS))
    index.follow(Table({"80/a": one}))
    assert (set(index.names(origin("a"))), index.size_bytes) == ({"80/a"}, len(one.resource.body))
    index.follow(EMPTY_TABLE)
    assert (set(index.names(origin("a"))), index.size_bytes) == (set(), 0)

"""Proxies that are on their way back are waited for, and not for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from mizzen.model.kube import Pod, Service
from mizzen.model.meta import Meta, labels
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.inject.decide import STATUS
from mizzen_operator.kube_status import tally
from mizzen_operator.kube_status.returning import PATIENCE_S, Injected, Returning
from mizzen_operator.kube_status.words import Report

if TYPE_CHECKING:
    from mizzen.model.world import Object
    from mizzen_xds.ledger import Member


@dataclass(frozen=True)
class _Node:
    name: str
    namespace: str


@dataclass(frozen=True)
class _Connected:
    node: _Node


def _members(*names: str) -> list[Member]:
    return [cast("Member", _Connected(_Node(name, "shop"))) for name in names]


def _key(name: str, kind: str = "Pod") -> ObjectKey:
    return ObjectKey(DEFAULT_REGISTRY, kind, "shop", name)


def _pod(name: str, *, ips: tuple[str, ...] = ("10.0.0.1",), injected: bool = True) -> Pod:
    annotations = labels({STATUS: "{}"} if injected else {})
    meta = Meta(kind="Pod", namespace="shop", name=name, annotations=annotations)
    return Pod(meta=meta, ips=ips)


def _batch(**changes: Object | None) -> Batch:
    return Batch(changes={_key(name): item for name, item in changes.items()})


def test_a_pod_with_a_proxy_and_an_address_is_to_be_connected() -> None:
    """One that has none of the mesh, has not started or has ended is not."""
    injected = Injected()
    outside, early = _pod("outside", injected=False), _pod("early", ips=())
    injected.take_batch(_batch(web=_pod("web"), outside=outside, early=early))
    service = Service(meta=Meta(kind="Service", namespace="shop", name="web"))
    injected.take_batch(Batch(changes={_key("web", "Service"): service}))
    assert len(injected) == 1
    injected.take_batch(_batch(early=_pod("early")))
    assert len(injected) == 2
    assert injected.connected(_members("web", "gone", "outside")) == 1
    injected.take_batch(_batch(web=None, early=_pod("early", ips=())))
    assert len(injected) == 0


def test_what_is_missing_is_what_no_replica_has() -> None:
    """Connections are summed; one in passing from a replica to another does not make it negative."""
    reports = (Report(replica="a", pods=2), Report(replica="b", pods=1))
    assert tally.missing(5, reports) == 2
    assert tally.missing(2, reports) == 0


_START_S: Final = 100.0


def test_what_is_missing_is_awaited_for_a_while() -> None:
    """Then others do not wait for it any more."""
    returning = Returning()
    assert returning.expected(3, _START_S) == 3
    assert returning.expected(2, _START_S + PATIENCE_S - 1) == 2
    assert returning.expected(2, _START_S + PATIENCE_S) == 0
    assert returning.expected(2, _START_S + PATIENCE_S + 1) == 0


def test_what_is_missing_anew_is_awaited_anew() -> None:
    """A pod that never comes takes nothing from the others."""
    returning = Returning()
    returning.expected(1, _START_S)
    later_s = _START_S + PATIENCE_S
    assert returning.expected(1, later_s) == 0
    assert returning.expected(4, later_s) == 3
    assert returning.expected(0, later_s + 1) == 0
    assert returning.expected(1, later_s + 2) == 1

"""What a client asks for follows from its requests as the protocol says."""

from __future__ import annotations

import pytest

from mizzen.render.discovery import Request
from mizzen.wire import TypeUrl
from mizzen_xds.subscription import (
    Step,
    Subscription,
    first,
    hosts_of,
    next_delta,
    next_state_of_the_world,
)

_EVERYTHING = Subscription(wildcard=True, legacy=True)


def _asks(*names: str, without: tuple[str, ...] = ()) -> Request:
    return Request(type=TypeUrl.CLUSTER, subscribe=names, unsubscribe=without)


@pytest.mark.parametrize("type_url", [TypeUrl.CLUSTER, TypeUrl.LISTENER, TypeUrl.VIRTUAL_HOST])
def test_a_first_request_without_names_asks_for_everything(type_url: TypeUrl) -> None:
    """For clusters, listeners and virtual hosts."""
    assert first(_asks(), type_url) == Step(_EVERYTHING)


@pytest.mark.parametrize("type_url", [TypeUrl.ENDPOINT, TypeUrl.ROUTE, TypeUrl.SECRET])
def test_a_first_request_without_names_asks_for_nothing(type_url: TypeUrl) -> None:
    """For the types that are always asked for by name."""
    assert first(_asks(), type_url) == Step(Subscription())


def test_a_star_asks_for_everything_of_any_type() -> None:
    """Beside names, which are answered even if they are not there."""
    step = first(_asks("*", "a"), TypeUrl.SECRET)
    assert step == Step(Subscription(wildcard=True, names=frozenset("a")), frozenset("a"))


def test_names_are_asked_for_one_by_one() -> None:
    """What a first request names is what it wants answered."""
    step = first(_asks("a", "b"), TypeUrl.ENDPOINT)
    assert step == Step(Subscription(names=frozenset("ab")), frozenset("ab"))


@pytest.mark.parametrize(
    ("before", "request_", "after", "asked"),
    [
        (Subscription(names=frozenset("a")), _asks("b"), Subscription(names=frozenset("ab")), "b"),
        (Subscription(names=frozenset("ab")), _asks("a"), Subscription(names=frozenset("ab")), "a"),
        (
            Subscription(names=frozenset("ab")),
            _asks(without=("a",)),
            Subscription(names=frozenset("b")),
            "",
        ),
        (_EVERYTHING, _asks("a"), Subscription(True, frozenset("a"), legacy=True), "a"),
        (_EVERYTHING, _asks(without=("*",)), Subscription(), ""),
        (_EVERYTHING, _asks(without=("a",)), _EVERYTHING, "a"),
        (Subscription(), _asks("*"), Subscription(wildcard=True), ""),
    ],
    ids=[
        "a name more",
        "a name again is to be sent again",
        "a name less",
        "a name beside everything",
        "everything no more",
        "a name less beside everything is owed again",
        "everything from now on",
    ],
)
def test_delta_requests_add_and_take_away(
    before: Subscription, request_: Request, after: Subscription, asked: str
) -> None:
    """Each request is a difference to what was asked for."""
    assert next_delta(before, request_) == Step(after, frozenset(asked))


def test_state_of_the_world_requests_carry_all_names() -> None:
    """What is new in them is to be sent, what is missing is forgotten."""
    step = next_state_of_the_world(Subscription(names=frozenset("ab")), _asks("b", "c"))
    assert step == Step(Subscription(names=frozenset("bc")), frozenset("c"))


def test_a_first_wildcard_lasts_until_names_come() -> None:
    """In state of the world an acknowledgement without names leaves it."""
    assert next_state_of_the_world(_EVERYTHING, _asks()) == Step(_EVERYTHING)
    named = Step(Subscription(names=frozenset("a")))
    assert next_state_of_the_world(_EVERYTHING, _asks("a")) == named


def test_names_that_were_asked_for_can_all_be_dropped() -> None:
    """An empty list after a list with names asks for nothing."""
    assert next_state_of_the_world(Subscription(names=frozenset("a")), _asks()) == Step(
        Subscription()
    )


def test_hosts_are_those_of_the_route_configurations_asked_for() -> None:
    """Envoy's one request without names means the hosts of its routes."""
    wanted = hosts_of(_EVERYTHING, Subscription(names=frozenset(("80", "a.b:81"))))
    assert wanted.matches("80/shop")
    assert wanted.matches("a.b:81/shop")
    assert not wanted.matches("81/shop")


def test_hosts_asked_for_by_name_are_just_those() -> None:
    """On-demand discovery names them; and who has all routes has all hosts."""
    named = Subscription(names=frozenset(("80/shop",)))
    assert hosts_of(named, Subscription(names=frozenset(("81",)))) is named
    assert hosts_of(_EVERYTHING, Subscription(wildcard=True)).matches("any/host")

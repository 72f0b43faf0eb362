"""Real connections through real iptables rules and a real Envoy, whichever way the world was entered."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mizzen.capture import PROXY_MARK
from mizzen.model.meta import NO_LABELS
from mizzen_cli.demo.host import Host, Way
from mizzen_cli.demo.manifests import PodSpec
from mizzen_cli.demo.proxies import (
    AskError,
    admin,
    ask,
    capture_config,
    load_capture,
    place_envoy,
    start_proxy,
    stats,
)
from mizzen_cli.demo.realm import Command, Realm
from tests.support.netns import pass_through_bootstrap, ways_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_APP: Final = Path(__file__).parents[2] / "samples" / "shop" / "app" / "shop.py"
_HUB: Final = "10.44.0.1"


def _pod(name: str, ip: str) -> PodSpec:
    return PodSpec(name=name, namespace="test", ip=ip, labels=NO_LABELS, service_account="default")


_CLIENT: Final = _pod("client", "10.44.0.2")
_SERVER: Final = _pod("server", "10.44.0.3")


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)


def _answers(realm: Realm, pod: PodSpec) -> bool:
    try:
        return bool(admin(realm, pod, "/ready"))
    except AskError:
        return False


@pytest.fixture(scope="module", params=ways_in(), ids=lambda host: host.way.name.lower())
def realm(request: pytest.FixtureRequest) -> Iterator[Realm]:
    """A realm with two captured pods, each an application and an Envoy that hands everything on."""
    host: Host = request.param
    with Realm(host=host) as world:
        envoy = place_envoy(world)
        mark = PROXY_MARK if host.way is Way.ONE_UID else 0
        bootstrap = pass_through_bootstrap(world.workdir / "bootstrap.yaml", mark=mark)
        world.bridge(f"{_HUB}/16")
        for pod in (_CLIENT, _SERVER):
            world.network(pod.network, f"{pod.ip}/16", _HUB)
            load_capture(world, pod.network, capture_config(world, _HUB))
            start_proxy(world, envoy, pod, bootstrap)
            words = (sys.executable, "-B", str(_APP), f"--name={pod.name}", "--port=80")
            log = world.workdir / "logs" / f"{pod.name}.log"
            world.spawn(Command(argv=words, network=pod.network, log=log))
        for pod in (_CLIENT, _SERVER):
            _until(lambda pod=pod: _answers(world, pod))  # type: ignore[misc]  # called at once
            _until(lambda pod=pod: _self(world, pod) == "127.0.0.1")  # type: ignore[misc]
        yield world


def _self(realm: Realm, pod: PodSpec) -> str:
    """Return from where the application sees its own pod's call to localhost."""
    try:
        return _seen_from(realm, pod, "127.0.0.1")
    except AskError:
        return ""


def _seen_from(realm: Realm, pod: PodSpec, target: str) -> str:
    status, body = ask(realm, pod.network, (target, 80), "/self")
    assert status == 200
    return str(json.loads(body)["from"])


def _connections(realm: Realm, pod: PodSpec, direction: str) -> int:
    """Return how many connections an Envoy has handed on in a direction."""
    name = f"cluster.{direction}.upstream_cx_total"
    return stats(realm, pod, f"^{name}$").get(name, 0)


def test_a_call_goes_through_both_envoys(realm: Realm) -> None:
    """One call is one connection out of the client's Envoy and one in through the server's."""
    before = (_connections(realm, _CLIENT, "outbound"), _connections(realm, _SERVER, "inbound"))
    _seen_from(realm, _CLIENT, _SERVER.ip)
    after = (_connections(realm, _CLIENT, "outbound"), _connections(realm, _SERVER, "inbound"))
    assert (after[0] - before[0], after[1] - before[1]) == (1, 1)


def test_the_application_is_called_from_the_inbound_address(realm: Realm) -> None:
    """Envoy calls its application from 127.0.0.6, by which capture knows that call."""
    assert _seen_from(realm, _CLIENT, _SERVER.ip) == "127.0.0.6"


def test_localhost_is_not_captured(realm: Realm) -> None:
    """What a pod says to itself stays in it."""
    before = _connections(realm, _SERVER, "outbound")
    assert _seen_from(realm, _SERVER, "127.0.0.1") == "127.0.0.1"
    assert _connections(realm, _SERVER, "outbound") == before


def test_a_plain_caller_is_captured_on_arrival(realm: Realm) -> None:
    """A caller without a sidecar, here the hub, meets the server's Envoy all the same."""
    before = _connections(realm, _SERVER, "inbound")
    status, _body = ask(realm, "", (_SERVER.ip, 80), "/self")
    assert status == 200
    assert _connections(realm, _SERVER, "inbound") == before + 1


def test_an_address_that_nobody_has_is_captured(realm: Realm) -> None:
    """A service's virtual address is on no interface; the connection reaches Envoy and ends there."""
    before = _connections(realm, _CLIENT, "outbound")
    with pytest.raises(AskError):
        ask(realm, _CLIENT.network, ("10.96.0.99", 80), "/self")
    assert _connections(realm, _CLIENT, "outbound") == before + 1


def test_envoy_runs_as_the_user_it_has_in_a_pod(realm: Realm) -> None:
    """Uid and gid 1337, wherever the world has more than one uid."""
    expected = "0 0" if realm.host.way is Way.ONE_UID else "1337 1337"
    listing = realm.run(["ps", "-eo", "uid,gid,args"]).out
    envoys = [line.split() for line in listing.splitlines() if "bootstrap.yaml" in line]
    assert {" ".join(words[:2]) for words in envoys} == {expected}

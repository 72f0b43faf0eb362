"""``mizzen serve`` on a folder: an edit reaches the proxies, a mistake does not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from envoy.config.route.v3.route_components_pb2 import VirtualHost

from mizzen.wire import TypeUrl
from tests.support.ads import AdsClient, Trust, node_id, stream
from tests.support.served import served
from tests.unit.operator.manifests import BROKEN, documents, service

if TYPE_CHECKING:
    from tests.support.served import Served

CART = "outbound|80||cart.shop.svc.cluster.local"
STOCK = "outbound|80||stock.shop.svc.cluster.local"
HOST = "80/cart.shop.svc.cluster.local"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: shop, labels: {app: app}}
spec: {serviceAccountName: app, containers: [{name: app, image: app}]}
status: {podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}]}
"""
STRICT = """\
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {selector: {matchLabels: {other: other}}, mtls: {mode: STRICT}}
"""


def route(timeout_s: int, *, name: str = "cart") -> str:
    """A VirtualService whose meaning shows in its timeout."""
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop}}
spec:
  hosts: [cart]
  http:
  - timeout: {timeout_s}s
    route: [{{destination: {{host: cart, port: {{number: 80}}}}}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pod, a service and a route."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "shop.yaml").write_text(documents(POD, service("cart")))
    (folder / "route.yaml").write_text(route(5))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where the control plane keeps its own."""
    return tmp_path / "state"


def timeout_of(client: AdsClient) -> int:
    """The timeout of the route that a proxy has, in seconds; 0 before it has one."""
    got = client.has[TypeUrl.VIRTUAL_HOST].get(HOST)
    if got is None:
        return 0
    return int(VirtualHost.FromString(got.body).routes[0].route.timeout.seconds)


async def until_timeout(client: AdsClient, seconds: int) -> None:
    """Wait until a proxy has the route with this timeout."""
    await client.until(lambda: timeout_of(client) == seconds)


async def test_an_edit_reaches_the_proxies_and_the_status_says_so(
    folder: Path, state: Path
) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        (folder / "route.yaml").write_text(route(7))
        await until_timeout(app, 7)
        found = await plane.object(
            "VirtualService", "cart", lambda of: bool(of["programmed"].get("at"))
        )
        assert found["accepted"]
        assert (found["programmed"]["live"], found["programmed"]["of"]) == (1, 1)
        assert [c["reason"] for c in found["conditions"]] == ["Accepted", "Programmed", "Live"]


async def test_the_moment_is_told_only_when_every_proxy_is_there(folder: Path, state: Path) -> None:
    other = POD.replace("app", "other").replace("10.0.0.1", "10.0.0.2")
    (folder / "other.yaml").write_text(other)
    ours, theirs = AdsClient(node_id()), AdsClient(node_id("other", ip="10.0.0.2"))
    async with (
        served(folder, state) as plane,
        stream(plane.insecure, ours),
        stream(plane.insecure, theirs),
    ):
        await until_timeout(ours, 5)
        await until_timeout(theirs, 5)
        ours.is_silent = True
        (folder / "route.yaml").write_text(documents(route(7), STRICT))
        live = await plane.object(
            "PeerAuthentication", "strict", lambda of: of["programmed"]["live"] == 1
        )
        assert live["programmed"]["of"] == 1
        assert "at" not in live["programmed"]
        await ours.speak()
        await plane.object("PeerAuthentication", "strict", lambda of: "at" in of["programmed"])


async def test_a_new_file_and_a_removed_one_are_followed(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        (folder / "more").mkdir()
        (folder / "more" / "stock.yaml").write_text(service("stock"))
        await app.until_has(TypeUrl.CLUSTER, STOCK)
        (folder / "route.yaml").unlink()
        await until_timeout(app, 0)


async def test_a_broken_file_leaves_what_was_good_in_force(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        (folder / "route.yaml").write_text(route(7) + BROKEN)
        found = await plane.object("VirtualService", "cart", lambda of: not of["accepted"])
        assert found["diagnostics"][0]["code"] == "MZ0101"
        assert found["diagnostics"][0]["file"].endswith("route.yaml")
        assert found["inForce"]
        status = await plane.status()
        assert [one["code"] for one in status["diagnostics"]] == ["MZ0101"]
        assert status["mesh"]["errors"] == 1
        (told,) = [event for event in plane.events() if event.get("code") == "MZ0101"]
        assert "route.yaml:" in told["where"]
        assert told["at"] < datetime.now(UTC).isoformat()
        (folder / "stock.yaml").write_text(service("stock"))
        await app.until_has(TypeUrl.CLUSTER, STOCK)
        assert timeout_of(app) == 5
        (folder / "route.yaml").write_text(route(9))
        await until_timeout(app, 9)
        await plane.object("VirtualService", "cart", lambda of: bool(of["accepted"]))


async def test_a_renamed_file_changes_nothing(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        before = len(app.received)
        (folder / "route.yaml").rename(folder / "a-route.yaml")
        (folder / "stock.yaml").write_text(service("stock"))
        await app.until_has(TypeUrl.CLUSTER, STOCK)
        assert all(HOST not in (*r.names, *r.removed) for r in app.received[before:])
        assert timeout_of(app) == 5


async def test_of_two_files_with_one_object_the_first_is_in_force(
    folder: Path, state: Path
) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        (folder / "z-route.yaml").write_text(route(9))
        found = await plane.object("VirtualService", "cart", lambda of: bool(of["diagnostics"]))
        assert [one["code"] for one in found["diagnostics"]] == ["MZ0107"]
        assert found["diagnostics"][0]["file"].endswith("z-route.yaml")
        assert timeout_of(app) == 5
        (folder / "route.yaml").unlink()
        await until_timeout(app, 9)


async def test_a_restart_sends_nothing_again(folder: Path, state: Path) -> None:
    app = AdsClient(node_id(), service_account="app")
    async with served(folder, state) as plane:
        await _fill(plane, app)
    before = {of: dict(held) for of, held in app.has.items()}
    app.received.clear()
    async with (
        served(folder, state) as plane,
        stream(plane.secure, app, token=_token(plane), trust=_trust(state)),
    ):
        await app.ask(TypeUrl.SECRET, "default", "ROOTCA")
        (folder / "stock.yaml").write_text(service("stock"))
        await app.until_has(TypeUrl.CLUSTER, STOCK)
    sent = {name for response in app.received for name in response.names}
    assert all(STOCK.rpartition("|")[2] in name for name in sent), sent
    assert app.has[TypeUrl.SECRET] == before[TypeUrl.SECRET]


async def test_a_proxy_with_a_token_gets_its_own_secrets_and_no_others(
    folder: Path, state: Path
) -> None:
    async with served(folder, state) as plane:
        app = AdsClient(node_id(), service_account="app")
        await _fill(plane, app)
        assert set(app.has[TypeUrl.SECRET]) == {"default", "ROOTCA"}
        assert "shop.app.pem" in [path.name for path in (state / "svids").iterdir()]


async def test_replaced_certificates_reach_the_proxies_at_once(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane:
        app = AdsClient(node_id(), service_account="app")
        async with stream(plane.secure, app, token=_token(plane), trust=_trust(state)):
            await app.ask(TypeUrl.SECRET, "default", "ROOTCA")
            await app.until(lambda: len(app.has[TypeUrl.SECRET]) == 2)
            before = dict(app.has[TypeUrl.SECRET])
            assert (await plane.ask("/rotate", "POST"))[0] == 200
            await app.until(
                lambda: app.has[TypeUrl.SECRET]["default"].version != before["default"].version
            )
            assert app.has[TypeUrl.SECRET]["ROOTCA"] == before["ROOTCA"]


async def test_what_envoy_refuses_is_named_on_its_object_and_the_rest_is_delivered(
    folder: Path, state: Path
) -> None:
    def fault(_type: TypeUrl, name: str, body: bytes) -> str | None:
        is_bad = name == HOST and VirtualHost.FromString(body).routes[0].route.timeout.seconds == 7
        return f"{name}: no such thing" if is_bad else None

    async with (
        served(folder, state) as plane,
        stream(plane.insecure, AdsClient(node_id(), refuse=fault)) as app,
    ):
        await until_timeout(app, 5)
        (folder / "route.yaml").write_text(route(7))
        found = await plane.object(
            "VirtualService", "cart", lambda of: bool(of["programmed"]["rejected"])
        )
        assert found["accepted"]
        assert found["diagnostics"][0]["code"] == "MZ0501"
        assert "no such thing" in found["diagnostics"][0]["message"]
        assert found["diagnostics"][0]["file"].endswith("route.yaml")
        (folder / "stock.yaml").write_text(service("stock"))
        await app.until_has(TypeUrl.CLUSTER, STOCK)
        assert timeout_of(app) == 5
        (folder / "route.yaml").write_text(route(8))
        await until_timeout(app, 8)


async def test_status_and_metrics_tell_of_the_mesh(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
        found = await plane.object("Service", "cart", lambda of: of["programmed"]["live"] == 1)
        assert found["programmed"]["of"] == 1
        status = await plane.status()
        assert status["mesh"]["proxies"] == {"connected": 1, "upToDate": 1, "rejecting": 0}
        assert status["mesh"]["convergenceSeconds"]["p99"] is not None
        assert [proxy["id"] for proxy in status["proxies"]] == [node_id()]
        _, page = await plane.ask("/metrics")
        assert "mizzen_operator_objects 3\n" in page
        assert "mizzen_xds_streams 1\n" in page


async def test_it_stops_cleanly_and_leaves_its_status_behind(folder: Path, state: Path) -> None:
    async with served(folder, state) as plane, stream(plane.insecure, AdsClient(node_id())) as app:
        await until_timeout(app, 5)
    assert [event["event"] for event in plane.events()][-2:] == ["stopping", "stopped"]
    document = yaml.safe_load((state / "status.yaml").read_text())
    assert ["cart"] == [one["name"] for one in document["objects"]]


async def _fill(plane: Served, app: AdsClient) -> None:
    """Connect a proxy with its token until it has everything, secrets included."""
    async with stream(plane.secure, app, token=_token(plane), trust=_trust(plane.state)):
        await app.ask(TypeUrl.SECRET, "default", "ROOTCA")
        await app.until(lambda: len(app.has[TypeUrl.SECRET]) == 2)
        await until_timeout(app, 5)


def _token(plane: Served) -> str:
    return plane.token("shop", "app")


def _trust(state: Path) -> Trust:
    return Trust(roots_pem=(state / "root.pem").read_bytes())

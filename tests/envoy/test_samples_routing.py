"""The samples of routing and resilience, each tried in the shop: what its README says is what happens."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack, closing
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.grpc_caller import GrpcCaller
from tests.support.live_mesh import HUB, eventually
from tests.support.sample_mesh import CATALOG, CATALOGS, FRONTEND, GATEWAY, SampleMesh, manifests

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOST: Final = "shop.example.com"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleMesh]:
    """The shop."""
    with SampleMesh(tmp_path_factory.mktemp("mesh")) as made:
        yield made


def _versions(mesh: SampleMesh, count: int, of: str = FRONTEND) -> Counter[str]:
    """Return which versions of the reviews answer a caller."""
    replies = mesh.calls(of, "http://reviews:9080/self", count)
    return Counter(str(reply.seen.get("version", reply.status)) for reply in replies)


def test_requests_are_shared_out(mesh: SampleMesh) -> None:
    """traffic-split: three in four to one version, one in four to the other."""
    with mesh.trying("traffic-split"):
        versions = _versions(mesh, 400)
    assert versions.keys() == {"v1", "v2"}
    assert 60 < versions["v2"] < 140


def test_testers_get_another_version(mesh: SampleMesh) -> None:
    """header-routing: by a header that the frontend hands on."""
    with mesh.trying("header-routing"):
        assert mesh.knock("/reviews", end_user="tester").seen["version"] == "v3"
        assert mesh.knock("/reviews", end_user="ann").seen["version"] == "v1"
        assert _versions(mesh, 20) == {"v1": 20}


def test_a_path_leads_to_another_service(mesh: SampleMesh) -> None:
    """path-routing: and the beginning of the path is gone."""
    with mesh.trying("path-routing"):
        seen = mesh.knock("/catalog/opinions/self").seen
        assert (seen["service"], seen["path"]) == ("reviews", "/self")
        assert mesh.knock("/catalog/self").seen["service"] == "catalog"


def test_a_path_has_moved(mesh: SampleMesh) -> None:
    """redirects: the caller is told, and follows."""
    with mesh.trying("redirects"):
        reply = mesh.ask(FRONTEND, "catalog", "/old")
        assert (reply.status, reply.headers["location"]) == (308, "http://catalog:9080/self")
        assert mesh.knock("/catalog/old").seen["path"] == "/self"


def test_envoy_answers_itself(mesh: SampleMesh) -> None:
    """direct-response: nothing arrives at the ledger."""
    with mesh.trying("direct-response"):
        before = mesh.counted("ledger-v1")
        reply = mesh.ask(FRONTEND, "ledger", "/accounts/1")
        assert (reply.status, reply.body) == (503, b"The books are closed until Monday.\n")
        assert reply.headers["content-type"] == "text/plain"
        assert mesh.counted("ledger-v1") == before
        assert mesh.ask(FRONTEND, "ledger").status == 200


def test_headers_are_changed(mesh: SampleMesh) -> None:
    """header-changes: on the way there and on the way back."""
    with mesh.trying("header-changes"):
        reply = mesh.ask(FRONTEND, "ledger", "/echo", user_agent="curl", x_till="none")
    assert reply.seen["headers"]["x-till"] == "front"
    assert "user-agent" not in reply.seen["headers"]
    assert reply.headers["x-answered-by"] == "the-ledger"


def test_nobody_waits_for_long(mesh: SampleMesh) -> None:
    """timeouts: what takes longer is answered with 504."""
    with mesh.trying("timeouts"):
        assert mesh.ask(FRONTEND, "ledger", "/nap").status == 504
        assert mesh.ask(FRONTEND, "ledger").status == 200
    assert mesh.ask(FRONTEND, "ledger", "/nap").status == 200


def test_a_failing_pod_is_hidden(mesh: SampleMesh) -> None:
    """retries: nobody sees its 503s."""
    with mesh.trying("retries"), mesh.broken(CATALOG):
        replies = mesh.calls(FRONTEND, "http://catalog:9080/self", 60)
    assert [(reply.status, reply.pod) for reply in replies] == [(200, "catalog-2")] * 60


def test_faults_are_injected(mesh: SampleMesh) -> None:
    """fault-injection: testers wait, some others' requests fail, and the ledger is as it was."""
    with mesh.trying("fault-injection"):
        began = time.monotonic()
        assert mesh.knock("/ledger", end_user="tester").status == 200
        assert time.monotonic() - began >= 0.49  # Envoy counts whole milliseconds
        replies = mesh.calls(FRONTEND, "http://ledger:9080/self", 200)
    statuses = Counter(reply.status for reply in replies)
    assert statuses.keys() == {200, 503}
    assert 20 < statuses[503] < 80


def test_a_new_version_gets_copies(mesh: SampleMesh) -> None:
    """mirroring: of every request, and its answers are nobody's."""
    with mesh.trying("mirroring"):
        before = mesh.counted("reviews-v3")
        assert _versions(mesh, 30) == {"v1": 30}
        eventually(lambda: mesh.counted("reviews-v3") == before + 30, "every copy arrives")


def test_browsers_are_told_what_they_may(mesh: SampleMesh) -> None:
    """cross-origin: the shop's pages may, others are not told so."""

    def asked(origin: str) -> str | None:
        headers = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        url = "http://catalog:9080/self"
        reply = mesh.call(FRONTEND, url, method="OPTIONS", headers=headers)
        return reply.headers.get("access-control-allow-origin")

    with mesh.trying("cross-origin"):
        assert asked("https://shop.example.com") == "https://shop.example.com"
        assert asked("https://other.example.com") is None


def test_rules_are_anothers(mesh: SampleMesh) -> None:
    """delegation: below the path that was handed over, the delegate's rules are in force."""
    with mesh.trying("delegation"):
        handed_over = mesh.ask(FRONTEND, "ledger", "/accounts").seen
        assert (handed_over["path"], handed_over["headers"]["x-team"]) == ("/echo", "accounts")
        assert "x-team" not in mesh.ask(FRONTEND, "ledger", "/echo").seen["headers"]


def test_what_is_too_much_fails_at_once(mesh: SampleMesh) -> None:
    """circuit-breaking: one request is answered, one waits, and of the rest most are refused."""
    with mesh.trying("circuit-breaking"):
        statuses = Counter(
            reply.status for reply in mesh.at_once(FRONTEND, "http://ledger:9080/nap", 12)
        )
    assert statuses.keys() == {200, 503}
    assert statuses[503] >= 6
    assert {r.status for r in mesh.at_once(FRONTEND, "http://ledger:9080/nap", 12)} == {200}


def test_a_failing_pod_is_left_alone(mesh: SampleMesh) -> None:
    """outlier-detection: after three failures it is not asked any more."""
    with mesh.trying("outlier-detection"), mesh.broken(CATALOG):
        statuses = [reply.status for reply in mesh.calls(FRONTEND, "http://catalog:9080/self", 100)]
        assert statuses.count(503) == 3
        assert set(statuses[-50:]) == {200}


def test_a_user_stays_where_she_is(mesh: SampleMesh) -> None:
    """sticky-sessions: the same pod for the same name, all pods for many names."""

    def pods(user: str, count: int) -> set[str]:
        headers = {"end-user": user}
        return {
            r.pod for r in mesh.calls(FRONTEND, "http://catalog:9080/self", count, headers=headers)
        }

    with mesh.trying("sticky-sessions"):
        eventually(lambda: len(pods("ann", 12)) == 1, "hashing is in force")
        everyone = [pods(f"user-{number}", 8) for number in range(20)]
    assert {len(found) for found in everyone} == {1}
    assert set().union(*everyone) == CATALOGS


def test_callers_are_told_apart(mesh: SampleMesh) -> None:
    """source-routing: by the labels of the pod that calls."""
    with mesh.trying("source-routing"):
        assert _versions(mesh, 20, of=CATALOG) == {"v2": 20}
        assert _versions(mesh, 20) == {"v1": 20}


def test_connections_end(mesh: SampleMesh) -> None:
    """connection-limits: the one for bookings after two seconds, in which it is answered."""
    with mesh.trying("connection-limits"):
        began = time.monotonic()
        with mesh.connect(CATALOG, (mesh.address("ledger"), 9000)) as booking:
            booking.sendall(b"ten crowns\n")
            assert booking.recv(100) == b"ledger: ten crowns\n"
            assert booking.recv(100) == b""
        assert 1.5 < time.monotonic() - began < 8


def test_connections_are_shared_out(mesh: SampleMesh) -> None:
    """tcp-split: every fourth is the courier's."""
    with mesh.trying("tcp-split"):
        said = Counter(mesh.tcp(CATALOG, "ledger", 9000) for _ in range(80))
    assert said.keys() == {b"ledger: hello\n", b"courier: hello\n"}
    assert 5 <= said[b"courier: hello\n"] <= 40


def test_pods_are_asked_in_turn(mesh: SampleMesh) -> None:
    """load-balancing: as many requests for one as for the other, and one after the other."""
    with mesh.trying("load-balancing"):
        pods = [reply.pod for reply in mesh.calls(FRONTEND, "http://catalog:9080/self", 20)]
    assert set(pods) == CATALOGS
    assert all(one != following for one, following in pairwise(pods))


def test_calls_are_shared_out(mesh: SampleMesh) -> None:
    """grpc: call by call on one connection; a method is another version's, and one fails."""
    with (
        mesh.trying("grpc"),
        closing(GrpcCaller(mesh.connect(HUB, (GATEWAY, 80)), _HOST)) as caller,
    ):

        def said(method: str) -> str:
            answer = caller.call(f"/shop.Opinions/{method}")
            assert answer.status == "0", answer
            return answer.message[7:].decode()

        shared = Counter(said("Best") for _ in range(30))
        assert shared == dict.fromkeys((f"reviews v{number}" for number in (1, 2, 3)), 10)
        assert {said("Newest") for _ in range(6)} == {"reviews v3"}
        assert caller.call("/shop.Opinions/Erase").status == "7"
        with mesh.broken("reviews-v1"):
            assert {said("Best") for _ in range(9)} == {"reviews v2", "reviews v3"}


def test_one_talks_for_as_long_as_one_likes(mesh: SampleMesh) -> None:
    """websocket: both ways, and for longer than a request may take."""
    asked = (
        "GET /talk HTTP/1.1", "host: shop.example.com", "connection: Upgrade", "upgrade: websocket",
        "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    )  # fmt: skip
    with mesh.trying("websocket"), mesh.connect(HUB, (GATEWAY, 80)) as talk:
        talk.sendall("\r\n".join((*asked, "", "")).encode())
        agreed = talk.recv(4096).lower()
        assert agreed.startswith(b"http/1.1 101 ")
        assert b"sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=" in agreed
        began = time.monotonic()
        eventually(lambda: time.monotonic() > began + 1.1, "the time of a request is over")
        talk.sendall(b"\x81\x85\0\0\0\0hello")
        assert talk.recv(4096) == b"\x81\x0dledger: hello"


def test_a_cookie_is_kept(mesh: SampleMesh) -> None:
    """sticky-cookies: who brings it back stays where he was, who has none is given one."""
    with mesh.trying("sticky-cookies"):
        first = mesh.knock("/catalog", _HOST)
        cookie = first.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith("basket=")
        pods = {mesh.knock("/catalog", _HOST, cookie=cookie).pod for _ in range(12)}
        assert pods == {first.pod}
        strangers = [mesh.knock("/catalog", _HOST) for _ in range(30)]
        assert {reply.pod for reply in strangers} == CATALOGS


def test_what_is_broken_is_not_flooded(mesh: SampleMesh) -> None:
    """retry-budget: of twelve requests that fail at once, few are tried again."""

    def arrived() -> int:
        return sum(mesh.counted(name) for name in CATALOGS)

    with mesh.trying("retry-budget"), ExitStack() as broken:
        for name in CATALOGS:
            broken.enter_context(mesh.broken(name))
        before = arrived()
        replies = mesh.at_once(FRONTEND, "http://catalog:9080/self", 12)
        assert {reply.status for reply in replies} == {503}
        assert 13 <= arrived() - before <= 30  # 48 if all were tried three times more


def test_requests_share_connections(mesh: SampleMesh) -> None:
    """http2: twelve at the same time are twelve streams, of no more connections than there are pods."""

    def made(pattern: str) -> int:
        stats = mesh.stats(FRONTEND, f"^cluster.outbound.9080..reviews.shop.*{pattern}$")
        return sum(stats.values())

    with mesh.trying("http2"):
        replies = mesh.at_once(FRONTEND, "http://reviews:9080/nap", 12)
        assert [reply.status for reply in replies] == [200] * 12
        assert 1 <= made("upstream_cx_http2_total") == made("upstream_cx_active")


def test_a_new_pod_is_spared(mesh: SampleMesh) -> None:
    """warm-up: it gets little at first, and its share when its time is over, here after two seconds."""
    file = mesh.mesh.folder / "reviews.yaml"
    before = file.read_text(encoding="utf-8")
    entry = before.index("  - addresses: [10.44.0.33]")
    without = before[:entry] + before[before.index("ports:\n  - name: http", entry) :]
    [rule] = manifests("warm-up")
    with mesh.trying("warm-up"):
        assert _versions(mesh, 9) == {"v1": 3, "v2": 3, "v3": 3}  # all are equally new
    with mesh.having(rule.read_text(encoding="utf-8").replace("60s", "2s")):
        mesh.apply(file.name, without)
        warm = time.monotonic() + 2.2
        eventually(lambda: time.monotonic() > warm, "the others are warm")
        mesh.apply(file.name, before)
        at_first = _versions(mesh, 40)["v3"]
        eventually(lambda: _versions(mesh, 60)["v3"] >= 18, "the new pod has its share")
    assert at_first <= 10


def test_rules_stay_at_home(mesh: SampleMesh) -> None:
    """visibility: the shop's own pods have them, the gateways of another namespace do not."""

    def knows(of: str) -> bool:
        return "courier.example.com" in mesh.admin(of, "/clusters")

    with mesh.trying("visibility"):
        assert mesh.ask(FRONTEND, "ledger", "/echo").seen["headers"]["x-till"] == "front"
        assert knows(FRONTEND)
        # what another sample had there leaves a few seconds after its rules
        eventually(lambda: not knows("istio-egressgateway-1"), "the gateway has not heard of it")

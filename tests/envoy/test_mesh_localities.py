"""Localities as requests meet them: near pods first, far ones when those fail, shares where they are written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_mesh import LiveMesh, eventually, pod, pod_ip, service
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
# Pod, the end of its address, its place, its version.
_PODS: Final = (
    ("web-1", 11, "eu.a", "v1"),
    ("web-2", 12, "eu.b", "v2"),
    ("web-3", 13, "us.a", "v1"),
    ("web-4", 14, "ap.a", "v2"),
)
_DETECTION: Final = """outlierDetection: {consecutive5xxErrors: 3, interval: 0.2s,
                 baseEjectionTime: 60s, maxEjectionPercent: 100}"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client in one zone, and a service of pods in that zone, in that region, and far away."""
    files = {
        "web.yaml": "".join(
            pod(name, number, app="web", version=version, more_labels=_at(place))
            for name, number, place, version in _PODS
        )
        + service("web", 11, *((name, number) for name, number, _, _ in _PODS)),
        "ann.yaml": pod("ann", 2, version="v2", more_labels=_at("eu.a")),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _at(place: str) -> str:
    return f", topology.istio.io/locality: {place}"


def _rule(locality: str = "", detection: str = _DETECTION) -> str:
    balancer = f"loadBalancer: {{localityLbSetting: {{{locality}}}}}" if locality else ""
    policy = ", ".join(filter(None, (balancer, detection)))
    return istio(
        "DestinationRule", "web", f"host: web\ntrafficPolicy: {{{policy}}}", namespace="test"
    )


def _counted(mesh: LiveMesh, number: int, query: str = "") -> Counter[str]:
    return Counter(reply.pod for reply in mesh.calls("ann", f"{_WEB}{query}", number))


def _becomes(mesh: LiveMesh, pods: set[str], query: str = "") -> None:
    eventually(lambda: set(_counted(mesh, 12, query)) == pods, f"requests go to {pods}")


def test_the_own_zone_is_used_until_it_fails(mesh: LiveMesh) -> None:
    """Then the own region, then all others; failing is what is detected."""
    with mesh.having(_rule()):
        assert set(_counted(mesh, 40)) == {"web-1"}
        _becomes(mesh, {"web-2"}, "?broken=web-1")
        assert set(_counted(mesh, 40)) == {"web-2"}
        _becomes(mesh, {"web-3", "web-4"}, "?broken=web-2")


def test_a_region_fails_over_to_the_one_that_is_named(mesh: LiveMesh) -> None:
    """Before all others."""
    with mesh.having(_rule("failover: [{from: eu, to: ap}]")):
        assert set(_counted(mesh, 20)) == {"web-1"}
        _becomes(mesh, {"web-2"}, "?broken=web-1")
        _becomes(mesh, {"web-4"}, "?broken=web-2")


def test_labels_say_who_is_near(mesh: LiveMesh) -> None:
    """The client's own label first; wherever the pods are."""
    with mesh.having(_rule("failoverPriority: [version, topology.kubernetes.io/region]")):
        assert set(_counted(mesh, 40)) == {"web-2"}
        _becomes(mesh, {"web-4"}, "?broken=web-2")
        _becomes(mesh, {"web-1", "web-3"}, "?broken=web-4")


@pytest.mark.parametrize(("remote", "served"), [("false", False), ("true", True)])
def test_far_pods_may_be_tried_again(mesh: LiveMesh, remote: str, *, served: bool) -> None:
    """``retryRemoteLocalities``: the near one has failed, and is not even left out yet."""
    detection = _DETECTION.replace("consecutive5xxErrors: 3", "consecutive5xxErrors: 100")
    route = f"""
hosts: [web]
http:
- retries: {{attempts: 3, retryOn: 5xx, retryRemoteLocalities: {remote}}}
  route: [{{destination: {{host: web}}}}]
"""
    with mesh.having(
        _rule(detection=detection), istio("VirtualService", "web", route, namespace="test")
    ):
        found = mesh.call("ann", f"{_WEB}?broken=web-1")
    assert (found.status, found.pod) == ((200, "web-2") if served else (503, "web-1"))


def test_places_get_their_shares(mesh: LiveMesh) -> None:
    """With or without detection; who has no share gets nothing."""
    with mesh.having(_rule('distribute: [{from: eu/a, to: {"eu/b": 80, us: 20}}]', "")):
        counted = _counted(mesh, 200)
    assert set(counted) == {"web-2", "web-3"}
    assert 120 <= counted["web-2"] <= 190


def test_localities_may_be_switched_off(mesh: LiveMesh) -> None:
    """Then all pods are alike, as they are without the detection of failures."""
    with mesh.having(_rule("enabled: false")):
        assert len(_counted(mesh, 80)) == len(_PODS)
    assert len(_counted(mesh, 80)) == len(_PODS)


def test_a_service_may_prefer_near_pods(mesh: LiveMesh) -> None:
    """Without any rule; those that are not ready are passed over."""
    before = (mesh.mesh.folder / "web.yaml").read_text(encoding="utf-8")
    word = "networking.istio.io/traffic-distribution: PreferClose"
    *pods, rest = before.partition("kind: Service\n")
    near = "".join(pods) + rest.replace("annotations: {}", f"annotations: {{{word}}}", 1)
    assert word in near
    mesh.apply("web.yaml", near)
    assert set(_counted(mesh, 40)) == {"web-1"}
    ready = f"- addresses: [{pod_ip(11)}]\n    conditions: {{ready: true}}"
    assert ready in near
    mesh.apply("web.yaml", near.replace(ready, ready.replace("true", "false")))
    _becomes(mesh, {"web-2"})
    mesh.apply("web.yaml", before)
    assert len(_counted(mesh, 80)) == len(_PODS)

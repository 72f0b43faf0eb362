"""Localities as requests meet them: near pods first, far ones when those fail, shares, and zones as Envoy reckons."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from mizzen.names import LOCAL_CLUSTER
from mizzen_cli.demo.proxies import is_ready, proxy_files, start_proxy
from tests.support.live_manifests import mesh_config
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


def test_the_mesh_says_which_places_count(mesh: LiveMesh) -> None:
    """In its ConfigMap, where no rule says it; a rule that does goes first."""
    config = mesh_config(
        'localityLbSetting: {distribute: [{from: eu/a, to: {"eu/b": 50, us: 50}}]}', "istio"
    )
    with mesh.having(config):
        assert set(_counted(mesh, 60)) == {"web-2", "web-3"}
    with mesh.having(config, _rule('distribute: [{from: eu/a, to: {"ap/*": 100}}]', "")):
        assert set(_counted(mesh, 20)) == {"web-4"}


def test_localities_may_be_switched_off(mesh: LiveMesh) -> None:
    """Then all pods are alike, as they are without the detection of failures."""
    with mesh.having(_rule("enabled: false")):
        assert len(_counted(mesh, 80)) == len(_PODS)
    assert len(_counted(mesh, 80)) == len(_PODS)


# Zones: what a zone serves itself depends on how many of the client's kind are in it.


def _zones(inner: str = "minClusterSize: 1", detection: str = "") -> str:
    balancer = f"loadBalancer: {{zoneAwareLbSetting: {{{inner}}}}}"
    policy = ", ".join(filter(None, (balancer, detection)))
    return istio(
        "DestinationRule", "web", f"host: web\ntrafficPolicy: {{{policy}}}", namespace="test"
    )


def _fellow(number: int, place: str) -> str:
    """Another one of the client's kind; nobody is there, and nobody calls it."""
    spec = f"address: 10.77.0.{number}\nlocality: {place}\nlabels: {{app: ann, version: v2}}"
    return istio("WorkloadEntry", f"ann-{number}", spec, namespace="test")


def test_requests_stay_in_their_zone(mesh: LiveMesh) -> None:
    """Where one of two clients has one of two pods; false shares them out."""
    with mesh.having(_zones(), _fellow(1, "eu/b")):
        assert set(_counted(mesh, 40)) == {"web-1"}
    with mesh.having(_zones("enabled: false"), _fellow(1, "eu/b")):
        assert len(_counted(mesh, 80)) == len(_PODS)


def test_a_zone_serves_what_it_can(mesh: LiveMesh) -> None:
    """Three in four clients get two thirds of their requests served in their own, which has half the pods."""
    fellows = (_fellow(1, "eu/a"), _fellow(2, "eu/a"), _fellow(3, "eu/b"))
    with mesh.having(_zones(), *fellows):
        counted = _counted(mesh, 200)
        sent_away = mesh.stats("ann", r"^cluster\.outbound.80..web.*\.lb_zone_routing_cross_zone$")
    assert set(counted) == {"web-1", "web-2"}
    assert 100 <= counted["web-1"] <= 165
    assert sum(sent_away.values()) > 0


def test_few_pods_are_shared_by_all_zones(mesh: LiveMesh) -> None:
    """Of the region; so are those of a client that is the only one of its kind."""
    with mesh.having(_zones("minClusterSize: 3"), _fellow(1, "eu/b")):
        assert set(_counted(mesh, 60)) == {"web-1", "web-2"}
    with mesh.having(_zones()):
        assert set(_counted(mesh, 60)) == {"web-1", "web-2"}


def test_a_region_stands_in_for_another_where_zones_count(mesh: LiveMesh) -> None:
    """The own one first in any case, and others when all of its pods fail."""
    with mesh.having(
        _zones("minClusterSize: 1, failover: [{from: eu, to: ap}]", _DETECTION), _fellow(1, "eu/b")
    ):
        assert set(_counted(mesh, 20)) == {"web-1"}
        _becomes(mesh, {"web-2"}, "?broken=web-1")
        _becomes(mesh, {"web-4"}, "?broken=web-2")


def test_labels_count_before_zones(mesh: LiveMesh) -> None:
    """The client's own version, wherever it is."""
    with mesh.having(
        _zones("minClusterSize: 1, failoverPriority: [version]", _DETECTION), _fellow(1, "eu/b")
    ):
        assert set(_counted(mesh, 40)) == {"web-2"}
        _becomes(mesh, {"web-4"}, "?broken=web-2")


def test_the_mesh_may_keep_to_zones(mesh: LiveMesh) -> None:
    """Where no rule says how places count; a port may have it otherwise."""
    config = mesh_config("zoneAwareLbSetting: {minClusterSize: 1}")
    off = "loadBalancer: {zoneAwareLbSetting: {enabled: false}}"
    port = istio(
        "DestinationRule",
        "web",
        f"host: web\ntrafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, {off}}}]}}",
        namespace="test",
    )
    with mesh.having(config, _fellow(1, "eu/b")):
        assert set(_counted(mesh, 40)) == {"web-1"}
    with mesh.having(config, _fellow(1, "eu/b"), port):
        assert len(_counted(mesh, 80)) == len(_PODS)


@contextmanager
def _started_as_before(mesh: LiveMesh, of: str) -> Iterator[None]:
    """Have a pod's Envoy run with the bootstrap of a time in which there were no local clusters."""
    inner, spec = mesh.mesh, mesh.pod(of)
    file = proxy_files(inner.realm, spec).bootstrap
    made = json.loads(file.read_text(encoding="utf-8"))
    made["cluster_manager"].pop("local_cluster_name")
    made["node"]["metadata"].pop("ENABLE_SELF_DISCOVERY")
    static = made["static_resources"]
    static["clusters"] = [one for one in static["clusters"] if one["name"] != LOCAL_CLUSTER]
    mesh.kill_proxy(of)
    file.write_text(json.dumps(made), encoding="utf-8")
    inner._pids[f"envoy {spec.network}"] = start_proxy(inner.realm, inner._envoy, spec, file)
    eventually(lambda: is_ready(inner.realm, spec), "the Envoy is ready")
    try:
        yield
    finally:
        mesh.restart_proxy(of)
        mesh.settle()


def test_a_proxy_with_an_older_bootstrap_stays_in_its_region(mesh: LiveMesh) -> None:
    """It knows no local cluster, and shares its region's pods out."""
    with mesh.having(_zones(), _fellow(1, "eu/b")):
        assert set(_counted(mesh, 40)) == {"web-1"}
        with _started_as_before(mesh, "ann"):
            assert set(_counted(mesh, 60)) == {"web-1", "web-2"}
        assert set(_counted(mesh, 40)) == {"web-1"}


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

"""The shop's manifests are what the demo runs: addresses, names and commands agree with each other."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from mizzen_cli.demo.manifests import Cast, hosts_text, read_cast
from tests.support import cluster_shop

_SHOP: Final = Path(__file__).parents[3] / "samples" / "shop"
_PODS: Final = ip_network("10.44.0.0/16")
_SERVICES: Final = ip_network("10.96.0.0/16")


@pytest.fixture(scope="module")
def cast() -> Cast:
    """The shop's pods and services."""
    return read_cast(_SHOP)


def _documents(kind: str) -> list[dict[str, Any]]:
    return [
        document
        for file in sorted(_SHOP.rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8"))
        if document["kind"] == kind
    ]


def test_the_shop_is_large_enough(cast: Cast) -> None:
    """At least seven workloads: four services, one of them in three versions, and a gateway."""
    applications = [pod for pod in cast.pods if pod.sidecar]
    versions = {
        dict(pod.labels)["version"] for pod in applications if pod.name.startswith("reviews")
    }
    assert len(applications) >= 7
    assert versions == {"v1", "v2", "v3"}
    assert [pod.name for pod in cast.pods if pod.router] == [
        "istio-egressgateway-1",
        "istio-ingressgateway-1",
    ]
    assert [pod.name for pod in cast.pods if not pod.router and not pod.sidecar] == [
        "courier",
        "stranger",
    ]


def test_every_address_is_one_pods_or_one_services(cast: Cast) -> None:
    """Pods and services have ranges of their own, and nobody's address twice."""
    pods = [ip_address(pod.ip) for pod in cast.pods]
    services = [ip_address(service.ip) for service in cast.services if service.name != "courier"]
    assert all(address in _PODS for address in pods)
    assert all(address in _SERVICES for address in services)
    assert len({*pods, *services}) == len(pods) + len(services)


def test_endpoints_are_the_pods_that_the_service_selects(cast: Cast) -> None:
    """What a cluster's controller would write is what the files say."""
    pods = {pod.name: pod for pod in cast.pods}
    selectors = {
        document["metadata"]["name"]: document["spec"]["selector"].items()
        for document in _documents("Service")
    }
    for document in _documents("EndpointSlice"):
        service = document["metadata"]["labels"]["kubernetes.io/service-name"]
        listed = {entry["targetRef"]["name"]: entry["addresses"] for entry in document["endpoints"]}
        selected = {
            name: [pod.ip] for name, pod in pods.items() if selectors[service] <= {*pod.labels}
        }
        assert listed == selected


def test_names_are_found_as_a_pod_finds_them(cast: Cast) -> None:
    """A service by all its names, a pod by its own; a stranger's name is an error."""
    full = "reviews.shop.svc.cluster.local"
    assert {cast.address(name) for name in ("reviews", "reviews.shop", full)} == {"10.96.0.30"}
    assert cast.address("reviews-v2") == "10.44.0.32"
    assert f"10.96.0.30 reviews reviews.shop reviews.shop.svc {full}\n" in hosts_text(cast)
    with pytest.raises(KeyError):
        cast.address("nobody")


def test_a_headless_services_name_is_its_pods(cast: Cast) -> None:
    """As a cluster's DNS answers."""
    assert cast.address("courier.outside.svc.cluster.local") == "10.44.0.95"


def test_a_headless_service_of_nobody_has_no_name(tmp_path: Path) -> None:
    """Nor has one that selects nothing."""
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: alone}\nspec: {clusterIP: None"
    for number, selector in enumerate((", selector: {app: alone}", "")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(f"{head}{selector}}}\n", encoding="utf-8")
    assert read_cast(tmp_path).services == ()


def test_every_command_is_one_that_the_application_takes(cast: Cast) -> None:
    """The arguments in the manifests are understood (tried with --help at their end)."""
    commands = {pod.command for pod in cast.pods if pod.command}
    assert len(commands) >= 6
    for command in commands:
        assert command[:2] == ("python", "/app/shop.py")
        words = [sys.executable, str(_SHOP / "app" / "shop.py"), *command[2:], "--help"]
        assert subprocess.run(words, capture_output=True, check=False, timeout=20).returncode == 0


def test_the_shop_for_a_cluster_is_the_same_shop() -> None:
    """What ``make samples`` writes is what is there."""
    assert cluster_shop.FILE.read_text(encoding="utf-8") == cluster_shop.shop()

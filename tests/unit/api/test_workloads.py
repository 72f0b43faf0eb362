"""ServiceEntries and WorkloadEntries are read as Istio reads them."""

from __future__ import annotations

import pytest

from mizzen.model.kube import Protocol, ServicePort
from mizzen.model.meta import Labels
from mizzen.model.traffic import Resolution, ServiceEntry, WorkloadEndpoint, WorkloadEntry
from tests.unit.api.reading import errors, read_manifest, read_spec, told, value

pytestmark = pytest.mark.unit


def test_a_static_entry_has_its_endpoints_in_place() -> None:
    """Weights are 1 by default."""
    found = value(read_manifest("service_entry.yaml")["ServiceEntry legacy"])
    assert isinstance(found, ServiceEntry)
    assert found == ServiceEntry(
        meta=found.meta,
        hosts=("legacy.example.com", "*.legacy.example.com"),
        addresses=("240.0.0.9", "240.1.0.0/16"),
        ports=(
            ServicePort(name="http", number=80, protocol=Protocol.HTTP, target=8080),
            ServicePort(name="tls", number=443, protocol=Protocol.TLS),
        ),
        external=False,
        resolution=Resolution.STATIC,
        endpoints=(
            WorkloadEndpoint(
                address="192.0.2.10",
                ports=(("http", 8081),),
                labels=Labels((("version", "v1"),)),
                locality="eu/eu-a/rack1",
                weight=3,
                service_account="legacy",
            ),
            WorkloadEndpoint(address="192.0.2.11"),
        ),
        export_to=found.export_to,
        subject_alt_names=("spiffe://cluster.local/ns/shop/sa/legacy",),
    )
    assert found.export_to == (".",)


def test_an_entry_may_select_its_endpoints() -> None:
    """It is of another world unless it says so."""
    found = value(read_manifest("service_entry.yaml")["ServiceEntry selected"])
    assert isinstance(found, ServiceEntry)
    assert found.selector == Labels((("app", "legacy"),))
    assert found.external


def test_the_resolution_is_kept() -> None:
    """By its name; NONE is the default. What is not translated is told of."""
    parsed = read_manifest("service_entry.yaml")["ServiceEntry dns"]
    assert isinstance(parsed.object, ServiceEntry)
    assert parsed.object.resolution is Resolution.DNS
    assert [path for _, path, _ in told(parsed)] == ["spec.endpoints[0].network"]
    implied = read_spec("ServiceEntry", "{hosts: [a.com], ports: [{number: 80, name: p}]}")
    assert isinstance(implied.object, ServiceEntry)
    assert implied.object.resolution is Resolution.NONE
    assert told(implied) == []


def test_a_workload_entry_is_one_endpoint() -> None:
    """Its network does not count yet."""
    parsed = read_manifest("workload_entry.yaml")["WorkloadEntry vm-1"]
    assert isinstance(parsed.object, WorkloadEntry)
    assert parsed.object.endpoint == WorkloadEndpoint(
        address="192.0.2.20",
        ports=(("grpc", 9000), ("http", 8080)),
        labels=Labels((("app", "legacy"), ("version", "v2"))),
        locality="eu/eu-b",
        weight=5,
        service_account="legacy",
        network="elsewhere",
    )
    assert told(parsed) == [("MZ0201", "spec.network", 9)]


def test_a_request_says_which_port_is_called() -> None:
    """With DYNAMIC_DNS a target port is of no use to HTTP; where a server name tells the host it is."""
    ports = "{number: 80, name: a, protocol: HTTP, targetPort: 81}, {number: 443, name: b, protocol: TLS, targetPort: 444}"
    parsed = read_spec(
        "ServiceEntry", f"{{hosts: ['*.a.com'], ports: [{ports}], resolution: DYNAMIC_DNS}}"
    )
    assert [found[:2] for found in told(parsed)] == [("MZ0203", "spec.ports[0].targetPort")]


_PORTS = "ports: [{number: 80, name: http, protocol: HTTP}]"
_STATIC = f"hosts: [a.com], {_PORTS}, resolution: STATIC"


@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        (f"{{{_PORTS}}}", "MZ0104", "hosts"),
        (f"{{hosts: ['*.a.com'], {_PORTS}, resolution: DNS}}", "MZ0202", "hosts[0]"),
        (
            "{hosts: ['*.a.com'], ports: [{number: 80, name: a, protocol: TCP}], resolution: DYNAMIC_DNS}",
            "MZ0202",
            "ports[0].protocol",
        ),
    ],
)
def test_mistakes_of_a_service_entry_are_errors(spec: str, code: str, path: str) -> None:
    """At their field."""
    parsed = read_spec("ServiceEntry", spec)
    assert parsed.object is None
    assert [(code, path) for code, path, _ in errors(parsed)] == [(code, f"spec.{path}")]


def test_mistakes_of_a_workload_entry_are_errors() -> None:
    """It needs an address, unless a network is said to have it."""
    assert errors(read_spec("WorkloadEntry", "{weight: 1}")) == [("MZ0104", "spec.address", 4)]
    assert errors(read_spec("WorkloadEntry", "{network: elsewhere}")) == []
    assert errors(read_spec("WorkloadEntry", "{address: 10.0.0.1, ports: {a: 0}}")) == [
        ("MZ0103", "spec.ports.a", 5)
    ]

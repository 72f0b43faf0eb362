"""Messages become bytes that are always the same, in the frame that delta responses want."""

from __future__ import annotations

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse, Resource

from mizzen.wire import TypeUrl, encode, from_body, varint


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (0x7F, "7f"),
        (0x80, "8001"),
        (300, "ac02"),
        (0x3FFF, "ff7f"),
        (0x4000, "808001"),
        (2**32 - 1, "ffffffff0f"),
        (2**63, "80808080808080808001"),
    ],
)
def test_a_varint_is_base_128_least_first(value: int, encoded: str) -> None:
    """Seven bits a byte, the high bit says that more follow."""
    assert varint(value).hex() == encoded


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
def test_the_wire_form_is_a_discovery_resource(size: int) -> None:
    """Whatever the lengths, the bytes read back as name, version and Any."""
    made = from_body(TypeUrl.CLUSTER, "a" * 200, b"\x0a" * size)
    read = Resource.FromString(made.wire)
    assert (read.name, read.version) == (made.name, made.version)
    assert read.resource.type_url == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    assert read.resource.value == made.body


def test_resources_are_spliced_into_a_response() -> None:
    """As field 2 of a delta response, without the resource being decoded."""
    made = [encode(TypeUrl.CLUSTER, name, Cluster(name=name)) for name in ("a", "b")]
    frames = b"".join(b"\x12" + varint(len(r.wire)) + r.wire for r in made)
    response = DeltaDiscoveryResponse.FromString(frames)
    assert [r.name for r in response.resources] == ["a", "b"]
    cluster = Cluster()
    assert response.resources[1].resource.Unpack(cluster)
    assert cluster.name == "b"


def test_equal_messages_are_equal_bytes() -> None:
    """The order in which map entries were set changes no byte and no version."""
    one, other = Cluster(name="a"), Cluster(name="a")
    for key in ("x", "y", "z"):
        one.metadata.filter_metadata[key].fields["k"].string_value = key
    for key in ("z", "x", "y"):
        other.metadata.filter_metadata[key].fields["k"].string_value = key
    assert encode(TypeUrl.CLUSTER, "a", one) == encode(TypeUrl.CLUSTER, "a", other)


def test_the_version_tells_bodies_apart() -> None:
    """The version is a hash of the body alone; the hash of a resource goes by it."""
    one, other = (from_body(TypeUrl.CLUSTER, "a", body) for body in (b"1", b"2"))
    assert one.version != other.version
    assert from_body(TypeUrl.LISTENER, "b", b"1").version == one.version
    assert len({one, other, from_body(TypeUrl.CLUSTER, "a", b"1")}) == 2


def test_types_are_listed_in_the_order_of_delivery() -> None:
    """What is named goes before what names it."""
    words = [type_url.value.rpartition(".")[2] for type_url in TypeUrl]
    assert words == [
        "Cluster",
        "ClusterLoadAssignment",
        "Secret",
        "Listener",
        "RouteConfiguration",
        "VirtualHost",
    ]

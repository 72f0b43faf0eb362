"""Of Kubernetes' own kinds the part is read that a mesh needs."""

from __future__ import annotations

import pytest

from mizzen.model.kube import (
    ConfigMap,
    ContainerPort,
    Distribution,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    PrivateBytes,
    Protocol,
    Secret,
    Service,
    ServiceAccount,
    ServicePort,
    SliceEndpoint,
)
from mizzen.model.meta import EXPORT_ALL, Labels
from mizzen.model.world import Parsed
from tests.unit.api.reading import errors, read_manifest, read_one, read_spec, told, value

pytestmark = pytest.mark.unit


@pytest.fixture(name="objects", scope="module")
def _objects() -> dict[str, Parsed]:
    return read_manifest("kubernetes.yaml")


def test_a_service_has_ports_addresses_and_a_selector(objects: dict[str, Parsed]) -> None:
    """And what Istio's annotations say."""
    found = value(objects["Service reviews"])
    assert isinstance(found, Service)
    assert found.ports == (
        ServicePort(name="http", number=9080, protocol=Protocol.HTTP, target="web"),
        ServicePort(name="admin", number=9090, protocol=Protocol.GRPC, target=19090),
        ServicePort(name="dns", number=53, protocol=Protocol.UDP),
    )
    assert found.cluster_ips == ("10.96.0.7", "fd00::7")
    assert not found.headless
    assert found.selector == Labels((("app", "reviews"),))
    assert found.publish_not_ready
    assert found.export_to == (".", "shop-test")
    assert found.service_accounts == ("legacy", "other@example.com")


def test_services_may_be_headless_or_of_another_name(objects: dict[str, Parsed]) -> None:
    """Or have one address only."""
    headless, outside = value(objects["Service headless"]), value(objects["Service outside"])
    assert isinstance(headless, Service)
    assert isinstance(outside, Service)
    assert (headless.headless, headless.cluster_ips) == (True, ())
    assert headless.ports[0].protocol is Protocol.TCP
    assert headless.export_to == EXPORT_ALL
    assert outside.external_name == "example.com"
    single = value(read_spec("Service", "{clusterIP: 10.96.0.1, ports: [{port: 80}]}"))
    assert isinstance(single, Service)
    assert single.cluster_ips == ("10.96.0.1",)


def test_a_service_is_told_what_it_asks_for_in_vain(objects: dict[str, Parsed]) -> None:
    """But not of the defaults that the API server writes."""
    near = objects["Service near"]
    assert near.object is not None
    assert [path for _, path, _ in told(near)] == ["spec.internalTrafficPolicy"]


def test_a_service_says_who_is_near(objects: dict[str, Parsed]) -> None:
    """By its field or by Istio's annotation; what nobody knows is told of."""
    near = objects["Service near"].object
    assert isinstance(near, Service)
    assert near.distribution is Distribution.CLOSE
    annotated = read_one(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n"
        "    networking.istio.io/traffic-distribution: PreferSameNode\nspec: {ports: [{port: 80}]}"
    ).object
    assert isinstance(annotated, Service)
    assert annotated.distribution is Distribution.SAME_NODE
    unknown = read_spec("Service", "{trafficDistribution: PreferWarm, ports: [{port: 80}]}")
    assert isinstance(unknown.object, Service)
    assert unknown.object.distribution is None
    assert [path for _, path, _ in told(unknown)] == ["spec.trafficDistribution"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("ports: [{port: 80}, {port: 81}]", "ports[1]"),
        ("ports: [{port: 80, name: a}, {port: 80, name: b}]", "ports[1]"),
        ("ports: [{port: 80, targetPort: 0}]", "ports[0].targetPort"),
        ("ports: [{port: 80, targetPort: true}]", "ports[0].targetPort"),
        ("type: ExternalName", "externalName"),
        ("{type: ExternalName, externalName: a_b}", "externalName"),
        ("type: Magic", "type"),
        ("clusterIP: 10.96.0.0/24", "clusterIP"),
        ("{clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, a/b]}", "clusterIPs[1]"),
    ],
)
def test_mistakes_of_a_service_are_errors(spec: str, path: str) -> None:
    """As the API server would refuse it."""
    assert [path for _, path, _ in errors(read_spec("Service", spec))] == [f"spec.{path}"]


_EXPORTED = "metadata.annotations[networking.istio.io/exportTo]"


def _exported(text: str) -> Parsed:
    return read_one(
        f"""
        apiVersion: v1
        kind: Service
        metadata: {{name: a, annotations: {{networking.istio.io/exportTo: "{text}"}}}}
        """
    )


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [("no_name", "MZ0103", f"{_EXPORTED}[0]"), ("shop,shop", "MZ0103", f"{_EXPORTED}[1]")],
)
def test_an_annotation_is_checked(text: str, code: str, path: str) -> None:
    """exportTo has the rules that it has elsewhere."""
    assert [found[:2] for found in told(_exported(text))] == [(code, path)]


@pytest.mark.parametrize(
    ("text", "meant", "codes"),
    [
        ("~", ("~",), []),
        ("*", ("*",), []),
        ("~, shop", ("~",), ["MZ0203"]),
        ("~,*", ("*",), ["MZ0203"]),
        ("shop,*", ("*",), ["MZ0203"]),
        ("., bank", (".", "bank"), []),
        ("", ("*",), []),
    ],
)
def test_one_word_of_an_annotation_goes_before_the_others(
    text: str, meant: tuple[str, ...], codes: list[str]
) -> None:
    """Everybody before nobody before namespaces; what comes of no word is told of."""
    parsed = _exported(text)
    found = parsed.object
    assert isinstance(found, Service)
    assert (found.export_to, found.export_unsaid) == (meant, not text)
    assert [code for code, _, _ in told(parsed)] == codes


def test_a_slice_has_endpoints(objects: dict[str, Parsed]) -> None:
    """Ports of TCP only; when a trigger was does not matter."""
    found = value(objects["EndpointSlice reviews-abc"])
    assert isinstance(found, EndpointSlice)
    assert (found.service, found.ports) == ("reviews", (("http", 9080),))
    assert found.meta.annotations == ()
    assert found.endpoints == (
        SliceEndpoint(addresses=("10.0.0.1",), pod="reviews-1", node="node-1", zone="eu-a"),
        SliceEndpoint(addresses=("10.0.0.2",), ready=False, serving=True, terminating=True),
    )


def test_an_endpoint_without_conditions_is_ready() -> None:
    """And serves as it is ready."""
    text = (
        "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: a},"
        " addressType: %s, endpoints: [{addresses: [%s]%s}]}"
    )
    for conditions, expected in (("", True), (", conditions: {ready: false}", False)):
        found = value(read_one(text % ("IPv4", "10.0.0.1", conditions)))
        assert isinstance(found, EndpointSlice)
        (endpoint,) = found.endpoints
        assert (endpoint.ready, endpoint.serving) == (expected, expected)
    assert value(read_one(text % ("FQDN", "a.example.com", ""))) is not None
    wrong = read_one(text % ("IPv4", "a.example.com", ""))
    assert told(wrong) == [("MZ0103", "endpoints[0].addresses[0]", 1)]


def test_a_pod_has_addresses_ports_and_an_identity(objects: dict[str, Parsed]) -> None:
    """Sidecars' ports count, UDP's do not."""
    found = value(objects["Pod reviews-1"])
    assert isinstance(found, Pod)
    assert found == Pod(
        meta=found.meta,
        ips=("10.0.0.1", "fd00::1"),
        node="node-1",
        service_account="reviews",
        ports=(ContainerPort(name="metrics", number=15090), ContainerPort(name="web", number=9080)),
        host_network=True,
    )


def test_the_address_of_a_pod_that_has_ended_is_anothers() -> None:
    """So it has none; and a pod without account has the default one."""
    text = (
        "{apiVersion: v1, kind: Pod, metadata: {name: a}, status: {phase: %s, podIP: %s,"
        " podIPs: [%s]}}"
    )
    running = value(read_one(text % ("Running", "10.0.0.1", "")))
    ended = value(read_one(text % ("Succeeded", "10.0.0.1", "")))
    assert isinstance(running, Pod)
    assert isinstance(ended, Pod)
    assert (running.ips, running.service_account) == (("10.0.0.1",), "default")
    assert ended.ips == ()
    wrong = read_one(text % ("Running", "here", "{ip: there}"))
    assert [path for _, path, _ in errors(wrong)] == ["status.podIPs[0].ip", "status.podIP"]


def test_a_node_has_a_place(objects: dict[str, Parsed]) -> None:
    """By its labels."""
    found = value(objects["Node node-1"])
    assert isinstance(found, Node)
    assert (found.region, found.zone, found.subzone) == ("eu", "eu-a", "rack1")


def test_namespaces_and_accounts_are_there(objects: dict[str, Parsed]) -> None:
    """With their labels."""
    namespace = value(objects["Namespace shop"])
    assert isinstance(namespace, Namespace)
    assert namespace.meta.labels == Labels((("istio-injection", "enabled"),))
    assert isinstance(value(objects["ServiceAccount reviews"]), ServiceAccount)


def test_secrets_and_settings_have_data(objects: dict[str, Parsed]) -> None:
    """Decoded, sorted, and private where they are secret."""
    secret, settings = value(objects["Secret web-tls"]), value(objects["ConfigMap settings"])
    assert isinstance(secret, Secret)
    assert isinstance(settings, ConfigMap)
    assert secret.type == "kubernetes.io/tls"
    assert secret.data == (("tls.crt", PrivateBytes(b"cert")), ("tls.key", PrivateBytes(b"key")))
    assert settings.data == (("mode", "fast"),)

"""Whom a request means, and whose rules hold for it: names, namespaces, labels, what is exported and unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import (
    ANY_PORT,
    HTTP_PORT,
    TCP_PORT,
    LiveMesh,
    eventually,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web/"
_WEB_PODS: Final = (("web-v1", 11), ("web-v2", 12))


def _routes(*rules: str, host: str = "web", more: str = "", namespace: str = "test") -> str:
    """Return a VirtualService of rules, each written in one line."""
    lines = "\n".join(f"  - {rule}" for rule in rules)
    spec = (
        f"hosts: [{host}]\n{more}\nhttp:\n{lines}" if more else f"hosts: [{host}]\nhttp:\n{lines}"
    )
    return istio("VirtualService", "web", spec, namespace=namespace)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """Clients in two namespaces, a service in two versions, two others, and a pod outside of the mesh."""
    files = {
        "web.yaml": pod("web-v1", 11, app="web")
        + pod("web-v2", 12, app="web", version="v2")
        + service("web", 11, *_WEB_PODS),
        "api.yaml": pod("api", 13) + service("api", 13, ("api", 13)),
        "many.yaml": service("many", 14, *_WEB_PODS, headless=True),
        "clients.yaml": pod("ann", 2)
        + pod("bob", 3, namespace="other", version="v2")
        + pod("outside", 9, sidecar=False),
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


@pytest.mark.parametrize(
    "host", ["web", "web.test", "web.test.svc", "web.test.svc.cluster.local", "WEB", "web:80"]
)
def test_a_rule_holds_for_every_name_of_its_host(mesh: LiveMesh, host: str) -> None:
    """Short and long, in any case, with the port or without, and by the service's address."""
    rule = "{directResponse: {status: 222}}"
    with mesh.having(_routes(rule)):
        at = service_ip(11)
        assert mesh.call("ann", _WEB, headers={"Host": host}, at=at).status == 222
        assert mesh.call("ann", f"http://{at}/").status == 222


def test_a_short_name_is_of_the_callers_own_namespace(mesh: LiveMesh) -> None:
    """A service of another namespace is called with that; its bare name is nobody's there."""
    with mesh.having(_routes("{directResponse: {status: 222}}")):
        assert mesh.call("bob", "http://web.test/").status == 222
        # The unknown host is taken to where the connection was going: past the rule, to the pod.
        assert mesh.call("bob", f"http://web:{HTTP_PORT}/", at=pod_ip(11)).pod == "web-v1"


def test_source_labels_tell_clients_apart(mesh: LiveMesh) -> None:
    """A rule for clients with a label is unknown to all others."""
    rules = (
        "{match: [{sourceLabels: {version: v2}}], directResponse: {status: 222}}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", "http://web.test/").status == 200
        assert mesh.call("bob", "http://web.test/").status == 222


def test_source_namespaces_tell_clients_apart(mesh: LiveMesh) -> None:
    """As labels do."""
    rules = (
        "{match: [{sourceNamespace: other}], directResponse: {status: 222}}",
        "{route: [{destination: {host: web}}]}",
    )
    with mesh.having(_routes(*rules)):
        assert mesh.call("ann", "http://web.test/").status == 200
        assert mesh.call("bob", "http://web.test/").status == 222


def test_what_is_not_exported_is_not_seen(mesh: LiveMesh) -> None:
    """A private rule holds in its own namespace, a public one elsewhere too."""
    rule = "{directResponse: {status: 222}}"
    with mesh.having(_routes(rule, more="exportTo: ['.']")):
        assert mesh.call("ann", "http://web.test/").status == 222
        assert mesh.call("bob", "http://web.test/").status == 200
    with mesh.having(_routes(rule, host="web.test.svc.cluster.local", namespace="other")):
        assert mesh.call("ann", "http://web.test/").status == 222


def test_a_private_service_is_unknown_elsewhere(mesh: LiveMesh) -> None:
    """Another namespace's sidecar has neither its clusters nor its names."""
    hidden = service("hidden", 20, ("api", 13), export_to=".")
    with mesh.having(hidden):
        at = service_ip(20)
        assert mesh.call("ann", "http://hidden/", at=at).pod == "api"
        assert "hidden" in mesh.admin("ann", "/clusters")
        assert "hidden" not in mesh.admin("bob", "/clusters")


@pytest.mark.parametrize("exported", ["~", "~,other"])
def test_a_service_may_be_hidden_from_everybody(mesh: LiveMesh, exported: str) -> None:
    """From its own namespace too; what else stands beside it does not count."""
    with mesh.having(service("vault", 23, ("api", 13), export_to=exported)):
        assert "vault" not in mesh.admin("ann", "/clusters")
        assert "vault" not in mesh.admin("bob", "/clusters")


def test_the_mesh_says_who_sees_services_that_say_nothing(mesh: LiveMesh) -> None:
    """Their own namespace alone, unless one says otherwise; of Kubernetes and of ServiceEntries."""
    entry = istio(
        "ServiceEntry",
        "outside",
        f"""
        hosts: [outside.example.org]
        resolution: STATIC
        ports: [{{name: http, number: 80, protocol: HTTP}}]
        endpoints: [{{address: {pod_ip(9)}}}]
        """,
        namespace="test",
    )
    open_one = service("open", 22, ("api", 13), export_to="*")
    silent, private = (
        service("silent", 20, ("api", 13)),
        mesh_config('defaultServiceExportTo: ["."]'),
    )
    with mesh.having(silent, open_one, entry):
        assert mesh.call("bob", "http://silent.test/", at=service_ip(20)).pod == "api"
        assert "outside.example.org" in mesh.admin("bob", "/clusters")
    with mesh.having(silent, open_one, entry, private):
        assert mesh.call("ann", "http://silent/", at=service_ip(20)).pod == "api"
        assert mesh.call("bob", "http://open.test/", at=service_ip(22)).pod == "api"
        gone = ("silent", "outside.example.org")
        eventually(lambda: not any(n in mesh.admin("bob", "/clusters") for n in gone), "unknown")


def test_the_mesh_says_who_sees_routes_that_say_nothing(mesh: LiveMesh) -> None:
    """Their own namespace alone, unless one says otherwise."""
    rule, private = (
        "{directResponse: {status: 222}}",
        mesh_config('defaultVirtualServiceExportTo: ["."]'),
    )
    with mesh.having(_routes(rule), private):
        assert mesh.call("ann", "http://web.test/").status == 222
        assert mesh.call("bob", "http://web.test/").status == 200
    with mesh.having(_routes(rule, more='exportTo: ["*"]'), private):
        assert mesh.call("bob", "http://web.test/").status == 222
    with mesh.having(_routes(rule), mesh_config('defaultVirtualServiceExportTo: ["~"]')):
        assert mesh.call("ann", "http://web.test/").status == 200


def test_the_mesh_says_who_sees_rules_that_say_nothing(mesh: LiveMesh) -> None:
    """Their own namespace alone: others speak mutual TLS where these speak plain text."""
    rule = istio(
        "DestinationRule",
        "api",
        "host: api\ntrafficPolicy: {tls: {mode: DISABLE}}",
        namespace="test",
    )
    with mesh.having(rule):
        assert mesh.call("bob", "http://api.test/").caller == ""
    with mesh.having(rule, mesh_config('defaultDestinationRuleExportTo: ["."]')):
        assert mesh.call("ann", "http://api.test/").caller == ""
        assert mesh.call("bob", "http://api.test/").caller.endswith("/sa/bob")


def _namespace(name: str, era: str) -> str:
    meta = f"metadata: {{name: {name}, labels: {{era: {era}}}}}"
    return f"apiVersion: v1\nkind: Namespace\n{meta}\n---"


_PRESENT: Final = (
    "discoverySelectors:",
    "- matchExpressions: [{key: era, operator: NotIn, values: [past, gone]}]",
    "- matchLabels: {era: past, kept: 'yes'}",
)


def test_namespaces_that_are_not_looked_at_are_not_there(mesh: LiveMesh) -> None:
    """Neither their services nor their rules, for as long as their labels keep them out."""
    guest = service("guest", 21, ("api", 13), namespace="example")
    rule = _routes(
        "{directResponse: {status: 222}}", host="web.test.svc.cluster.local", namespace="example"
    )
    url, web = "http://guest.example/", "http://web.test/"
    with mesh.having(guest, rule, _namespace("example", "past")):
        assert mesh.call("ann", url, at=service_ip(21)).pod == "api"
        assert mesh.call("ann", web).status == 222
    with mesh.having(guest, rule, mesh_config("\n".join(_PRESENT)), _namespace("example", "past")):
        eventually(lambda: "guest.example" not in mesh.admin("ann", "/clusters"), "it is unknown")
        assert mesh.call("ann", web).status == 200
        mesh.write("having-3.yaml", _namespace("example", "new"))
        mesh.settle()
        assert mesh.call("ann", url, at=service_ip(21)).pod == "api"
        assert mesh.call("ann", web).status == 222
        mesh.write("having-3.yaml", _namespace("example", "gone"))
        mesh.settle()
        eventually(lambda: "guest.example" not in mesh.admin("ann", "/clusters"), "it is unknown")
        assert mesh.call("ann", web).status == 200


def test_a_wildcard_takes_every_host_below_it(mesh: LiveMesh) -> None:
    """Also hosts that no service has, on port 80; a more specific rule comes before it."""
    wild = istio(
        "VirtualService",
        "wild",
        """
        hosts: ["*.example.org"]
        http: [{directResponse: {status: 223}}]
        """,
        namespace="test",
    )
    one = istio(
        "VirtualService",
        "one",
        """
        hosts: [one.example.org]
        http: [{directResponse: {status: 224}}]
        """,
        namespace="test",
    )
    at = service_ip(11)
    with mesh.having(wild, one):
        asked = ("any.example.org", "one.example.org", "a.b.example.org")
        got = [mesh.call("ann", f"http://{host}/", at=at).status for host in asked]
    assert got == [223, 224, 223]


def test_an_unknown_host_passes_through(mesh: LiveMesh) -> None:
    """HTTP and TCP to who is not in the mesh go where the connection was going (ALLOW_ANY)."""
    at = pod_ip(9)
    assert mesh.call("ann", f"http://example.org:{HTTP_PORT}/", at=at).pod == "outside"
    assert mesh.tcp("ann", at, TCP_PORT) == b"outside: hello\n"


def test_a_service_entry_makes_a_host_known(mesh: LiveMesh) -> None:
    """A STATIC one with endpoints outside of the mesh: by plaintext, with rules like any other host."""
    entry = istio(
        "ServiceEntry",
        "outside",
        f"""
        hosts: [outside.example.org]
        addresses: [{service_ip(30)}]
        location: MESH_EXTERNAL
        resolution: STATIC
        ports: [{{name: http, number: 80, protocol: HTTP, targetPort: {HTTP_PORT}}}]
        endpoints: [{{address: {pod_ip(9)}}}]
        """,
        namespace="test",
    )
    rule = "{headers: {request: {set: {x-set: mine}}}, route: [{destination: {host: outside.example.org}}]}"
    with mesh.having(entry, _routes(rule, host="outside.example.org")):
        reply = mesh.call("ann", "http://outside.example.org/", at=service_ip(30))
    assert (reply.pod, reply.seen["headers"]["x-set"]) == ("outside", "mine")


def test_tcp_finds_its_service_by_address(mesh: LiveMesh) -> None:
    """Two services on one TCP port are told apart by where the connection was going."""
    assert mesh.tcp("ann", "web", TCP_PORT) == b"web: hello\n"
    assert mesh.tcp("ann", "api", TCP_PORT) == b"api: hello\n"
    assert mesh.tcp("bob", "web.test", ANY_PORT) == b"web: hello\n"


def test_a_headless_service_is_reached_at_its_pods(mesh: LiveMesh) -> None:
    """By HTTP and TCP, exactly that pod, with mutual TLS."""
    for name, number in _WEB_PODS:
        at = pod_ip(number)
        reply = mesh.call("ann", f"http://many:{ANY_PORT}/", at=at)
        assert (reply.pod, reply.caller) == (name, "spiffe://cluster.local/ns/test/sa/ann")
        assert mesh.tcp("ann", at, TCP_PORT) == b"web: hello\n"


def test_a_service_that_comes_and_goes(mesh: LiveMesh) -> None:
    """It is reached once its manifest is in force, and not any more once that is gone."""
    for _ in range(2):
        with mesh.having(service("guest", 21, ("api", 13))):
            assert mesh.call("ann", "http://guest/", at=service_ip(21)).pod == "api"
        eventually(
            lambda: mesh.call("ann", "http://guest/", at=pod_ip(11)).status == 503,
            "the guest is unknown",
        )

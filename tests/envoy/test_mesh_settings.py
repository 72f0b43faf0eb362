"""MeshConfig as clients and callers meet it: what holds where no object says anything."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from contextlib import suppress
from http.client import HTTPException
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.certificates import Issued, TestAuthority
from tests.support.live_manifests import mesh_config
from tests.support.live_mesh import (
    GREETING_PORT,
    HTTP_PORT,
    LiveMesh,
    Reply,
    eventually,
    pod,
    pod_ip,
    service,
    service_ip,
)
from tests.support.small_mesh import istio
from tests.support.tls_visitor import request

if TYPE_CHECKING:
    from collections.abc import Iterator

_WEB: Final = "http://web.test/"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveMesh]:
    """A client and a service; one of its ports greets whoever comes, and says so to nobody."""
    ports = f"http:80:{HTTP_PORT} quiet:{GREETING_PORT}:{GREETING_PORT}"
    files = {
        "web.yaml": pod("web", 11) + service("web", 11, ("web", 11), ports=ports) + pod("ann", 2)
    }
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        yield made


def _rule(policy: str) -> str:
    return istio("DestinationRule", "web", f"host: web\ntrafficPolicy: {policy}", namespace="test")


@pytest.mark.parametrize(
    ("how", "path", "seen"),
    [
        ("NONE", "/a/./b", "/a/./b"),
        ("BASE", "/a/./b//c", "/a/b//c"),
        ("MERGE_SLASHES", "/a//b%2Fc", "/a/b%2Fc"),
        ("DECODE_AND_MERGE_SLASHES", "/a%2F%2Fb", "/a/b"),
    ],
)
def test_paths_are_made_alike(mesh: LiveMesh, how: str, path: str, seen: str) -> None:
    """Before anything looks at them, and for the application too."""
    with mesh.having(mesh_config(f"pathNormalization: {{normalization: {how}}}")):
        url = f"http://web.test{path}"
        eventually(lambda: mesh.call("ann", url).seen.get("path") == seen, f"the path is {seen}")


def test_policies_see_the_path_that_is_made(mesh: LiveMesh) -> None:
    """What is denied at a path is denied however the path is written."""
    rule = "action: DENY\nrules: [{to: [{operation: {paths: [/secret/key]}}]}]"
    policy = istio("AuthorizationPolicy", "secret", rule, namespace="test")
    url = "http://web.test/secret%2Fkey"
    with mesh.having(policy):
        eventually(lambda: mesh.call("ann", "http://web.test/secret/key").status == 403, "denied")
        assert mesh.call("ann", url).status == 200
    with mesh.having(
        policy, mesh_config("pathNormalization: {normalization: DECODE_AND_MERGE_SLASHES}")
    ):
        eventually(lambda: mesh.call("ann", url).status == 403, "denied too")


def test_mutual_tls_is_automatic_unless_it_is_not(mesh: LiveMesh) -> None:
    """A rule may ask for it still."""
    config = mesh_config("enableAutoMtls: false")
    with mesh.having(config):
        eventually(lambda: mesh.call("ann", _WEB).caller == "", "plain text")
    with mesh.having(config, _rule("{tls: {mode: ISTIO_MUTUAL}}")):
        eventually(lambda: mesh.call("ann", _WEB).caller.endswith("/sa/ann"), "mutual TLS")
    eventually(lambda: mesh.call("ann", _WEB).caller.endswith("/sa/ann"), "automatic again")


def test_retries_of_routes_that_say_nothing(mesh: LiveMesh) -> None:
    """As many as the mesh says; a rule's own go first."""
    url = f"{_WEB}?status=503"

    def _attempts() -> str:
        headers = mesh.call("ann", url).seen.get("headers", {})
        return str(headers.get("x-envoy-attempt-count", ""))

    config = mesh_config("defaultHttpRetryPolicy: {attempts: 3, retryOn: 5xx}")
    with mesh.having(config):
        eventually(lambda: _attempts() == "4", "tried four times")
    with mesh.having(config, _without_retries()):
        eventually(lambda: _attempts() == "1", "tried once")


def test_retries_towards_the_application(mesh: LiveMesh) -> None:
    """By its own proxy, which asks again before the client hears of it."""

    def _asked() -> int:
        before = mesh.stats("web", "^cluster.inbound.*upstream_rq_retry$")
        mesh.call("ann", f"{_WEB}?status=503")
        after = mesh.stats("web", "^cluster.inbound.*upstream_rq_retry$")
        return sum(after.values()) - sum(before.values())

    config = "defaultInboundHttpRetryPolicy: {attempts: 2, retryOn: 5xx}"
    with mesh.having(mesh_config(config), _without_retries()):
        eventually(lambda: _asked() == 2, "asked again twice")


def _without_retries() -> str:
    route = "{route: [{destination: {host: web}}], retries: {attempts: 0}}"
    return istio("VirtualService", "web", f"hosts: [web]\nhttp: [{route}]", namespace="test")


def test_connections_are_made_as_the_mesh_says(mesh: LiveMesh) -> None:
    """In its time, and kept alive by as many probes; nobody is there to take this one."""
    config = mesh_config(
        "connectTimeout: 0.2s\ntcpKeepalive: {probes: 4, time: 60s, interval: 10s}"
    )
    with mesh.having(config, service("void", 50, ("nobody", 250))):
        reply = mesh.call("ann", "http://void/", at=service_ip(50))
        dump = mesh.admin("ann", "/config_dump?mask=")
    assert reply.status == 503  # of Envoy's own, the caller would not wait for so long
    assert '"keepalive_probes": 4' in dump


def test_limits_below_all_rules(mesh: LiveMesh) -> None:
    """A rule with limits of its own replaces them all."""

    def _statuses() -> Counter[int]:
        return Counter(reply.status for reply in mesh.at_once("ann", f"{_WEB}?delay=0.3", 6))

    config = mesh_config("defaultTrafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}")
    with mesh.having(config):
        eventually(lambda: _statuses()[503] >= 4, "the limit is in force")
    with mesh.having(config, _rule("{connectionPool: {tcp: {maxConnections: 100}}}")):
        eventually(lambda: _statuses() == {200: 6}, "the rule's own limits are")


def test_http2_goes_on_where_the_mesh_says_so(mesh: LiveMesh) -> None:
    """A rule may say DO_NOT_UPGRADE."""

    def _http2() -> int:
        pattern = r"^cluster.outbound.80..web.*upstream_cx_http2_total$"
        before = sum(mesh.stats("ann", pattern).values())
        mesh.call("ann", _WEB)
        return sum(mesh.stats("ann", pattern).values()) - before

    config = mesh_config("h2UpgradePolicy: UPGRADE")
    with mesh.having(config):
        eventually(lambda: _http2() > 0, "HTTP/2")
    with mesh.having(config, _rule("{connectionPool: {http: {h2UpgradePolicy: DO_NOT_UPGRADE}}}")):
        eventually(lambda: _http2() == 0, "HTTP/1.1")


def test_the_application_may_be_called_on_loopback(mesh: LiveMesh) -> None:
    """Instead of on the address that the client called."""
    with mesh.having(mesh_config("inboundTrafficPolicy: {mode: LOCALHOST}")):
        eventually(lambda: mesh.call("ann", _WEB).seen.get("from") == "127.0.0.1", "from loopback")
    eventually(lambda: mesh.call("ann", _WEB).seen.get("from") == "127.0.0.6", "as before")


def test_who_says_nothing_is_waited_for_as_long_as_the_mesh_says(mesh: LiveMesh) -> None:
    """A server that speaks first on a port that declares nothing is heard then."""
    with mesh.having(mesh_config("protocolDetectionTimeout: 0.1s")):
        eventually(lambda: _greeting(mesh) == b"220 web\r\n", "the server is heard")


def _greeting(mesh: LiveMesh) -> bytes:
    with suppress(TimeoutError):
        return mesh.tcp("ann", service_ip(11), GREETING_PORT, b"")
    return b""


def test_workloads_of_former_trust_domains_are_let_in(mesh: LiveMesh) -> None:
    """Where ``trustDomainAliases`` has theirs; the same root has signed for them."""
    document = json.loads((mesh.mesh.state / "ca" / "authority.json").read_text())
    root = TestAuthority.having(document["root"]["certificate"], document["root"]["key"])
    known, other = (f"spiffe://{name}.example/ns/test/sa/ann" for name in ("old", "other"))
    with mesh.having(mesh_config("trustDomainAliases: [old.example]")):
        eventually(lambda: _showing(mesh, root.issue(known)).caller == known, "the old one is in")
        assert _showing(mesh, root.issue(other)).status == 0
    eventually(lambda: _showing(mesh, root.issue(known)).status == 0, "it is out")


def _showing(mesh: LiveMesh, own: Issued) -> Reply:
    """Return what the server answers to who shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["istio-http/1.1"])
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(own.key + own.chain)
        file.flush()
        context.load_cert_chain(file.name)
    with mesh.connect("", (pod_ip(11), HTTP_PORT)) as plain:
        try:
            with context.wrap_socket(plain) as made:
                return request(made, "web.test")
        except (OSError, HTTPException) as failed:
            return Reply(status=0, failure=str(failed))


def test_old_tls_is_refused_among_workloads(mesh: LiveMesh) -> None:
    """By the server, whatever the client shows."""
    with mesh.having(mesh_config("meshMTLS: {minProtocolVersion: TLSV1_3}")):
        eventually(lambda: "PROTOCOL_VERSION" in _with_tls_12(mesh), "TLS 1.2 is refused")
        # a connection that was open before would prove nothing
        mesh.restart_proxy("ann")
        assert mesh.call("ann", _WEB).caller.endswith("/sa/ann")
        shaken = mesh.stats("ann", r"outbound\|80\|\|web.*ssl.versions")
        assert [name.rpartition("TLSv")[2] for name in shaken] == ["1.3"]
    eventually(lambda: "PROTOCOL_VERSION" not in _with_tls_12(mesh), "TLS 1.2 is taken")


def _with_tls_12(mesh: LiveMesh) -> str:
    """Return why a handshake of TLS 1.2 without a certificate fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["istio"])
    with mesh.connect("", (pod_ip(11), HTTP_PORT)) as plain:
        try:
            with context.wrap_socket(plain):
                return ""
        except ssl.SSLError as error:
            return str(error.reason)

"""Every kind of probe through a real Envoy under strict mutual TLS, asked as the kubelet asks: without one.

The pod's manifest goes through injection as it would at admission; what its proxy's container says is what
runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.settings import InjectSettings
from tests.support.kubelet import ask, start_injected
from tests.support.live_mesh import LiveMesh, Reply, eventually, pod, pod_ip

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER: Final = 11
_STRICT: Final = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: test}
spec: {mtls: {mode: STRICT}}
---"""
_WEB: Final = f"""
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: test
  labels: {{app: web, security.istio.io/tlsMode: istio}}
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "8080"
spec:
  serviceAccountName: web
  containers:
    - name: app
      image: app
      command: [python, /app/probed_app.py]
      args: ["--http=8080", "--https=8443", "--tcp=9000", "--grpc=9090"]
      ports: [{{name: http, containerPort: 8080}}]
      livenessProbe: {{httpGet: {{path: "/live?full=1", port: http}}}}
      readinessProbe: {{tcpSocket: {{port: 9000}}, periodSeconds: 1}}
      startupProbe: {{grpc: {{port: 9090, service: shop.Web}}, periodSeconds: 1}}
      lifecycle: {{preStop: {{httpGet: {{path: /bye, port: 8080}}}}}}
    - name: other
      image: app
      livenessProbe:
        httpGet:
          {{path: /tls, port: 8443, scheme: HTTPS, httpHeaders: [{{name: Host, value: web.example.com}}]}}
      readinessProbe: {{httpGet: {{path: "/?status=418", port: 8080}}}}
      startupProbe: {{httpGet: {{path: "/?status=302&location=/else", port: 8080}}}}
status: {{podIP: {pod_ip(_NUMBER)}}}
---"""

Pod = dict[str, Any]


@pytest.fixture(scope="module")
def web() -> Pod:
    """The pod as it runs on a cluster too old for native sidecars, which has more on 15020."""
    written: Pod = yaml.safe_load(_WEB.replace("---", ""))
    return inject_pod(written, InjectSettings(native_sidecars=False, linger_seconds=1)).pod


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, web: Pod) -> Iterator[LiveMesh]:
    """A mesh in which nobody without a certificate is let in, and the injected proxy of one pod."""
    files = {"web.yaml": _WEB, "strict.yaml": _STRICT, "ann.yaml": pod("ann", 2)}
    with LiveMesh(tmp_path_factory.mktemp("mesh"), files) as made:
        made.kill_proxy("web")
        start_injected(made, web)
        made.settle()
        yield made


def _set(mesh: LiveMesh, wish: str) -> None:
    assert mesh.call("web", f"http://127.0.0.1:8080/set?{wish}").status == 200


def _outside(mesh: LiveMesh, address: str, method: str = "GET") -> Reply:
    return mesh.call("", f"http://{pod_ip(_NUMBER)}:{address}", method=method)


def test_the_application_itself_is_closed_to_the_node(mesh: LiveMesh) -> None:
    """Under strict mutual TLS the kubelet's own way would fail, which is why probes are rewritten."""
    assert _outside(mesh, "8080/live").status == 0


def test_http_is_asked_of_the_application(mesh: LiveMesh, web: Pod) -> None:
    """The application sees the path, query and Host that the kubelet would have sent, from 127.0.0.6."""
    seen = ask(mesh, web, "app", "livenessProbe").seen
    assert seen["path"] == "/live?full=1"
    assert seen["headers"]["host"] == f"{pod_ip(_NUMBER)}:8080"
    assert (seen["from"], seen["port"]) == ("127.0.0.6", 8080)
    assert not any(name.startswith("x-envoy") for name in seen["headers"])


def test_http_says_what_the_application_says(mesh: LiveMesh, web: Pod) -> None:
    """A status comes through as it is, good or bad."""
    _set(mesh, "live=off")
    try:
        assert ask(mesh, web, "app", "livenessProbe").status == 500
    finally:
        _set(mesh, "live=on")
    assert ask(mesh, web, "app", "livenessProbe").status == 200
    assert ask(mesh, web, "other", "readinessProbe").status == 418


def test_a_redirect_is_a_success_that_leads_nowhere(mesh: LiveMesh, web: Pod) -> None:
    """The kubelet takes it as healthy, and is not sent to a path that is closed to it."""
    reply = ask(mesh, web, "other", "startupProbe")
    assert reply.status == 302
    assert "location" not in reply.headers


def test_https_is_asked_over_tls_without_verifying(mesh: LiveMesh, web: Pod) -> None:
    """The application's own certificate is taken, as the kubelet takes it, and its Host header kept."""
    seen = ask(mesh, web, "other", "livenessProbe").seen
    assert (seen["path"], seen["port"]) == ("/tls", 8443)
    assert seen["headers"]["host"] == "web.example.com"


def test_tcp_says_whether_the_port_is_open(mesh: LiveMesh, web: Pod) -> None:
    """Envoy's own check: 200 while connections are taken, 503 while not."""
    eventually(lambda: ask(mesh, web, "app", "readinessProbe").status == 200, "it is open")
    _set(mesh, "tcp=off")
    eventually(lambda: ask(mesh, web, "app", "readinessProbe").status == 503, "it is closed")
    _set(mesh, "tcp=on")
    eventually(lambda: ask(mesh, web, "app", "readinessProbe").status == 200, "it is open again")


def test_grpc_says_what_the_health_service_says(mesh: LiveMesh, web: Pod) -> None:
    """The service that the probe names is asked for, and NOT_SERVING is 503."""
    eventually(lambda: ask(mesh, web, "app", "startupProbe").status == 200, "it serves")
    assert ask(mesh, web, "app", "livenessProbe").seen["services"] == ["shop.Web"]
    _set(mesh, "grpc=off")
    eventually(lambda: ask(mesh, web, "app", "startupProbe").status == 503, "it does not")
    _set(mesh, "grpc=on")
    eventually(lambda: ask(mesh, web, "app", "startupProbe").status == 200, "it serves again")


def test_a_hook_reaches_the_application(mesh: LiveMesh, web: Pod) -> None:
    """A preStop hook over HTTP comes to the path that it names."""
    assert ask(mesh, web, "app", "preStop").seen["path"] == "/bye"


@pytest.mark.parametrize(
    "path", ["/", "/live", "/app-health/app", "/app-health/app/livez/x", "/set"]
)
def test_nothing_else_is_opened(mesh: LiveMesh, path: str) -> None:
    """15020 answers for the paths that the pod's spec names, and is no way around the rest."""
    assert _outside(mesh, f"15020{path}").status == 404


def test_metrics_are_the_proxys_and_the_applications(mesh: LiveMesh) -> None:
    """One page has both, in a form that Prometheus reads."""
    reply = _outside(mesh, "15020/stats/prometheus")
    text = reply.body.decode()
    assert reply.status == 200
    assert "app_requests_total 7" in text
    assert "envoy_server_live" in text
    assert "text/plain" in reply.headers["content-type"]
    assert len(reply.body) == int(reply.headers["content-length"])


def test_a_hook_that_waits_is_answered_late(mesh: LiveMesh) -> None:
    """An ordinary sidecar's preStop hook: the answer comes when the time has passed."""
    before = mesh.stats("web", "^http.application.fault.delays_injected$")
    assert _outside(mesh, "15020/linger").status == 200
    after = mesh.stats("web", "^http.application.fault.delays_injected$")
    assert sum(after.values()) == sum(before.values()) + 1


def test_only_the_pod_itself_ends_its_proxy(mesh: LiveMesh, web: Pod) -> None:
    """``/quitquitquit`` is for a Job that is done, and for nobody outside of it."""
    assert _outside(mesh, "15020/quitquitquit", "POST").status == 404
    inside = f"http://{pod_ip(_NUMBER)}:15020/quitquitquit"
    mesh.call("web", inside, method="POST")
    pid = mesh.mesh._pids[f"envoy {mesh.pod('web').network}"]
    assert mesh.mesh.realm.wait(pid, 20.0).code == 0
    start_injected(mesh, web)

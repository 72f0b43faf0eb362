"""Pods and services of a live mesh, as manifests: what a test leaves out is written here.

A pod has the application of :mod:`tests.support.live_app`, on the same ports everywhere.
"""

from __future__ import annotations

import json
from textwrap import indent
from typing import Final

NAMESPACE: Final = "test"


def pod(
    name: str,
    number: int,
    *,
    app: str = "",
    version: str = "v1",
    namespace: str = NAMESPACE,
    sidecar: bool = True,
    more_labels: str = "",
    captured: bool = True,
) -> str:
    """Return a pod with the application of :mod:`tests.support.live_app` on its usual ports.

    Its address ends in ``number``, and its service account is called as its app is.
    """
    app = app or name
    of = f"app: {app}, version: {version}"
    labels = f"{of}, security.istio.io/tlsMode: istio" if sidecar else of
    mode = "" if captured else ", sidecar.istio.io/interceptionMode: NONE"
    words = [f"--name={app}", f"--version={version}", *_port_words()]
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{{labels}{more_labels}}}
  annotations: {{sidecar.istio.io/inject: "{str(sidecar).lower()}"{mode}}}
spec:
  serviceAccountName: {app}
  containers:
    - name: app
      image: app
      command: [python, /app/live_app.py]
      args: {json.dumps(words)}
status: {{podIP: {pod_ip(number)}}}
---"""


def router(name: str, number: int, *, namespace: str = NAMESPACE) -> str:
    """Return a pod that is an Envoy alone, with the labels ``app`` and ``istio`` of its name."""
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: {namespace}
  labels: {{app: {name}, istio: {name}, security.istio.io/tlsMode: istio}}
spec:
  serviceAccountName: {name}
  containers:
    - name: istio-proxy
      image: envoy
      args: [proxy, router]
status: {{podIP: {pod_ip(number)}}}
---"""


HTTP_PORT: Final = 8080
TCP_PORT: Final = 9000
GREETING_PORT: Final = 9001
ANY_PORT: Final = 7000
UNDECLARED_PORT: Final = 5555
# What a service has unless it says otherwise: name, its port, the pods' port.
PORTS: Final = (
    f"http:80:{HTTP_PORT} tcp:{TCP_PORT}:{TCP_PORT} "
    f"tcp-greeting:{GREETING_PORT}:{GREETING_PORT} any:{ANY_PORT}:{ANY_PORT}"
)


def service(
    name: str,
    number: int,
    *pods: tuple[str, int],
    ports: str = PORTS,
    namespace: str = NAMESPACE,
    export_to: str = "",
    headless: bool = False,
) -> str:
    """Return a Service and its EndpointSlice; its address ends in ``number``, its pods' in theirs."""
    triples = [text.split(":") for text in ports.split()]
    listed = ", ".join(f"{{name: {n}, port: {p}, targetPort: {t}}}" for n, p, t in triples)
    targets = ", ".join(f"{{name: {n}, port: {t}, protocol: TCP}}" for n, _p, t in triples)
    endpoints = "".join(
        f"\n  - addresses: [{pod_ip(at)}]\n    conditions: {{ready: true}}"
        f"\n    targetRef: {{kind: Pod, name: {of}, namespace: {namespace}}}"
        for of, at in pods
    )
    annotations = f"networking.istio.io/exportTo: '{export_to}'" if export_to else ""
    return f"""
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: {namespace}
  annotations: {{{annotations}}}
spec:
  clusterIP: {"None" if headless else service_ip(number)}
  selector: {{app: {name}}}
  ports: [{listed}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports: [{targets}]
endpoints:{endpoints or " []"}
---"""


def mesh_config(text: str, name: str = "mizzen") -> str:
    """Return the ConfigMap that has the mesh's settings; ``istio`` is its other name."""
    return (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\n"
        f"data:\n  mesh: |\n{indent(text, '    ')}\n"
    )


def pod_ip(number: int) -> str:
    """Return a pod's address."""
    return f"10.44.0.{number}"


def service_ip(number: int) -> str:
    """Return a service's address."""
    return f"10.96.0.{number}"


def _port_words() -> list[str]:
    words = [f"--port={port}" for port in (HTTP_PORT, TCP_PORT, ANY_PORT, UNDECLARED_PORT)]
    return [*words, f"--greeting-port={GREETING_PORT}"]

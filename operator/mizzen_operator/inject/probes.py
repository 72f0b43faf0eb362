"""Probes and hooks of the application, rewritten so that they work under strict mutual TLS.

The kubelet has no certificate. What it asks over the network (HTTP, HTTPS, TCP, gRPC; probes, and hooks by
HTTP) is turned towards 15020, where Envoy hands it on or answers from its own health checks
(:mod:`mizzen.render.application`). Only port, path and scheme change: headers, Host included, are sent by the
kubelet as before. What runs in the container (exec, sleep) stays, and so does what asks another host.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from mizzen.render.application import STATUS_PORT, GrpcCheck, HttpCheck, TcpCheck
from mizzen_operator.inject import raw
from mizzen_operator.inject.decide import PROXY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mizzen.render.application import Check
    from mizzen_operator.inject.raw import Json

# Field of a container, and the last part of the path that it gets (Istio's).
_PROBES: Final = {"startupProbe": "startupz", "livenessProbe": "livez", "readinessProbe": "readyz"}
_HOOKS: Final = {"postStart": "poststartz", "preStop": "prestopz"}
_LOCAL: Final = ("", "localhost", "127.0.0.1", "::1")
# Kubernetes' own defaults, in seconds.
_PERIOD: Final = 10
_TIMEOUT: Final = 1
_SHORTEST_INTERVAL: Final = timedelta(seconds=1)


def rewrite_probes(pod: Json) -> tuple[Check, ...]:
    """Rewrite a pod's probes and hooks in place; return what Envoy has to answer for them."""
    return tuple(check for one in _applications(pod) for check in _rewrite(one))


def _applications(pod: Json) -> Iterator[Json]:
    return (one for one in raw.lasting_containers(pod) if one.get("name") != PROXY)


def _rewrite(container: Json) -> Iterator[Check]:
    name = container.get("name", "")
    for field, last in _PROBES.items():
        if probe := container.get(field):
            yield from _rewrite_action(probe, f"/app-health/{name}/{last}", container, probe)
    lifecycle = container.get("lifecycle") or {}
    for field, last in _HOOKS.items():
        if (hook := lifecycle.get(field)) and "httpGet" in hook:
            yield from _rewrite_action(hook, f"/app-lifecycle/{name}/{last}", container, None)


def _rewrite_action(
    action: Json, path: str, container: Json, probe: Json | None
) -> Iterator[Check]:
    """Rewrite one action in place and yield the check for it; nothing where it stays as it is."""
    check = _check(action, path, container, probe or {})
    if check is None:
        return
    headers = (action.get("httpGet") or {}).get("httpHeaders")
    for kind in ("httpGet", "tcpSocket", "grpc"):
        action.pop(kind, None)
    action["httpGet"] = {"path": path, "port": STATUS_PORT}
    if headers:
        action["httpGet"]["httpHeaders"] = headers
    if probe is None and isinstance(check, HttpCheck):
        check = replace(check, timeout=None)  # a hook may take as long as the pod's grace allows
    yield check


def _check(action: Json, path: str, container: Json, probe: Json) -> Check | None:
    timeout = timedelta(seconds=probe.get("timeoutSeconds") or _TIMEOUT)
    half = timedelta(seconds=probe.get("periodSeconds") or _PERIOD) / 2
    interval = max(half, _SHORTEST_INTERVAL)
    if (http := action.get("httpGet")) is not None:
        return _http(http, path, container, timeout)
    if (tcp := action.get("tcpSocket")) is not None and tcp.get("host", "") in _LOCAL:
        number = _number(tcp.get("port"), container)
        if number is None:
            return None
        return TcpCheck(path=path, port=number, interval=interval, timeout=timeout)
    if (grpc := action.get("grpc")) is not None and (number := grpc.get("port")):
        return GrpcCheck(
            path=path,
            port=number,
            service=grpc.get("service") or "",
            interval=interval,
            timeout=timeout,
        )
    return None


def _http(http: Json, path: str, container: Json, timeout: timedelta) -> HttpCheck | None:
    number = _number(http.get("port"), container)
    if number is None or http.get("host", "") not in _LOCAL:
        return None
    target = http.get("path") or "/"
    headers = http.get("httpHeaders") or []
    return HttpCheck(
        path=path,
        port=number,
        target=target if target.startswith("/") else f"/{target}",
        tls=http.get("scheme", "HTTP").upper() == "HTTPS",
        keeps_host=any(header.get("name", "").lower() == "host" for header in headers),
        timeout=timeout,
    )


def _number(port: object, container: Json) -> int | None:
    """Return the number of a port; None where a name is not declared, and where it is the proxy's own."""
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            port = declared.get("containerPort")
    if isinstance(port, str) and port.isdecimal():
        port = int(port)
    return port if isinstance(port, int) and port not in (0, STATUS_PORT) else None

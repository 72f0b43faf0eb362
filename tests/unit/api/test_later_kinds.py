"""Kinds of which nothing is made yet are read whole, checked as Istio checks them, and told of."""

from __future__ import annotations

import pytest

from mizzen.model.noted import Noted
from tests.unit.api.reading import errors, read_manifest, read_spec, told

pytestmark = pytest.mark.unit


def test_every_object_is_told_of_once() -> None:
    """On its spec; it is an object all the same."""
    for label, parsed in read_manifest("later_kinds.yaml").items():
        assert isinstance(parsed.object, Noted), label
        assert [(code, path) for code, path, _ in told(parsed)] == [("MZ0201", "spec")], label


_PROBE = "{template: {}, probe: {%s}}"
_PATCH = "configPatches: [{applyTo: %s, %s}]"
_REMOVE = "patch: {operation: REMOVE}"
_LISTENER = "match: {listener: {filterChain: {filter: {%s}}}}, patch: {operation: REMOVE}"
_MANAGER = "name: envoy.filters.network.http_connection_manager"
_BACKEND = "{service: {name: a, port: {number: 80}}}"
_PATH = "rules: [{http: {paths: [{%s}]}}]"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Telemetry", "tracing: [{}]"),
        ("Telemetry", "tracing: [{randomSamplingPercentage: 100}]"),
        ("Telemetry", "metrics: [{overrides: [{match: {metric: ALL_METRICS}, disabled: true}]}]"),
        ("Telemetry", "metrics: [{overrides: [{tagOverrides: {a: {value: b}}}]}]"),
        ("Telemetry", "accessLogging: [{providers: [{name: envoy}]}]"),
        ("Telemetry", "accessLogging: [{disabled: true}]"),
        ("WasmPlugin", "url: a"),
        ("WasmPlugin", "url: registry.example:5000/a/b:v1"),
        ("WasmPlugin", "url: http://a.example/b.wasm"),
        ("WasmPlugin", "url: https://a.example/b.wasm"),
        ("WasmPlugin", "url: file:///a.wasm"),
        ("WasmPlugin", "url: oci://a.example/b"),
        ("WasmPlugin", "{url: a, sha256: ''}"),
        ("WasmPlugin", "{url: a, priority: -5, match: [{ports: []}]}"),
        ("ProxyConfig", "concurrency: 2"),
        ("ProxyConfig", "{concurrency: 1, environmentVariables: {A: ''}}"),
        ("WorkloadGroup", "template: {serviceAccount: a}"),
        ("WorkloadGroup", "{template: {}, metadata: {labels: {a: b}}}"),
        ("WorkloadGroup", _PROBE % "tcpSocket: {port: 1}"),
        ("WorkloadGroup", _PROBE % "httpGet: {port: 65535}"),
        ("WorkloadGroup", _PROBE % "httpGet: {port: 80, scheme: HTTPS}"),
        ("WorkloadGroup", _PROBE % "exec: {command: [a, b]}"),
        ("WorkloadGroup", _PROBE % "grpc: {port: 80}"),
        ("EnvoyFilter", _PATCH % ("CLUSTER", _REMOVE)),
        ("EnvoyFilter", _PATCH % ("BOOTSTRAP", "patch: {operation: MERGE, value: {a: 1}}")),
        ("EnvoyFilter", _PATCH % ("HTTP_FILTER", _LISTENER % _MANAGER)),
        (
            "EnvoyFilter",
            _PATCH % ("HTTP_FILTER", _LISTENER % f"{_MANAGER}, subFilter: {{name: a}}"),
        ),
        ("EnvoyFilter", _PATCH % ("LISTENER_FILTER", "match: {listener: {}}, " + _REMOVE)),
        ("EnvoyFilter", _PATCH % ("HTTP_ROUTE", "match: {routeConfiguration: {}}, " + _REMOVE)),
        ("EnvoyFilter", _PATCH % ("CLUSTER", "match: {context: GATEWAY}, " + _REMOVE)),
        ("EnvoyFilter", "{priority: -1, configPatches: []}"),
        ("Ingress", f"defaultBackend: {_BACKEND}"),
        ("Ingress", "rules: [{host: a.example}]"),
        ("Ingress", "rules: [{host: '*.example'}]"),
        ("Ingress", _PATH % f"path: /, pathType: Exact, backend: {_BACKEND}"),
        ("Ingress", _PATH % f"pathType: ImplementationSpecific, backend: {_BACKEND}"),
    ],
)
def test_a_sound_object_is_only_told_of(kind: str, spec: str) -> None:
    """Nothing else is said."""
    parsed = read_spec(kind, spec)
    assert isinstance(parsed.object, Noted)
    assert [(code, path) for code, path, _ in told(parsed)] == [("MZ0201", "spec")]


@pytest.mark.parametrize("kind", ["Telemetry", "WasmPlugin"])
@pytest.mark.parametrize(
    ("spec", "code", "path"),
    [
        ("selector: {matchLabels: {a: 'b*'}}", "MZ0103", "selector.matchLabels.a"),
        ("selector: {matchLabels: {'a*': b}}", "MZ0103", "selector.matchLabels[a*]"),
        ("selector: {matchLabels: {a: 7}}", "MZ0103", "selector.matchLabels.a"),
        ("targetRefs: [{name: a}]", "MZ0104", "targetRefs[0].kind"),
        ("targetRefs: [{kind: A, name: ''}]", "MZ0103", "targetRefs[0].name"),
        (
            "targetRefs: [{kind: Service, name: a, namespace: b}]",
            "MZ0103",
            "targetRefs[0].namespace",
        ),
        ("targetRef: {kind: Service, name: a, namespace: b}", "MZ0103", "targetRef.namespace"),
        (
            "selector: {matchLabels: {a: b}}, targetRefs: [{kind: Service, name: a}]",
            "MZ0202",
            "targetRefs",
        ),
    ],
)
def test_mistakes_of_a_reach_are_errors(kind: str, spec: str, code: str, path: str) -> None:
    """Of every kind that selects workloads or names targets."""
    more = "url: a, " if kind == "WasmPlugin" else ""
    parsed = read_spec(kind, f"{{{more}{spec}}}")
    assert parsed.object is None
    assert [(each, where) for each, where, _ in errors(parsed)] == [(code, f"spec.{path}")]


@pytest.mark.parametrize(
    ("kind", "spec", "code", "path"),
    [
        (
            "Telemetry",
            "metrics: [{providers: [{name: ''}]}]",
            "MZ0103",
            "metrics[0].providers[0].name",
        ),
        ("WasmPlugin", "{url: a, pluginName: ''}", "MZ0103", "pluginName"),
        ("WasmPlugin", "{url: a, imagePullPolicy: Never}", "MZ0103", "imagePullPolicy"),
        ("WasmPlugin", "{url: a, type: TCP}", "MZ0103", "type"),
        ("WasmPlugin", "{url: a, pluginConfig: [1]}", "MZ0103", "pluginConfig"),
        ("WasmPlugin", "{url: a, match: [{ports: [{}]}]}", "MZ0104", "match[0].ports[0].number"),
        ("WasmPlugin", "{url: a, match: [{mode: BOTH}]}", "MZ0103", "match[0].mode"),
        ("WasmPlugin", "{url: a, vmConfig: {env: [{name: ''}]}}", "MZ0103", "vmConfig.env[0].name"),
        ("ProxyConfig", "selector: {matchLabels: {a: '*'}}", "MZ0103", "selector.matchLabels.a"),
        (
            "WorkloadGroup",
            "{template: {}, metadata: {labels: {a: 'b*'}}}",
            "MZ0103",
            "metadata.labels.a",
        ),
        ("WorkloadGroup", "template: {labels: {a: '!'}}", "MZ0103", "template.labels.a"),
        ("WorkloadGroup", "template: {ports: {http: 0}}", "MZ0103", "template.ports.http"),
        ("WorkloadGroup", _PROBE % "tcpSocket: {port: 65536}", "MZ0103", "probe.tcpSocket.port"),
        ("WorkloadGroup", _PROBE % "tcpSocket: {}", "MZ0104", "probe.tcpSocket.port"),
        (
            "EnvoyFilter",
            "workloadSelector: {labels: {a: '*'}}",
            "MZ0103",
            "workloadSelector.labels.a",
        ),
        (
            "EnvoyFilter",
            "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: a, namespace: b}]",
            "MZ0103",
            "targetRefs[0].namespace",
        ),
        ("EnvoyFilter", "priority: high", "MZ0103", "priority"),
        ("Ingress", "rules: [{http: {paths: []}}]", "MZ0103", "rules[0].http.paths"),
        (
            "Ingress",
            _PATH % f"path: a, pathType: Prefix, backend: {_BACKEND}",
            "MZ0103",
            "rules[0].http.paths[0].path",
        ),
        (
            "Ingress",
            _PATH % f"pathType: Exact, backend: {_BACKEND}",
            "MZ0103",
            "rules[0].http.paths[0].path",
        ),
        (
            "Ingress",
            _PATH % f"path: /, pathType: Regex, backend: {_BACKEND}",
            "MZ0103",
            "rules[0].http.paths[0].pathType",
        ),
        ("Ingress", _PATH % "path: /, pathType: Exact", "MZ0104", "rules[0].http.paths[0].backend"),
        (
            "Ingress",
            f"{{defaultBackend: {_BACKEND}, tls: [{{hosts: [10.0.0.1]}}]}}",
            "MZ0103",
            "tls[0].hosts[0]",
        ),
    ],
)
def test_mistakes_are_errors(kind: str, spec: str, code: str, path: str) -> None:
    """At their field, and the object is not in force."""
    parsed = read_spec(kind, spec)
    assert parsed.object is None
    assert [(each, where) for each, where, _ in errors(parsed)] == [(code, f"spec.{path}")]


@pytest.mark.parametrize("kind", ["WasmPlugin", "WorkloadGroup"])
def test_some_kinds_need_a_spec(kind: str) -> None:
    """Where without it there would be nothing to say."""
    parsed = read_spec(kind, "").object
    assert parsed is None

"""What injection takes care of beyond the goldens: order, ends, probes that stay, and names."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from mizzen_operator.inject.pod import inject_pod
from mizzen_operator.inject.raw import InjectionRefused
from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.inject.workload import canonical_labels, workload_name
from tests.support.kubelet import arguments, container, expanded

if TYPE_CHECKING:
    from mizzen_operator.inject.raw import Json

_SETTINGS: Final = InjectSettings()


def _pod(*containers: Json, annotations: dict[str, str] | None = None, **spec: object) -> Json:
    metadata = {"name": "web", "namespace": "shop", "annotations": annotations or {}}
    return {
        "metadata": metadata,
        "spec": {"containers": list(containers) or [{"name": "app"}], **spec},
    }


def _injected(pod: Json, settings: InjectSettings = _SETTINGS) -> Json:
    return inject_pod(pod, settings).pod


def test_init_containers_come_after_the_proxy() -> None:
    """Capture first, the proxy next: what a user's init container sends finds its way."""
    pod = _injected(_pod(initContainers=[{"name": "migrate"}, {"name": "warm"}]))
    names = [one["name"] for one in pod["spec"]["initContainers"]]
    assert names == ["istio-init", "istio-proxy", "migrate", "warm"]


def test_an_old_cluster_gets_an_ordinary_container() -> None:
    """Before 1.29 init containers end; the proxy then lingers at its end by a hook."""
    pod = _injected(_pod(), _SETTINGS.for_version(1, 28))
    assert [one["name"] for one in pod["spec"]["containers"]] == ["app", "istio-proxy"]
    hook = container(pod, "istio-proxy")["lifecycle"]["preStop"]
    assert hook == {"httpGet": {"path": "/linger", "port": 15020}}
    assert "lifecycle" not in container(pod, "app")


def test_a_pod_may_ask_for_an_ordinary_container() -> None:
    """Istio's annotation says so."""
    asked = {"sidecar.istio.io/nativeSidecar": "false"}
    pod = _injected(_pod(annotations=asked))
    assert "istio-proxy" in [one["name"] for one in pod["spec"]["containers"]]


def test_an_application_serves_on_until_its_clients_know() -> None:
    """Who has a hook keeps it; a task, and a pod in a hurry, end at once."""
    sleeping = {"preStop": {"sleep": {"seconds": 5}}}
    own = {"preStop": {"exec": {"command": ["drain"]}}}
    assert container(_injected(_pod()), "app")["lifecycle"] == sleeping
    assert container(_injected(_pod({"name": "app", "lifecycle": own})), "app")["lifecycle"] == own
    for pod in (
        _pod(restartPolicy="Never"),
        _pod(terminationGracePeriodSeconds=9),
        _pod(annotations={"sidecar.mizzen.dev/holdApplicationSeconds": "0"}),
    ):
        assert "lifecycle" not in container(_injected(pod), "app")


_HTTP: Final = {"httpGet": {"path": "/", "port": 80}}


@pytest.mark.parametrize(
    "probe",
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"path": "/", "port": 80, "host": "example.com"}},
        {"httpGet": {"path": "/", "port": "undeclared"}},
        {"tcpSocket": {"port": 80, "host": "10.0.0.1"}},
        {"httpGet": {"path": "/mine", "port": 15020}},
    ],
)
def test_a_probe_that_needs_no_help_stays(probe: Json) -> None:
    """What runs inside, what asks somebody else, and what cannot be understood."""
    pod = _injected(_pod({"name": "app", "livenessProbe": probe}))
    assert container(pod, "app")["livenessProbe"] == probe


def test_probes_stay_where_they_are_to() -> None:
    """By annotation, and where nothing is captured."""
    for asked in (
        {"sidecar.istio.io/rewriteAppHTTPProbers": "false"},
        {"sidecar.istio.io/interceptionMode": "NONE"},
    ):
        pod = _injected(_pod({"name": "app", "livenessProbe": _HTTP}, annotations=asked))
        assert container(pod, "app")["livenessProbe"] == _HTTP


@pytest.mark.parametrize("mode", ["NONE", "TPROXY"])
def test_how_a_pod_is_captured_is_written_on_it(mode: str) -> None:
    """Whoever said it: by it the control plane knows how connections come."""
    asked = {"proxy.istio.io/config": f"interceptionMode: {mode}"}
    pod = _injected(_pod({"name": "app"}, annotations=asked))
    assert pod["metadata"]["annotations"]["sidecar.istio.io/interceptionMode"] == mode


def test_a_users_own_native_sidecar_is_probed_too() -> None:
    """It lasts as the application does."""
    own = {"name": "logs", "restartPolicy": "Always", "startupProbe": _HTTP}
    pod = _injected(_pod(initContainers=[own]))
    probe = container(pod, "logs")["startupProbe"]
    assert probe == {"httpGet": {"path": "/app-health/logs/startupz", "port": 15020}}


def test_only_the_kubelets_variables_are_filled_in() -> None:
    """What looks like one in a pod's own words is handed to Envoy as it was written."""
    target = {"httpGet": {"path": "/$(HOME)/$$/$(POD_NAME", "port": 80}}
    pod = _injected(_pod({"name": "app", "livenessProbe": target}))
    bootstrap = json.loads(arguments(pod, "10.0.0.7")[1])
    assert bootstrap["node"]["id"] == "sidecar~10.0.0.7~web.shop~shop.svc.cluster.local"
    assert '/$(HOME)/$$/$(POD_NAME"' in json.dumps(bootstrap)


def test_kubernetes_rules_of_expansion_are_what_tests_go_by() -> None:
    """Known names are replaced, unknown ones stay, two dollars are one."""
    assert expanded("$(A) $(B) $$(A) $A", {"A": "x"}) == "x $(B) $(A) $A"


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({}, 2**31 - 1),
        ({"connectionSettings": {"globalDownstreamConnectionLimit": 7}}, 7),
        ({"proxyMetadata": {"ISTIO_META_GLOBAL_DOWNSTREAM_MAX_CONNECTIONS": "8"}}, 8),
        ({"connectionSettings": "x"}, 2**31 - 1),
    ],
)
def test_a_proxy_takes_as_many_clients_as_its_pod_says(config: Json, limit: int) -> None:
    """All of its listeners together, but for those that say how it is."""
    pod = _injected(_pod(annotations={"proxy.istio.io/config": json.dumps(config)}))
    bootstrap = json.loads(_argument(pod, "--config-yaml"))
    (monitor,) = bootstrap["overload_manager"]["resource_monitors"]
    assert int(monitor["typed_config"]["max_active_downstream_connections"]) == limit
    spared = [
        one.get("ignore_global_conn_limit", False)
        for one in bootstrap["static_resources"]["listeners"]
    ]
    assert set(spared) == {limit < 2**31 - 1}


def _argument(pod: Json, name: str) -> str:
    words = arguments(pod, "10.0.0.1")
    return str(words[words.index(name) + 1])


@pytest.mark.parametrize(
    ("template", "config", "told"),
    [
        ("sidecar", {"connectionSettings": {"globalDownstreamConnectionLimit": 7}}, []),
        ("sidecar", {"connectionSettings": {"profile": "EDGE"}}, ["connectionSettings"]),
        ("sidecar", {"gatewayTopology": {}, "tracing": {}}, ["gatewayTopology", "tracing"]),
        ("gateway", {"connectionSettings": {"profile": "EDGE"}, "gatewayTopology": {}}, []),
        ("gateway", {"tracing": {}}, ["tracing"]),
    ],
)
def test_what_a_pod_asks_for_in_vain_is_told_of(
    template: str, config: Json, told: list[str]
) -> None:
    """What a gateway bears with of its clients is the control plane's to read."""
    annotations = {
        "proxy.istio.io/config": json.dumps(config),
        "inject.istio.io/templates": template,
    }
    own = {"name": "istio-proxy", "image": "auto"}
    pod = _pod(*([own] if template == "gateway" else []), annotations=annotations)
    found = inject_pod(pod, _SETTINGS).warnings
    assert list(found) == [
        f"proxy.istio.io/config: {name} is not supported; it is ignored" for name in told
    ]


def test_a_limit_that_is_none_is_refused() -> None:
    """As all that cannot be read."""
    config = json.dumps({"connectionSettings": {"globalDownstreamConnectionLimit": "many"}})
    with pytest.raises(InjectionRefused, match="'many' is not a number of connections"):
        inject_pod(_pod(annotations={"proxy.istio.io/config": config}), _SETTINGS)


def test_a_proxy_has_as_many_threads_as_its_limit_pays_for() -> None:
    """Rounded up; what the pod says itself comes first."""
    for limit, threads in (("100m", "1"), ("2500m", "3"), ("4", "4"), ("nonsense", "2")):
        pod = _injected(_pod(annotations={"sidecar.istio.io/proxyCPULimit": limit}))
        words = container(pod, "istio-proxy")["args"]
        assert words[words.index("--concurrency") + 1] == threads


@pytest.mark.parametrize(
    ("labels", "owner", "name"),
    [
        ({"pod-template-hash": "7d9f8"}, ("ReplicaSet", "web-v1-7d9f8"), "web-v1"),
        ({}, ("ReplicaSet", "bare"), "bare"),
        ({}, ("StatefulSet", "db"), "db"),
        ({}, ("Job", "report-28391040"), "report"),
        ({}, ("Job", "once"), "once"),
    ],
)
def test_a_workload_is_who_made_the_pod(
    labels: dict[str, str], owner: tuple[str, str], name: str
) -> None:
    """Deployments and CronJobs are seen through what they make."""
    reference = {"kind": owner[0], "name": owner[1], "controller": True}
    assert workload_name({"metadata": {"labels": labels, "ownerReferences": [reference]}}) == name


def test_a_pod_of_nobodys_is_its_own_workload() -> None:
    """By its name, or what its name will begin with."""
    assert workload_name({"metadata": {"name": "alone"}}) == "alone"
    assert workload_name({"metadata": {"generateName": "alone-"}}) == "alone"


def test_canonical_labels_are_kept_where_they_are_given() -> None:
    """Istio's precedence; a name too long for a label is cut."""
    given = {
        "service.istio.io/canonical-name": "shop",
        "app.kubernetes.io/name": "web",
        "version": "v2",
    }
    labels = canonical_labels({"metadata": {"name": "x", "labels": given}})
    assert labels == {
        "service.istio.io/canonical-name": "shop",
        "service.istio.io/canonical-revision": "v2",
    }
    long = canonical_labels({"metadata": {"name": "n" * 80}})
    assert long["service.istio.io/canonical-name"] == "n" * 63


def test_pull_secrets_and_policy_are_the_meshs() -> None:
    """They are added to what the pod has."""
    settings = replace(
        _SETTINGS, image_pull_secrets=("mesh",), image_pull_policy="Always", init_image="init"
    )
    pod = _injected(_pod(imagePullSecrets=[{"name": "own"}]), settings)
    assert pod["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "mesh"}]
    for name in ("istio-init", "istio-proxy"):
        assert container(pod, name)["imagePullPolicy"] == "Always"
    status = json.loads(pod["metadata"]["annotations"]["sidecar.istio.io/status"])
    assert status["imagePullSecrets"] == ["mesh"]


@pytest.mark.parametrize(
    ("image", "policy", "told"),
    [("auto", "Always", None), ("auto", "Never", "Never"), ("my/envoy:1", "Always", "Always")],
)
def test_a_pull_policy_that_goes_with_no_image_is_nobodys_wish(
    image: str, policy: str, told: str | None
) -> None:
    """Of ``image: auto`` the API server makes Always, before it knows which image it will be."""
    own = {"name": "istio-proxy", "image": image, "imagePullPolicy": policy}
    pod = _injected(_pod(own, annotations={"inject.istio.io/templates": "gateway"}))
    assert container(pod, "istio-proxy").get("imagePullPolicy") == told

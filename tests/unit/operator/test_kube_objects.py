"""From what an API server tells to batches: what is told, what is not, and what is taken out."""

from __future__ import annotations

from typing import Any, Final

import pytest

from mizzen.model.kube import Pod, Service
from mizzen.model.world import Batch
from mizzen.names import DEFAULT_REGISTRY, ObjectKey
from mizzen_operator.sources.objects import Objects, key_of, secret_key, together

Json = dict[str, Any]


def _service(name: str = "web", version: str = "1", port: int = 80) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version},
        "spec": {"ports": [{"name": "http", "port": port}]},
    }


def _virtual_service(version: str, generation: int, host: object = "web") -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "resourceVersion": version,
            "uid": "u",
            "generation": generation,
        },
        "spec": {"hosts": [host], "http": [{"route": [{"destination": {"host": "web"}}]}]},
    }


def _key(kind: str, name: str = "web") -> ObjectKey:
    return ObjectKey(DEFAULT_REGISTRY, kind, "shop", name)


def test_what_comes_again_unchanged_is_not_told() -> None:
    """A watch that begins anew tells everything once more."""
    objects = Objects()
    assert objects.take(_service()) is not None
    assert objects.take(_service()) is None
    assert objects.take(_service(version="2")) is None, "nor what means the same"
    batch = objects.take(_service(version="3", port=81))
    assert batch is not None
    assert isinstance(batch.changes[_key("Service")], Service)


def test_an_object_with_errors_keeps_its_last_good_version() -> None:
    """What is told of it then is what is wrong, and of which version."""
    objects = Objects()
    first = objects.take(_virtual_service("1", 1))
    assert first is not None
    assert first.versions == {_key("VirtualService"): "u/1"}
    batch = objects.take(_virtual_service("2", 2, host=7))
    assert batch is not None
    assert batch.changes == {}
    assert batch.diagnostics[_key("VirtualService")]
    assert batch.versions == {_key("VirtualService"): "u/2"}
    mended = objects.take(_virtual_service("3", 3))
    assert mended is not None
    assert mended.changes == {}
    assert mended.diagnostics == {_key("VirtualService"): ()}


def test_a_sweep_takes_out_what_a_list_lacks_and_nothing_newer() -> None:
    """What was told of while the list was made may well be there."""
    objects = Objects()
    for name in ("stays", "goes"):
        objects.take(_service(name))
    since = objects.told
    objects.take(_service("comes"))
    (batch,) = objects.sweep("Service", [_key("Service", "stays")], since)
    assert batch.changes == {_key("Service", "goes"): None}
    assert len(objects) == 2
    assert not list(objects.sweep("Pod", (), objects.told))


def test_what_was_told_again_during_a_list_is_not_swept() -> None:
    """Even where nothing in it was new."""
    objects = Objects()
    objects.take(_service())
    since = objects.told
    objects.take(_service())
    assert not list(objects.sweep("Service", (), since))


def test_a_removal_is_told_once() -> None:
    objects = Objects()
    objects.take(_service())
    batch = objects.remove(_key("Service"))
    assert batch is not None
    assert batch.changes == {_key("Service"): None}
    assert objects.remove(_key("Service")) is None


def test_the_end_of_an_object_does_not_end_its_successor() -> None:
    """A pod of a StatefulSet comes back under its name, and who watches may tell of both in any order."""
    objects = Objects()
    objects.take(_service(version="5"))
    assert objects.take(_service(version="9", port=81)) is not None, "made again"
    assert objects.end(_service(version="7")) is None, "the end of the first"
    assert objects.take(_service(version="6", port=82)) is None, "the last change of the first"
    batch = objects.end(_service(version="10"))
    assert batch is not None
    assert batch.changes == {_key("Service"): None}


def test_a_list_is_believed_whatever_its_versions_are() -> None:
    """A cluster that was restored from a backup counts from before."""
    objects = Objects()
    objects.take(_service(version="9"))
    assert objects.take(_service(version="5", port=81), is_listed=True) is not None


def test_what_is_of_no_use_is_not_even_parsed_but_addresses_are() -> None:
    """Most of a pod as an API server shows it is who wrote which field and how its containers are."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "shop", "managedFields": [{"manager": "x"}]},
        "spec": {"containers": [{"name": "app", "image": "app"}]},
        "status": {"podIP": "10.0.0.1", "containerStatuses": [{"name": "app"}]},
    }
    batch = Objects().take(pod)
    assert batch is not None
    found = batch.changes[_key("Pod")]
    assert isinstance(found, Pod)
    assert found.ips == ("10.0.0.1",)


@pytest.mark.parametrize(
    "raw",
    [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}},
        {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web"}},
    ],
    ids=["another kind", "another group"],
)
def test_a_kind_that_is_not_handled_is_none(raw: Json) -> None:
    assert key_of(raw) is None
    assert Objects().take(raw) is None


_EDGE: Final[Json] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "edge", "namespace": "shop"},
    "spec": {
        "servers": [
            {"tls": {"credentialName": "edge", "caCertCredentialName": "clients"}},
            {"tls": {"credentialNames": ["more"]}},
            {"tls": {"credentialName": "kubernetes://bank/key"}},
            {"tls": {"credentialNames": ["cacerts", "mizzen-ca"]}},
            {},
        ]
    },
}
_NAMED: Final = ("edge", "edge-cacert", "clients", "clients-cacert", "more", "more-cacert")


def _rule(**more: object) -> Json:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "trafficPolicy": {"portLevelSettings": [{"tls": {"credentialName": "port"}}]},
            "subsets": [{"trafficPolicy": {"tls": {"credentialName": "subset"}}}],
            **more,
        },
    }


def test_secrets_are_those_that_something_names() -> None:
    """Of Gateways and DestinationRules; roots may stand by themselves, and the mesh's own are nobody's."""
    objects = Objects()
    assert secret_key(("shop", "edge")) == _key("Secret", "edge")
    objects.take(_rule())
    assert {name for _, name in objects.secrets()} == {
        *("port", "port-cacert"),
        *("subset", "subset-cacert"),
    }
    objects.remove(_key("DestinationRule", "web"))
    before = objects.references
    objects.take(_EDGE)
    assert objects.references == before + 1
    assert objects.secrets() == {("shop", name) for name in _NAMED}
    objects.take({**_EDGE, "spec": {**_EDGE["spec"], "servers": []}})
    assert objects.secrets() == frozenset()
    assert objects.references == before + 2
    objects.remove(_key("Gateway", "edge"))
    assert objects.references == before + 2


def _router(namespace: str, **labels: str) -> Json:
    metadata = {"name": "gate", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


@pytest.mark.parametrize(
    ("more", "namespaces"),
    [
        ({}, {"shop", "ingress", "egress"}),
        ({"exportTo": ["*"]}, {"shop", "ingress", "egress"}),
        ({"exportTo": [".", "egress"]}, {"shop", "egress"}),
        ({"workloadSelector": {"matchLabels": {"app": "web"}}}, {"shop"}),
    ],
)
def test_a_destination_rules_secrets_are_where_its_clients_run(
    more: Json, namespaces: set[str]
) -> None:
    """All gateways that see it, or the sidecars of its namespace that it selects."""
    objects = Objects()
    spec = {"selector": {"istio": "gate"}, "servers": []}
    objects.take({**_EDGE, "spec": spec})
    objects.take(_rule(**more))
    for namespace in ("ingress", "egress"):
        objects.take(_router(namespace, istio="gate"))
    objects.take(_router("bank", istio="other"))
    assert {namespace for namespace, _ in objects.secrets()} == namespaces


def test_a_gateways_secrets_are_where_its_pods_run() -> None:
    """In whatever namespaces, while they run there; other pods change nothing."""
    gateway = {**_EDGE, "spec": {**_EDGE["spec"], "selector": {"istio": "gate"}}}
    objects = Objects()
    objects.take(gateway)
    assert objects.secrets() == frozenset()
    began = objects.references
    objects.take(_router("shop", istio="other"))
    assert objects.references == began
    objects.take(_router("ingress", istio="gate", app="gate"))
    assert objects.references == began + 1
    assert objects.secrets() == {("ingress", name) for name in _NAMED}
    objects.take(_router("ingress", istio="other"))
    assert objects.secrets() == frozenset()
    objects.take(_router("ingress", istio="gate"))
    objects.take({**_router("ingress", istio="gate"), "spec": {"nodeName": "n"}})
    assert objects.references == began + 3
    objects.remove(ObjectKey(DEFAULT_REGISTRY, "Pod", "ingress", "gate"))
    assert objects.secrets() == frozenset()
    assert objects.references == began + 4


def test_many_batches_are_one() -> None:
    """The last word on each object counts."""
    objects = Objects()
    batches = [
        batch
        for batch in (
            objects.take(_service()),
            objects.take(_service(version="2", port=81)),
            objects.remove(_key("Service")),
        )
        if batch is not None
    ]
    whole = together(batches, complete=True)
    assert whole.changes == {_key("Service"): None}
    assert whole.complete


_CONFIG: Final = ObjectKey(DEFAULT_REGISTRY, "ConfigMap", "istio-system", "mizzen")


def _config(version: str, selector: str = "{matchLabels: {mesh: 'yes'}}") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mizzen", "namespace": "istio-system", "resourceVersion": version},
        "data": {"mesh": f"discoverySelectors: [{selector}]"},
    }


def _namespace(version: str, mesh: str = "yes", name: str = "shop") -> Json:
    meta = {"name": name, "resourceVersion": version, "labels": {"mesh": mesh}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def _changed(batch: Batch | None) -> dict[str, bool]:
    """Return by key whether a batch has an object there."""
    return {str(key): item is not None for key, item in batch.changes.items()} if batch else {}


def test_nothing_is_kept_of_a_namespace_that_is_not_looked_at() -> None:
    """But of itself, and the roots that its pods need; it is wanted once it is looked at."""
    objects = Objects()
    assert objects.take(_config("1")) is not None
    assert _changed(objects.take(_namespace("1", mesh="no"))) == {"Namespace shop": True}
    known = len(objects)
    roots = _service(name="mizzen-ca-root-cert") | {"kind": "ConfigMap"}
    assert objects.take(_service()) is None
    assert objects.take(_virtual_service("1", 1)) is None
    assert len(objects) == known
    assert objects.take(roots) is not None
    assert objects.wanted == frozenset()
    assert _changed(objects.take(_namespace("2"))) == {"Namespace shop": True}
    assert objects.wanted == {"shop"}
    with objects.listing() as namespaces:
        assert namespaces == {"shop"}
        assert objects.take(_service()) is not None
    assert objects.wanted == frozenset()


def test_what_is_not_looked_at_any_more_is_told_to_be_gone() -> None:
    """With the change that has it go: of a label, of the settings; and comes back with the next."""
    objects = Objects()
    for raw in (_config("1"), _namespace("1"), _service(), _virtual_service("1", 1)):
        objects.take(raw)
    batch = objects.take(_namespace("2", mesh="no"))
    assert _changed(batch) == {
        "Namespace shop": True,
        "Service shop/web": False,
        "VirtualService shop/web": False,
    }
    assert batch is not None
    assert batch.versions == {_key("VirtualService"): ""}
    assert _changed(objects.remove(_CONFIG)) == {str(_CONFIG): False}
    assert objects.wanted == {"shop"}
    assert objects.take(_service()) is not None
    gone = objects.take(_config("2", "{matchLabels: {mesh: other}}"))
    assert _changed(gone) == {str(_CONFIG): True, "Service shop/web": False}
    assert objects.end(_namespace("3")) is not None
    assert objects.take(_config("3", "{}")) is not None
    assert objects.wanted == {"shop"}


def test_what_ends_while_a_namespace_is_listed_is_not_brought_back() -> None:
    """A list may be older than what the watch has told since; one that fails is made again."""
    objects = Objects()
    for raw in (_config("1"), _service(), _namespace("1")):
        objects.take(raw)

    def _listed() -> None:
        with objects.listing():
            objects.end(_service(version="5"))
            assert objects.take(_service(version="4")) is None
            raise ValueError("the server is gone")

    with pytest.raises(ValueError, match="gone"):
        _listed()
    assert objects.wanted == {"shop"}
    with objects.listing():
        assert objects.take(_service(version="6")) is not None

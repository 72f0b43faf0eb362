"""What is in force: of which namespaces, and who sees what says nothing of it."""

from __future__ import annotations

from textwrap import indent

import pytest

from mizzen.model.discovery import LabelSelector, Operator, Requirement
from mizzen.model.mesh import MeshSettings
from mizzen.model.meta import EXPORT_ALL, EXPORT_NONE, ExportTo, labels
from mizzen.model.world import Object
from mizzen.names import ObjectKey
from mizzen.resolve.in_force import InForce
from tests.support.small_mesh import istio, key, read, service

pytestmark = pytest.mark.unit

_OWN = ExportTo((".",))
_ROUTE = "hosts: [web]\nhttp: [{directResponse: {status: 200}}]"
_CONFIG = ObjectKey(key("ConfigMap", "mizzen").registry, "ConfigMap", "istio-system", "mizzen")


def _config(mesh: str) -> str:
    meta = "metadata: {name: mizzen, namespace: istio-system}"
    return f"apiVersion: v1\nkind: ConfigMap\n{meta}\ndata:\n  mesh: |\n{indent(mesh, '    ')}\n"


def _namespace(name: str, labels: str = "") -> str:
    return f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n"


def _rule(name: str, more: str = "", namespace: str = "shop") -> str:
    return istio("DestinationRule", name, f"host: web\n{more}", namespace=namespace)


def _names(of: InForce) -> set[str]:
    return {str(key) for key in of.objects if key.kind in ("Service", "DestinationRule")}


def _exports(of: InForce) -> dict[str, tuple[str, ...]]:
    return {key.name: getattr(one, "export_to", ()) for key, one in of.objects.items()}


def _take(of: InForce, *texts: str) -> dict[ObjectKey, tuple[Object | None, Object | None]]:
    return of.take({**read(*texts)})


def test_everything_is_in_force_without_selectors() -> None:
    """And what was told is what is in force, the very same object."""
    told = read(service("web"), _rule("web"))
    made = InForce(MeshSettings())
    assert made.take({**told}) == {one: (None, item) for one, item in told.items()}
    assert all(made.told(one) is made.objects[one] is item for one, item in told.items())
    assert made.take({**told}) == {}


def test_namespaces_come_and_go_with_their_labels() -> None:
    """With all that is in them, whichever was told first; what has not changed is not named."""
    made = InForce(MeshSettings())
    _take(made, service("web"), service("web", namespace="bank"), _namespace("bank", "mesh: 'yes'"))
    _take(made, _config("discoverySelectors: [{matchLabels: {mesh: 'yes'}}]"))
    assert _names(made) == {"Service bank/web"}
    changed = _take(made, _namespace("shop", "mesh: 'yes'"))
    assert {str(one) for one in changed} == {"Namespace shop", "Service shop/web"}
    assert _names(made) == {"Service bank/web", "Service shop/web"}
    assert set(_take(made, _namespace("shop", "mesh: 'yes', more: 'yes'"))) == {
        key("Namespace", "shop", "")
    }
    changed = _take(made, _namespace("bank", "mesh: 'no'"))
    assert changed[key("Service", "web", "bank")][1] is None
    assert _names(made) == {"Service shop/web"}
    made.take({key("Namespace", "shop", ""): None})
    assert _names(made) == set()
    made.take({_CONFIG: None})
    assert _names(made) == {"Service bank/web", "Service shop/web"}


def test_what_is_hidden_may_change_and_go() -> None:
    """Unseen, and is the last that was told once it is seen."""
    made = InForce(MeshSettings())
    _take(made, _config("discoverySelectors: [{matchLabels: {mesh: 'yes'}}]"))
    assert _take(made, service("web"), _rule("one"), _rule("two")) == {}
    assert made.told(key("DestinationRule", "one")) is not None
    assert _take(made, _rule("one", "exportTo: ['.']")) == {}
    assert made.take({key("DestinationRule", "two"): None}) == {}
    assert made.told(key("DestinationRule", "two")) is None
    _take(made, _namespace("shop", "mesh: 'yes'"))
    assert _names(made) == {"Service shop/web", "DestinationRule shop/one"}
    assert _exports(made)["one"] == (".",)


@pytest.mark.parametrize("name", ["istio-system", "settings"])
def test_what_is_said_to_the_whole_mesh_is_always_in_force(name: str) -> None:
    """The root namespace is never hidden, nor is that of the settings."""
    made = InForce(MeshSettings(config_namespace="settings", discovery=(_selector(mesh="yes"),)))
    _take(made, _rule("web", namespace=name), _rule("web"))
    assert _names(made) == {f"DestinationRule {name}/web"}


def test_a_namespace_has_its_name_for_a_label() -> None:
    """As an API server sees to it; in a folder nobody needs to write the namespace."""
    made = InForce(MeshSettings(discovery=(_selector(**{"kubernetes.io/metadata.name": "shop"}),)))
    _take(made, _rule("web"), _rule("web", namespace="bank"))
    assert _names(made) == {"DestinationRule shop/web"}


def test_the_mesh_says_who_sees_what_says_nothing() -> None:
    """By kind; what says so itself, and a rule for some clients, is as it was."""
    made = InForce(MeshSettings())
    told = (
        service("web"),
        _rule("rule"),
        _rule("mine", "exportTo: ['*']"),
        _rule("some", "workloadSelector: {matchLabels: {app: web}}"),
        istio("VirtualService", "route", _ROUTE),
        istio("ServiceEntry", "entry", "hosts: [a.example]\nports: [{number: 80, name: http}]"),
    )
    _take(made, *told)
    _take(
        made,
        _config(
            "defaultServiceExportTo: ['.']\ndefaultVirtualServiceExportTo: ['~']\n"
            "defaultDestinationRuleExportTo: ['.']"
        ),
    )
    found = _exports(made)
    assert {found["web"], found["entry"], found["rule"], found["some"]} == {_OWN}
    assert (found["mine"], found["route"]) == (EXPORT_ALL, EXPORT_NONE)
    changed = made.take({_CONFIG: None})
    assert {one.name for one in changed} == {"mizzen", "web", "entry", "rule", "route"}
    assert _exports(made)["web"] == EXPORT_ALL


def _selector(**of: str) -> LabelSelector:
    return LabelSelector(labels=labels(of))


@pytest.mark.parametrize(
    ("operator", "values", "selected"),
    [
        (Operator.IN, ("a", "b"), ["a"]),
        (Operator.NOT_IN, ("a",), ["c", ""]),
        (Operator.EXISTS, (), ["a", "c"]),
        (Operator.DOES_NOT_EXIST, (), [""]),
    ],
)
def test_labels_are_held_against_requirements(
    operator: Operator, values: tuple[str, ...], selected: list[str]
) -> None:
    """As Kubernetes does; a label that is not there is in no list."""
    asked = Requirement(key="era", operator=operator, values=values)
    selector = LabelSelector(labels=labels({"mesh": "yes"}), expressions=(asked,))
    of = {era: {"mesh": "yes", **({"era": era} if era else {})} for era in ("a", "c", "")}
    assert [era for era, found in of.items() if selector.selects(found)] == selected
    assert not any(selector.selects({**found, "mesh": "no"}) for found in of.values())
    assert LabelSelector().selects({})

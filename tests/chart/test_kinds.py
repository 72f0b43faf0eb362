"""The kinds that the chart carries: those of crds/, installed and upgraded, kept or left alone as one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.helm import CHART, objects, rendered
from tests.support.repository import ROOT

_SOURCE: Final = ROOT / "crds"
_COPIES: Final = CHART / "files" / "crds"
_KEEP: Final = "helm.sh/resource-policy"


def test_the_copies_are_what_was_generated() -> None:
    """The chart carries crds/ to the letter: ``make crds`` writes both."""
    assert _texts(_COPIES) == _texts(_SOURCE)


def test_every_kind_is_rendered_with_its_schema_untouched() -> None:
    """A kind in the cluster has the specification of its file."""
    sources = {each["metadata"]["name"]: each["spec"] for each in _sources()}
    assert {name: each["spec"] for name, each in _kinds().items()} == sources
    assert "virtualservices.networking.istio.io" in sources


def test_only_our_own_kind_is_installed_beside_istio() -> None:
    """crds.install=false leaves Istio's kinds alone; MeshStatus comes all the same."""
    assert set(_kinds("--set", "crds.install=false")) == {"meshstatuses.mizzen.dev"}


def test_what_users_wrote_outlives_the_release() -> None:
    """Helm keeps the kinds of which users write objects, unless told otherwise; ours goes with the release."""
    kept = {name for name, each in _kinds().items() if _is_kept(each)}
    assert kept == set(_kinds()) - {"meshstatuses.mizzen.dev"}
    assert not any(map(_is_kept, _kinds("--set", "crds.keep=false").values()))


def test_the_operator_may_read_every_kind_and_write_its_status() -> None:
    """A kind that is modelled is watched, and its conditions are written, with or without the chart's copies."""
    for arguments in ((), ("--set", "crds.install=false")):
        rules = _cluster_rules(*arguments)
        for source in _sources():
            group, plural = source["spec"]["group"], source["spec"]["names"]["plural"]
            if group != "mizzen.dev":
                assert {"get", "list", "watch"} <= _verbs(rules, group, plural)
            assert "patch" in _verbs(rules, group, f"{plural}/status")


def test_the_operator_never_writes_what_users_wrote() -> None:
    """Of users' objects only the status may be written."""
    rules = _cluster_rules()
    for source in _sources():
        group, plural = source["spec"]["group"], source["spec"]["names"]["plural"]
        if group != "mizzen.dev":
            assert _verbs(rules, group, plural) == {"get", "list", "watch"}


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.yaml")}


def _sources() -> list[dict[str, Any]]:
    return [yaml.load(text, Loader=yaml.CSafeLoader) for text in _texts(_SOURCE).values()]


def _kinds(*arguments: str) -> dict[str, dict[str, Any]]:
    found = objects(rendered(*arguments))
    return {
        each["metadata"]["name"]: each
        for each in found
        if each["kind"] == "CustomResourceDefinition"
    }


def _is_kept(kind: dict[str, Any]) -> bool:
    return bool(kind["metadata"].get("annotations", {}).get(_KEEP) == "keep")


def _cluster_rules(*arguments: str) -> list[dict[str, Any]]:
    found = objects(rendered(*arguments))
    rules: list[dict[str, Any]] = next(x["rules"] for x in found if x["kind"] == "ClusterRole")
    return rules


def _verbs(rules: list[dict[str, Any]], group: str, resource: str) -> set[str]:
    return {
        verb
        for rule in rules
        if group in rule["apiGroups"] and resource in rule["resources"]
        for verb in rule["verbs"]
    }

"""The chart without a cluster: lint, goldens, what the schema refuses, and what holds however it is rendered."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from mizzen_operator.inject.settings import InjectSettings
from mizzen_operator.settings import with_text
from tests.support.helm import CHART, HelmRefused, helm, objects, rendered
from tests.support.repository import ROOT

_HERE: Final = Path(__file__).parent
_EVERYTHING: Final = _HERE / "everything.values.yaml"
# Golden -> how it is rendered. The kinds and what may be done with them follow from crds/: see test_kinds.
_CASES: Final = {"default": (), "everything": ("--values", str(_EVERYTHING))}


@pytest.fixture(scope="module")
def default() -> list[dict[str, Any]]:
    """The objects of the chart as it stands."""
    return objects(rendered())


def test_lint_finds_nothing() -> None:
    """``helm lint --strict`` is content with the chart."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("case", _CASES)
def test_the_manifests_are_the_kept_ones(case: str, update_golden: bool) -> None:
    """What is rendered is the golden, less the kinds, which have files of their own."""
    kept = [_less_kinds(each) for each in objects(rendered(*_CASES[case]))]
    kept = [each for each in kept if each]
    text = "---\n".join(yaml.safe_dump(each, sort_keys=False) for each in kept)
    golden = _HERE / "golden" / f"{case}.yaml"
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("case", _CASES)
def test_the_operator_understands_its_injection_file(case: str) -> None:
    """What the chart writes is what the operator reads; without a word of the user it says the defaults."""
    found = objects(rendered(*_CASES[case]))
    text = next(each for each in found if each["kind"] == "ConfigMap")["data"]["injection.yaml"]
    settings = with_text(InjectSettings(), text)
    assert (settings == InjectSettings()) is (case == "default")


def test_rendering_is_a_function_of_the_values() -> None:
    """Two renderings are equal to the byte: what GitOps compares never drifts by itself."""
    assert rendered() == rendered()


def test_the_chart_is_of_the_version_of_the_program() -> None:
    """The chart, the image that it names and the wheel carry one version."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {chart["version"], chart["appVersion"]} == {project["version"]}


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("replica=3", "replica"),
        ("replicas=0", "replicas"),
        ("replicas=two", "replicas"),
        ("logLevel=chatty", "logLevel"),
        ("trustDomain=Cluster.Local", "trustDomain"),
        ("image.repository=", "image"),
        ("image.digest=sha256:12", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("sidecar.image=", "sidecar"),
        ("podDisruptionBudget.minAvailable=1", "podDisruptionBudget"),
        ("podDisruptionBudget.maxUnavailable=some", "podDisruptionBudget"),
        ("autoscaling.minReplicas=0", "minReplicas"),
        ("networkPolicy.from=x", "networkPolicy"),
        ("crds.instal=false", "crds"),
        ("imagePullSecrets[0].nam=x", "imagePullSecrets"),
        ("podLabels.team=1", "podLabels"),
    ],
)
def test_the_schema_refuses_a_mistake(setting: str, path: str) -> None:
    """What is misspelt or out of range is refused before anything is sent, with its path."""
    with pytest.raises(HelmRefused, match=path):
        rendered("--set", setting)


def test_every_value_is_described_by_the_schema() -> None:
    """values.yaml and values.schema.json speak of the same keys."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}
    assert all("description" in each for each in schema["properties"].values())


def test_a_tag_and_a_digest_choose_the_image() -> None:
    """An image is named by its tag, or by its digest where there is one."""
    assert _operator(objects(rendered("--set", "image.tag=1.2.3")))["image"].endswith(":1.2.3")
    digest = "sha256:" + "a" * 64
    found = _operator(objects(rendered("--set", f"image.digest={digest},image.tag=1.2.3")))
    assert found["image"] == f"mizzen/operator@{digest}"


def test_the_operator_passes_the_restricted_level(default: list[dict[str, Any]]) -> None:
    """Non-root, no capability, no escalation, a filesystem that cannot be written, the runtime's seccomp profile."""
    pod, container = _pod(default), _operator(default)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume for volume in pod["volumes"] if "hostPath" in volume] == []


def test_no_rule_is_a_wildcard(default: list[dict[str, Any]]) -> None:
    """Every group, resource and verb that the operator may use is named."""
    assert [rule for rule in _rules(default) if "*" in str(rule)] == []


def test_secrets_are_never_listed(default: list[dict[str, Any]]) -> None:
    """Only the authority's own can be watched or changed; any other is got by its name, or not at all."""
    nameless = [rule for rule in _secret_rules(default) if "resourceNames" not in rule]
    assert {verb for rule in nameless for verb in rule["verbs"]} == {"create", "get"}
    named = [rule for rule in _secret_rules(default) if "resourceNames" in rule]
    assert {name for rule in named for name in rule["resourceNames"]} == {"mizzen-ca", "cacerts"}


def test_certificates_are_read_only_where_one_says() -> None:
    """Named namespaces take the place of the whole cluster; disabled, no Secret of a user's can be read."""
    edge = objects(rendered("--set", "credentials.namespaces={edge}"))
    places = {
        (each["kind"], each["metadata"].get("namespace"))
        for each in edge
        if "get" in {verb for rule in _secret_rules([each]) for verb in rule["verbs"]}
    }
    assert places == {("Role", "edge"), ("Role", "mizzen-system")}
    none = objects(rendered("--set", "credentials.enabled=false"))
    nameless = [rule for rule in _secret_rules(none) if "resourceNames" not in rule]
    assert [rule["verbs"] for rule in nameless] == [["create"]]


def test_webhook_configurations_are_not_in_the_chart(default: list[dict[str, Any]]) -> None:
    """The operator keeps them, with certificates that renew: in the chart they would drift."""
    assert [each for each in default if "Webhook" in each["kind"]] == []


def test_what_a_proxy_dials_is_what_the_operator_listens_on(default: list[dict[str, Any]]) -> None:
    """The Service's ports lead to ports of the container: 15012, 443 to 9443, 15014."""
    named = {port["name"]: port["containerPort"] for port in _operator(default)["ports"]}
    service = next(each for each in default if each["kind"] == "Service")
    led = {port["port"]: named[port["targetPort"]] for port in service["spec"]["ports"]}
    assert led == {15012: 15012, 443: 9443, 15014: 15014}
    assert service["spec"]["selector"].items() <= _template(default)["metadata"]["labels"].items()


def test_a_selector_holds_over_releases(default: list[dict[str, Any]]) -> None:
    """Selectors cannot be changed, so they name nothing that a version or a release changes."""
    selectors = [each["spec"]["selector"] for each in default if "selector" in each.get("spec", {})]
    names = {str(each.get("matchLabels", each)) for each in selectors}
    assert names == {str({"app.kubernetes.io/name": "mizzen"})}


def test_an_autoscaler_takes_the_place_of_the_number_of_replicas() -> None:
    """An upgrade never undoes what the autoscaler did: the Deployment then says no number."""
    found = objects(rendered("--set", "autoscaling.enabled=true"))
    deployment = next(each for each in found if each["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]


def test_the_readme_of_the_root_names_the_chart() -> None:
    """The five-minute start installs this chart."""
    assert "helm install mizzen charts/mizzen" in (ROOT / "README.md").read_text()


def _less_kinds(each: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what another kind in crds/ would change; nothing of a kind itself."""
    if each["kind"] == "CustomResourceDefinition":
        return {}
    if each["kind"] != "ClusterRole":
        return each
    kept = [rule for rule in each["rules"] if not rule["apiGroups"][0].endswith(".istio.io")]
    return each | {"rules": kept}


def _rules(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    roles = [each for each in found if each["kind"] in {"Role", "ClusterRole"}]
    return [rule for role in roles for rule in role["rules"]]


def _secret_rules(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in _rules(found) if "secrets" in rule["resources"]]


def _template(found: list[dict[str, Any]]) -> dict[str, Any]:
    deployment = next(each for each in found if each["kind"] == "Deployment")
    template: dict[str, Any] = deployment["spec"]["template"]
    return template


def _pod(found: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = _template(found)["spec"]
    return spec


def _operator(found: list[dict[str, Any]]) -> dict[str, Any]:
    container: dict[str, Any] = _pod(found)["containers"][0]
    return container

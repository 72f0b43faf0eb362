"""``mizzen inject``: files in, the same files with the proxy in their pods out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
from click.testing import CliRunner

from mizzen_cli.main import mizzen

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

_SERVICE: Final = """\
# the way in
kind: Service
apiVersion: v1
metadata: {name: web}   # its name
"""
_DEPLOYMENT: Final = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: app}]}
"""
_CRON_JOB: Final = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: report}
spec:
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: app, image: app}]}
"""


def _run(text: str, *options: str) -> Result:
    return CliRunner().invoke(mizzen, ["inject", "-f", "-", *options], input=text)


def _names(pod: dict[str, Any]) -> list[str]:
    spec = pod["spec"]
    return [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]


def test_pods_of_all_kinds_get_their_proxy() -> None:
    """Templates are injected where they stand, and keep no trace of what helped."""
    done = _run(f"{_DEPLOYMENT}---\n{_CRON_JOB}")
    assert done.exit_code == 0, done.output
    deployment, cron_job = yaml.safe_load_all(done.stdout)
    template = deployment["spec"]["template"]
    assert _names(template) == ["istio-init", "istio-proxy", "app"]
    assert set(template["metadata"]) == {"labels", "annotations"}
    assert deployment["metadata"] == {"name": "web", "namespace": "shop"}
    job = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    assert _names(job) == ["istio-init", "istio-proxy", "app"]
    assert job["metadata"]["labels"]["service.istio.io/canonical-name"] == "report"


def test_what_has_no_pods_is_printed_as_it_was_written() -> None:
    """Comments and all."""
    done = _run(f"{_SERVICE}---\n{_DEPLOYMENT}")
    assert done.stdout.startswith(f"{_SERVICE}---\n")
    assert _run(_SERVICE).stdout == _SERVICE


def test_a_list_is_injected_item_by_item() -> None:
    """The form in which kubectl prints several objects."""
    items = [yaml.safe_load(_SERVICE), yaml.safe_load(_DEPLOYMENT)]
    done = _run(yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items}))
    service, deployment = yaml.safe_load(done.stdout)["items"]
    assert service == items[0]
    assert "istio-proxy" in _names(deployment["spec"]["template"])
    alone = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items[:1]})
    assert _run(alone).stdout == alone


def test_what_is_injected_stays_so() -> None:
    """Once is enough, however often it is asked for."""
    once = _run(_DEPLOYMENT).stdout
    assert _run(once).stdout == once


def test_who_refuses_is_left_alone() -> None:
    """By the label of the pod."""
    refusing = _DEPLOYMENT.replace("{app: web}", '{sidecar.istio.io/inject: "false"}')
    assert _run(refusing).stdout == refusing


def test_the_version_decides_what_the_sidecar_is() -> None:
    """An ordinary container where init containers do not last."""
    pod = yaml.safe_load(_run(_DEPLOYMENT, "--kubernetes", "1.28").stdout)["spec"]["template"]
    assert _names(pod) == ["istio-init", "app", "istio-proxy"]


def test_images_are_those_asked_for() -> None:
    """And the control plane is where it is said to be."""
    options = ("--sidecar-image", "envoy:x", "--init-image", "init:y", "--namespace", "mesh")
    done = _run(_DEPLOYMENT, *options)
    init, proxy = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]["initContainers"]
    assert (init["image"], proxy["image"]) == ("init:y", "envoy:x")
    assert "mizzen.mesh.svc.cluster.local" in proxy["args"][1]


def test_the_meshs_own_file_counts(tmp_path: Path) -> None:
    """The one that the operator reads: defaults, and templates of the mesh's owner."""
    file = tmp_path / "injection.yaml"
    template = "metadata: {labels: {team: {{ pod.metadata.namespace | tojson }}}}"
    said = {"logLevel": "debug", "holdSeconds": 0, "templates": {"team": template}}
    file.write_text(yaml.safe_dump(said), encoding="utf-8")
    asked = 'annotations: {inject.istio.io/templates: "sidecar,team"}, labels'
    done = _run(_DEPLOYMENT.replace("labels", asked), "--injection", str(file))
    pod = yaml.safe_load(done.stdout)["spec"]["template"]
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert "lifecycle" not in pod["spec"]["containers"][0]
    proxy = pod["spec"]["initContainers"][1]
    assert proxy["args"][proxy["args"].index("-l") + 1] == "debug"
    file.write_text("logLevel: loud", encoding="utf-8")
    refused = _run(_DEPLOYMENT, "--injection", str(file))
    assert (refused.exit_code, "logLevel" in refused.stderr) == (1, True)


def test_what_cannot_be_given_ends_with_one() -> None:
    """The object is named, and what to correct."""
    asked = 'annotations: {sidecar.istio.io/interceptionMode: "MAGIC"}, labels'
    done = _run(_DEPLOYMENT.replace("labels", asked))
    assert done.exit_code == 1
    assert "Deployment web: sidecar.istio.io/interceptionMode: 'MAGIC' is not one of" in done.stderr
    assert _run("a: [").exit_code == 1


def test_warnings_are_said_and_the_file_is_printed() -> None:
    """On stderr, so that the output can be applied."""
    asked = "annotations: {sidecar.istio.io/bootstrapOverride: mine}, labels"
    done = _run(_DEPLOYMENT.replace("labels", asked))
    assert done.exit_code == 0
    assert "warning: Deployment web: sidecar.istio.io/bootstrapOverride" in done.stderr


def test_a_version_that_is_none_is_a_wrong_command_line() -> None:
    """Exit code 2, with the option's name."""
    done = _run(_DEPLOYMENT, "--kubernetes", "latest")
    assert done.exit_code == 2
    assert "--kubernetes" in done.stderr

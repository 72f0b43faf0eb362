"""The command says what is wrong and what to do, for people and for scripts, with the exit codes it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from mizzen_cli.main import mizzen
from tests.support.repository import ROOT
from tests.unit.operator.manifests import documents, invalid_service, service

if TYPE_CHECKING:
    from click.testing import Result

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: app, image: app}]}
status: {podIP: 10.0.0.7, podIPs: [{ip: 10.0.0.7}]}
"""
GATEWAY = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  selector: {app: web}
  servers: [{port: {number: 8080, name: http, protocol: HTTP}, hosts: ["*"]}]
"""


@pytest.fixture
def mesh(tmp_path: Path) -> Path:
    """A folder with a service and a pod."""
    (tmp_path / "shop.yaml").write_text(documents(service("cart"), POD))
    return tmp_path


def run(*words: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(mizzen, [str(word) for word in words])


def test_a_folder_without_mistakes_is_0(mesh: Path) -> None:
    result = run("analyze", mesh)
    assert result.exit_code == 0
    assert result.stdout == "0 errors, 0 warnings in 2 objects\n"


def test_an_error_is_shown_with_its_place_and_remedy_and_is_1(mesh: Path) -> None:
    (mesh / "bad.yaml").write_text(invalid_service("bad"))
    result = run("analyze", mesh)
    assert result.exit_code == 1
    assert f"{mesh}/bad.yaml:4 error MZ0103  Service shop/bad  spec.ports[0].port" in result.stdout
    assert "➜ " in result.stdout
    assert "1 error, 0 warnings in 2 objects\n" in result.stdout


def test_a_script_reads_the_same_findings_as_json(mesh: Path) -> None:
    (mesh / "bad.yaml").write_text(invalid_service("bad"))
    result = run("analyze", mesh, "-o", "json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["objects"], document["errors"], document["warnings"]) == (2, 1, 0)
    (found,) = document["findings"]
    assert found["code"] == "MZ0103"
    assert found["object"] == {"kind": "Service", "namespace": "shop", "name": "bad"}
    assert (found["file"], found["line"]) == (f"{mesh}/bad.yaml", 4)
    assert found["remedy"]


def test_a_folder_that_is_not_there_is_2() -> None:
    result = run("analyze", "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_a_proxys_configuration_is_shown_type_by_type(mesh: Path) -> None:
    result = run("translate", mesh, "--proxy", "web-1.shop")
    assert result.exit_code == 0, result.output
    document = yaml.safe_load(result.stdout)
    assert list(document) == ["listeners", "clusters", "routes", "endpoints", "secrets"]
    assert "virtualInbound" in [listener["name"] for listener in document["listeners"]]
    names = [cluster["name"] for cluster in document["clusters"]]
    assert "outbound|80||cart.shop.svc.cluster.local" in names
    assert "80/cart.shop.svc.cluster.local" in [route["name"] for route in document["routes"]]


def test_one_type_is_shown_as_json_too(mesh: Path) -> None:
    result = run("translate", mesh, "--proxy", "web-1.shop", "--type", "clusters", "-o", "json")
    assert list(json.loads(result.stdout)) == ["clusters"]


def test_secrets_are_shown_without_anything_secret(mesh: Path) -> None:
    result = run("translate", mesh, "--proxy", "web-1.shop", "--type", "secrets")
    secrets = yaml.safe_load(result.stdout)["secrets"]
    assert [secret["name"] for secret in secrets] == ["default", "ROOTCA"]
    assert secrets[0]["tls_certificate"]["private_key"] == {"inline_bytes": "[redacted]"}


def test_certificates_of_users_are_shown_without_their_keys(mesh: Path) -> None:
    parts = "{tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}"
    head = "{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: shop}"
    (mesh / "secret.yaml").write_text(f"{head}, stringData: {parts}}}")
    tls = "{port: {number: 443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: cert}}"
    (mesh / "gateway.yaml").write_text(GATEWAY.replace("servers: [", f"servers: [{tls}, "))
    result = run("translate", mesh, "--proxy", "web-1.shop", "--type", "secrets")
    *_own, written = yaml.safe_load(result.stdout)["secrets"]
    assert written["name"] == "kubernetes://cert"
    assert written["tls_certificate"]["private_key"] == {"inline_bytes": "[redacted]"}
    assert "PRIVATE" not in result.stdout


def test_a_pod_that_a_gateway_selects_is_a_router_unless_told_otherwise(mesh: Path) -> None:
    (mesh / "gateway.yaml").write_text(GATEWAY)
    listeners = ("translate", mesh, "--proxy", "web-1.shop", "--type", "listeners", "-o", "json")

    def names(result: Result) -> list[str]:
        return [listener["name"] for listener in json.loads(result.stdout)["listeners"]]

    assert "virtualInbound" not in names(run(*listeners))
    assert "virtualInbound" in names(run(*listeners, "--as", "sidecar"))


def test_a_proxy_that_is_not_there_is_1_and_the_pods_are_named(mesh: Path) -> None:
    result = run("translate", mesh, "--proxy", "web-2.shop")
    assert result.exit_code == 1
    assert "web-1.shop" in result.stderr
    assert not result.stdout


def test_plaintext_for_others_than_loopback_is_refused(mesh: Path) -> None:
    result = run("serve", mesh, "--insecure-xds", "0.0.0.0:15010")
    assert result.exit_code == 2
    assert "only loopback" in result.stderr


def test_an_address_without_a_port_is_2(mesh: Path) -> None:
    result = run("serve", mesh, "--xds", "localhost")
    assert result.exit_code == 2
    assert "is not HOST:PORT" in result.stderr


@pytest.mark.parametrize("verb", ["serve", "translate", "analyze", "version"])
def test_every_verb_says_what_its_exit_codes_mean(verb: str) -> None:
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Exit codes:" in result.stdout


def test_help_lists_the_verbs_and_an_unknown_one_is_2() -> None:
    assert "translate  Show what a proxy would get" in run("--help").stdout
    assert run("explode").exit_code == 2


def test_versions_are_printed_for_people_and_scripts() -> None:
    assert "mizzen" in run("version").stdout
    assert "python" in json.loads(run("version", "-o", "json").stdout)


@pytest.mark.parametrize(("word", "meant"), [("analyse", "analyze"), ("waiting", "wait")])
def test_a_misspelt_verb_is_told_of(word: str, meant: str) -> None:
    """With the one that is near."""
    result = run(word)
    assert result.exit_code == 2
    assert f"Did you mean '{meant}'?" in result.stderr


def test_a_verb_that_is_none_is_told_of() -> None:
    """Where none is near."""
    result = run("xyzzy")
    assert result.exit_code == 2
    assert "No such command 'xyzzy'" in result.stderr


def test_what_the_readme_shows_offline_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, from the checkout's folder."""
    monkeypatch.chdir(ROOT)
    shown = re.findall(
        r"^\$ \.venv/bin/mizzen ((?:analyze|translate) .*?)\s+#",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert len(shown) == 2
    for words in shown:
        result = run(*words.split())
        assert (result.exit_code, result.stderr) == (0, "")

"""The file by which an installation says how pods are injected."""

from __future__ import annotations

from pathlib import Path

import pytest

from mizzen.capture import CaptureConfig
from mizzen_operator.inject.settings import InjectSettings, Resources
from mizzen_operator.settings import SettingsError, injection_settings, with_text

_DEFAULTS = InjectSettings()
_EVERYTHING = """
imagePullPolicy: Always
imagePullSecrets: [images]
resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 256Mi}}
logLevel: info
nativeSidecars: false
holdSeconds: 1
lingerSeconds: 2
enabledByDefault: true
neverInject: [{team: bare, app: one}]
alwaysInject: [{team: meshed}]
mergeMetrics: false
rewriteProbes: false
capture:
  dns: true
  includeOutboundIPRanges: [10.0.0.0/8]
  excludeOutboundIPRanges: [10.1.0.0/16]
  excludeInboundPorts: [9000]
  excludeOutboundPorts: [3306]
templates: {mine: "spec: {}"}
"""


def test_an_empty_file_says_nothing() -> None:
    """What is not said is as it is without a file."""
    assert with_text(_DEFAULTS, "") == _DEFAULTS
    assert with_text(_DEFAULTS, "capture: {}") == _DEFAULTS


def test_everything_can_be_said() -> None:
    """Each field of the file has its place in the settings."""
    assert with_text(_DEFAULTS, _EVERYTHING) == InjectSettings(
        image_pull_policy="Always",
        image_pull_secrets=("images",),
        resources=Resources(
            cpu_request="10m", memory_request="64Mi", cpu_limit="", memory_limit="256Mi"
        ),
        log_level="info",
        native_sidecars=False,
        hold_seconds=1,
        linger_seconds=2,
        enabled_by_default=True,
        never=((("app", "one"), ("team", "bare")),),
        always=((("team", "meshed"),),),
        merge_metrics=False,
        rewrite_probes=False,
        capture=CaptureConfig(
            dns=True,
            include_outbound_cidrs=("10.0.0.0/8",),
            exclude_outbound_cidrs=("10.1.0.0/16",),
            exclude_inbound_ports=(9000,),
            exclude_outbound_ports=(3306,),
        ),
        templates={"mine": "spec: {}"},
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("holdSecond: 1", "holdSecond"),
        ("holdSeconds: -1", "holdSeconds"),
        ("holdSeconds: five", "holdSeconds"),
        ("logLevel: chatty", "logLevel"),
        ("capture: {excludeInboundPorts: [http]}", "capture.excludeInboundPorts.0"),
        ("resources: {requests: {cpu: 1}}", "resources.requests.cpu"),
        ("[", "no YAML"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(text: str, where: str) -> None:
    """A misspelt or impossible field stops the start, and is named."""
    with pytest.raises(SettingsError, match=where):
        with_text(_DEFAULTS, text)


def test_images_and_the_file_come_together(tmp_path: Path) -> None:
    """The command line's images, the file's rest; an empty image is the default one."""
    file = tmp_path / "injection.yaml"
    file.write_text("holdSeconds: 9")
    found = injection_settings(file, namespace="mesh", sidecar_image="envoy:1")
    assert (found.namespace, found.sidecar_image, found.hold_seconds) == ("mesh", "envoy:1", 9)
    assert found.init_image == _DEFAULTS.init_image


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As is one that says what cannot be."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml"):
        injection_settings(tmp_path / "nowhere.yaml", namespace="mesh")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("a: 1")
    with pytest.raises(SettingsError, match=r"wrong\.yaml: a"):
        injection_settings(wrong, namespace="mesh")

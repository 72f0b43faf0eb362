"""The kinds at a real API server: it takes them, what people write of them, and refuses what is wrong."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from mizzen.api.crd import definitions
from mizzen.api.parse import parse_object
from mizzen.diagnostics import UNKNOWN_FIELD
from mizzen.model.world import Parsed
from mizzen_operator.kube.client import ApiClient, ApiError
from tests.support.cluster_objects import (
    apply,
    ensure_namespace,
    manifests_of,
    path_of,
)
from tests.support.repository import ROOT, relative

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kube_api import ApiServer

Manifest = dict[str, Any]

pytestmark = pytest.mark.kube

_DEFINITIONS: Final = definitions()
_OURS: Final = tuple(
    document["spec"]["names"]["kind"]
    for document in _DEFINITIONS.values()
    if document["spec"]["group"] != "mizzen.dev"
)
_REFUSED: Final = list(
    yaml.safe_load_all((ROOT / "tests" / "support" / "refused.yaml").read_text())
)
_WRITTEN: Final = sorted(
    (
        *(ROOT / "samples").rglob("*.yaml"),
        *(ROOT / "tests" / "golden" / "mesh").glob("*.in.yaml"),
        *(ROOT / "tests" / "unit" / "api" / "manifests").glob("*.yaml"),
    )
)


async def test_a_definition_is_taken_as_it_is(api: ApiClient) -> None:
    """Nothing in a schema is against the rules for schemas, and nothing of it is dropped."""
    stored = {item["metadata"]["name"]: item for item in await api.list(_collection())}
    for name, document in _DEFINITIONS.items():
        conditions = {one["type"]: one for one in stored[name]["status"]["conditions"]}
        assert conditions["Established"]["status"] == "True"
        assert "NonStructuralSchema" not in conditions
        assert stored[name]["spec"]["versions"] == document["spec"]["versions"]


def _collection() -> str:
    return "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.mark.parametrize("file", _WRITTEN, ids=relative)
async def test_what_people_write_is_taken(file: Path, api: ApiClient) -> None:
    """Every manifest of ours that the reader takes is taken by server-side apply, and read the same."""
    for manifest in manifests_of(file):
        if manifest.get("kind") not in _OURS or not _is_sound(manifest):
            continue
        metadata = manifest["metadata"]
        await ensure_namespace(api, metadata.get("namespace", "default"))
        await apply(api, manifest)
        stored = await api.get(path_of(manifest))
        assert stored["spec"] == _without_nulls(manifest.get("spec", {})), metadata["name"]
        await api.delete(path_of(manifest))


@pytest.mark.parametrize("file", sorted((ROOT / "samples").rglob("*.yaml")), ids=relative)
async def test_a_sample_is_taken_whole(file: Path, api: ApiClient) -> None:
    """A newcomer applies every object of a sample, whatever its kind, and reads no error.

    The shop is there twice, for a cluster and for a folder, where its Services have addresses of their own.
    Nothing stays: server-side apply makes null of a spec that another manifest of the name empties.
    """
    manifests = list(manifests_of(file))
    for manifest in manifests:
        metadata = manifest["metadata"]
        await ensure_namespace(api, metadata.get("namespace", "default"))
        await apply(api, manifest)
    for manifest in manifests:
        if manifest["kind"] == "Service" or manifest["kind"] in _OURS:
            await api.delete(path_of(manifest))


async def test_a_thousand_rules_are_taken(api: ApiClient) -> None:
    """The rules in CEL cost little enough for the largest objects that people write."""
    destination = {"host": "reviews", "subset": "v1", "port": {"number": 80}}
    manifest = deepcopy(_reviews("v1"))
    manifest["metadata"]["name"] = "thousand"
    manifest["spec"]["http"] = [
        {
            "match": [{"uri": {"prefix": f"/{number}/"}, "headers": {"user": {"exact": "a"}}}],
            "rewrite": {"uri": "/"},
            "timeout": "5s",
            "retries": {"attempts": 2, "perTryTimeout": "1s"},
            "route": [{"destination": destination, "weight": 90}, {"destination": destination}],
        }
        for number in range(1_000)
    ]
    await apply(api, manifest)


def _is_sound(manifest: Manifest) -> bool:
    """Tell whether the reader takes it; an unknown field is a warning to it and an error to apply."""
    parsed = parse_object(manifest)
    if not isinstance(parsed, Parsed) or parsed.object is None:
        return False
    return all(one.code is not UNKNOWN_FIELD for one in parsed.diagnostics)


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _without_nulls(part) for key, part in value.items() if part is not None}
    return [_without_nulls(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("manifest", _REFUSED, ids=lambda one: one["metadata"]["name"])
async def test_what_is_wrong_is_refused_with_its_path(manifest: Manifest, api: ApiClient) -> None:
    """The schemas and their rules hold while no operator runs, and say where the mistake is."""
    with pytest.raises(ApiError) as refused:
        await apply(api, manifest)
    # Server-side apply says 500 where it cannot make sense of the manifest at all.
    assert refused.value.status in (422, 500)
    at = re.escape(manifest["metadata"]["annotations"]["refused-at"])
    # A combination that a schema forbids in its own words is told of with the path in quotes.
    said = refused.value.message
    assert re.search(rf'(^|[\s\[.,]){at}[\w.\[\]-]*: |"{at}" must ', said), said


async def test_every_version_serves_the_same_object(api: ApiClient) -> None:
    """A client of an older version reads and writes what another one wrote with the newest."""
    document = _DEFINITIONS["virtualservices.networking.istio.io"]
    for version in document["spec"]["versions"]:
        manifest = _reviews(version["name"])
        await apply(api, manifest)
        for other in document["spec"]["versions"]:
            seen = await api.get(path_of(_reviews(other["name"])))
            assert seen["apiVersion"] == f"networking.istio.io/{other['name']}"
            assert seen["spec"] == manifest["spec"]


def _reviews(version: str) -> Manifest:
    return {
        "apiVersion": f"networking.istio.io/{version}",
        "kind": "VirtualService",
        "metadata": {"name": "every-version", "namespace": "default"},
        "spec": {
            "hosts": ["reviews"],
            "http": [{"name": version, "route": [{"destination": {"host": "reviews"}}]}],
        },
    }


async def test_a_number_or_flag_may_be_null(api: ApiClient) -> None:
    """protobuf's wrappers are written as null by some clients, and mean nothing then."""
    manifest = deepcopy(_reviews("v1"))
    manifest["metadata"]["name"] = "nulls"
    manifest["spec"]["http"][0] |= {"mirrorPercent": None, "match": [{"port": None}]}
    await apply(api, manifest)
    assert isinstance(parsed := parse_object(await api.get(path_of(manifest))), Parsed)
    assert parsed.object is not None


async def test_the_status_is_a_part_of_its_own(api: ApiClient) -> None:
    """Who applies the object does not touch the status, and the status moves no generation."""
    manifest = deepcopy(_reviews("v1"))
    manifest["metadata"]["name"] = "with-status"
    before = await apply(api, manifest)
    live = {"type": "Live", "status": "True", "reason": "Live", "observedGeneration": 1}
    body = {**_head(manifest), "status": {"conditions": [live], "observedGeneration": 1}}
    await api.patch(f"{path_of(manifest)}/status", body, kind="apply")
    after = await apply(api, manifest)
    assert after["status"]["conditions"] == [live]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


def _head(manifest: Manifest) -> Manifest:
    names = {key: manifest["metadata"][key] for key in ("name", "namespace")}
    return {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"], "metadata": names}


async def test_short_names_and_columns_are_istios(api: ApiClient, api_server: ApiServer) -> None:
    """``kubectl get vs`` and its relatives show what people are used to, and whether it is live."""
    await apply(api, {**_reviews("v1"), "metadata": {"name": "shown", "namespace": "default"}})
    heads = {
        short: api_server.kubectl("get", short, "-n", "default").splitlines()[0].split()
        for short in ("vs",)
    }
    assert heads["vs"] == ["NAME", "GATEWAYS", "HOSTS", "LIVE", "AGE"]
    for short in ("dr", "gw", "se", "we", "pa", "ap", "mesh"):
        api_server.kubectl("get", short)
    assert "virtualservice" in api_server.kubectl("get", "istio-io", "-n", "default", "-o", "name")


async def test_the_mesh_is_one_row(api: ApiClient, api_server: ApiServer) -> None:
    """``kubectl get mesh`` says how the mesh is; ``-o wide`` adds where to look."""
    head = {"apiVersion": "mizzen.dev/v1alpha1", "kind": "MeshStatus"}
    manifest = {**head, "metadata": {"name": "mizzen"}}
    await apply(api, manifest)
    status = {"ready": "True", "proxies": 12, "upToDate": 11, "rejecting": 1, "issues": 2}
    # A control plane of another test may have written one.
    await api.patch(
        f"{path_of(manifest)}/status", {**manifest, "status": status}, kind="apply", force=True
    )
    head_line, row = api_server.kubectl("get", "mesh").splitlines()
    assert head_line.split()[:5] == ["NAME", "READY", "PROXIES", "UP-TO-DATE", "REJECTING"]
    assert row.split()[:5] == ["mizzen", "True", "12", "11", "1"]
    assert "SLOWEST" in api_server.kubectl("get", "mesh", "-o", "wide")


async def test_an_unknown_field_is_told_of(api: ApiClient, api_server: ApiServer) -> None:
    """A misspelt field is refused by kubectl, which asks the API server for strictness."""
    manifest = _reviews("v1")
    manifest["spec"]["http"][0]["timeuot"] = "1s"
    said = api_server.kubectl("apply", "-f", "-", given=yaml.safe_dump(manifest), check=False)
    assert 'unknown field "spec.http[0].timeuot"' in said
    assert api is not None

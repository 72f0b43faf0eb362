"""The chart on a real API server: install, upgrade, rollback, uninstall, and what the operator may then do."""

from __future__ import annotations

import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from e2e.cluster.programs import ProgramMissing
from tests.support.helm import CHART, NAMESPACE, HelmMissing, helm, helm_program, rendered
from tests.support.kube_api import ApiServer
from tests.support.operated import eventually, operated, until_ready

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ACCOUNT: Final = f"system:serviceaccount:{NAMESPACE}:mizzen"
# What etcd takes as one object, less what surrounds it.
_MOST_OF_A_SECRET: Final = 700_000
_ROUTE: Final = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "written", "namespace": "default"},
    "spec": {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "a"}}]}]},
}


class Release:
    """Helm's view of the chart in one cluster."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server

    def helm(self, verb: str, *arguments: str) -> str:
        """Run a verb of Helm's on the release."""
        where = (f"--kubeconfig={self.server.kubeconfig}", f"--namespace={NAMESPACE}")
        return helm(verb, "mizzen", *arguments, *where)

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """Return objects of the cluster."""
        answer = self.server.kubectl("get", *arguments, "--output=json", "--ignore-not-found")
        found: dict[str, Any] = json.loads(answer or "{}")
        items: list[dict[str, Any]] = found.get("items", [found] if found else [])
        return items

    def deployment(self) -> dict[str, Any]:
        """Return the operator's Deployment."""
        return self.get("deployment", "mizzen", f"--namespace={NAMESPACE}")[0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart, installed in a cluster of its own."""
    try:
        helm_program()
        server = ApiServer(tmp_path_factory.mktemp("chart"))
    except (HelmMissing, ProgramMissing) as missing:
        pytest.skip(str(missing))
    with server:
        found = Release(server)
        found.helm("install", str(CHART), "--create-namespace")
        yield found


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (
            True,
            (
                "watch pods",
                "watch endpointslices.discovery.k8s.io",
                "list virtualservices.networking.istio.io",
                "patch virtualservices.networking.istio.io/status",
                "patch authorizationpolicies.security.istio.io/status",
                "create meshstatuses.mizzen.dev",
                "patch meshstatuses.mizzen.dev/status",
                "create tokenreviews.authentication.k8s.io",
                "create configmaps",
                "patch configmaps mizzen-ca-root-cert",
                "watch configmaps mizzen-ca-root-cert",
                "get secrets of-a-gateway",
                "create events",
                "patch mutatingwebhookconfigurations.admissionregistration.k8s.io mizzen-injector",
            ),
        ),
        (
            False,
            (
                "list secrets",
                "watch secrets",
                "update secrets",
                "list configmaps",
                "patch configmaps of-others",
                "delete pods",
                "create pods",
                "update virtualservices.networking.istio.io",
                "create serviceaccounts/token",
                "patch mutatingwebhookconfigurations.admissionregistration.k8s.io of-others",
                "delete validatingwebhookconfigurations.admissionregistration.k8s.io of-others",
                "update clusterroles.rbac.authorization.k8s.io mizzen",
            ),
        ),
    ],
)
def test_the_operator_may_do_its_work_and_no_more(
    release: Release, allowed: bool, asked: tuple[str, ...]
) -> None:
    """In a namespace not its own: users' Secrets are not listed, their objects and others' webhooks not changed."""
    assert _answers(release, "default", asked) == dict.fromkeys(asked, allowed)


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        (True, ("patch secrets mizzen-ca", "update leases.coordination.k8s.io mizzen")),
        (False, ("patch secrets cacerts", "update leases.coordination.k8s.io of-others")),
    ],
)
def test_the_operator_keeps_its_keys_and_its_lease(
    release: Release, allowed: bool, asked: tuple[str, ...]
) -> None:
    """In its own namespace the authority's Secret and the Lease may be written, and what is plugged in may not."""
    assert _answers(release, NAMESPACE, asked) == dict.fromkeys(asked, allowed)


async def test_a_replica_needs_no_other_rights(release: Release, tmp_path: Path) -> None:
    """With its own account's token it gets ready, leads, and writes all that it keeps; nothing is forbidden it.

    What the chart rendered stays as it is: whoever compares, as GitOps does, finds nothing to mend.
    """
    async with operated(_kubeconfig(release, tmp_path)) as running:
        await until_ready(running)
        await asyncio.to_thread(release.server.apply, _ROUTE)

        async def is_all_written() -> bool:
            return await asyncio.to_thread(_is_all_written, release)

        await eventually(is_all_written)
    assert "orbidden" not in running.log.getvalue()
    assert _difference(release) == ""


def test_a_release_fits_into_the_secret_that_helm_keeps_it_in(release: Release) -> None:
    """Helm's record, kinds included, stays well below what a Secret can hold."""
    records = release.get("secret", f"--namespace={NAMESPACE}", "--selector=owner=helm")
    assert records
    assert max(len(each["data"]["release"]) for each in records) < _MOST_OF_A_SECRET


def test_upgrade_rollback_and_uninstall(release: Release) -> None:
    """A rollback undoes values, an uninstall leaves what the user wrote, and the same release takes it up again."""
    release.helm("upgrade", str(CHART), "--set=replicas=3")
    assert release.deployment()["spec"]["replicas"] == 3
    release.helm("rollback")
    assert release.deployment()["spec"]["replicas"] == 2

    release.server.apply(_ROUTE)
    release.helm("uninstall")
    assert release.get("virtualservice", "written", "--namespace=default")
    assert [each["metadata"]["name"] for each in _left(release)] == []

    release.helm("install", str(CHART))
    assert release.get("virtualservice", "written", "--namespace=default")


def test_an_upgrade_brings_the_kinds_up_to_date(release: Release, tmp_path: Path) -> None:
    """A kind of an older release gets what the newer one says of it."""
    older = tmp_path / "mizzen"
    shutil.copytree(CHART, older)
    file = older / "files" / "crds" / "peerauthentications.security.istio.io.yaml"
    file.write_text(file.read_text().replace("    shortNames:\n", "    shortNames:\n    - older\n"))
    release.helm("upgrade", str(older))
    assert "older" in _short_names(release)
    release.helm("upgrade", str(CHART))
    assert "older" not in _short_names(release)


def _short_names(release: Release) -> list[str]:
    found = release.get("crd", "peerauthentications.security.istio.io")[0]
    names: list[str] = found["spec"]["names"]["shortNames"]
    return names


def _difference(release: Release) -> str:
    """Return what applying the rendered chart anew would change."""
    how = ("--server-side", "--force-conflicts", "-f", "-")
    return release.server.kubectl("diff", *how, given=rendered())


def _kubeconfig(release: Release, folder: Path) -> Path:
    """Return a kubeconfig that acts as the operator's pod does: with a token of its account."""
    token = release.server.kubectl("create", "token", "mizzen", f"--namespace={NAMESPACE}")
    config = yaml.safe_load(release.server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token.strip()}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def _is_all_written(release: Release) -> bool:
    """Whether there is all that the replica that leads keeps: of each kind of thing, one."""
    route = release.get("virtualservice", "written", "--namespace=default")
    found = (
        route and route[0].get("status", {}).get("conditions"),
        release.get("configmap", "mizzen-ca-root-cert", "--namespace=default"),
        release.get("mutatingwebhookconfiguration", "mizzen-injector"),
        release.get("validatingwebhookconfiguration", "mizzen-validator"),
        release.get("lease", "mizzen", f"--namespace={NAMESPACE}"),
        any("status" in each for each in release.get("meshstatus")),
    )
    return all(found)


def _left(release: Release) -> list[dict[str, Any]]:
    """Return what there is of the release, less the kinds of which users write.

    What the operator made is owned by the ClusterRole: in a cluster, the garbage collector takes it.
    """
    inside = "deployment,service,serviceaccount,role,rolebinding,secret,poddisruptionbudget"
    found = release.get(inside, f"--namespace={NAMESPACE}")
    found += release.get(
        "clusterrole,clusterrolebinding", "--selector=app.kubernetes.io/name=mizzen"
    )
    found += release.get("crd", "meshstatuses.mizzen.dev")
    return [each for each in found if not _is_owned(each)]


def _is_owned(item: dict[str, Any]) -> bool:
    owners = item["metadata"].get("ownerReferences", [])
    return any((each["kind"], each["name"]) == ("ClusterRole", "mizzen") for each in owners)


def _answers(release: Release, namespace: str, asked: tuple[str, ...]) -> dict[str, bool]:
    """Return for each ``VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAME]`` whether the operator may."""
    reviews = {"kind": "List", "apiVersion": "v1", "items": [_review(a, namespace) for a in asked]}
    one = r"--output=jsonpath={.status.allowed}{'\n'}"
    answers = release.server.kubectl("create", "-f", "-", one, given=json.dumps(reviews)).split()
    return {text: each == "true" for text, each in zip(asked, answers, strict=True)}


def _review(text: str, namespace: str) -> dict[str, Any]:
    verb, what, *name = text.split()
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": _ACCOUNT,
            "resourceAttributes": {
                "verb": verb,
                "group": group,
                "resource": plural,
                "subresource": subresource,
                "name": "".join(name),
                "namespace": namespace,
            },
        },
    }

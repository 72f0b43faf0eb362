"""Puts manifests into a cluster by server-side apply, the mesh's own kinds first among them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import yaml

from mizzen.api.crd import definitions
from mizzen.api.documents import split_documents
from mizzen_operator.kube.client import NotFoundError
from mizzen_operator.kube.paths import path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mizzen_operator.kube.client import ApiClient

Manifest = dict[str, Any]

_DEFINITIONS: Final = "apiextensions.k8s.io/v1", "customresourcedefinitions"
_MANAGER: Final = "somebody"
_CLUSTER_WIDE: Final = frozenset(
    (
        "Namespace",
        "Node",
        "CustomResourceDefinition",
        "MeshStatus",
        "ClusterRole",
        "PersistentVolume",
    )
)
_PLURALS: Final = {
    "NetworkPolicy": "networkpolicies",
    **{
        document["spec"]["names"]["kind"]: document["spec"]["names"]["plural"]
        for document in definitions().values()
    },
}


def manifests_of(file: Path) -> Iterator[Manifest]:
    """Yield the objects of a file, those of a List one by one; what is not YAML is passed over."""
    for part in split_documents(file.read_text()):
        try:
            document = yaml.safe_load(part.text)
        except yaml.YAMLError:
            continue
        if isinstance(document, dict) and isinstance(document.get("items"), list):
            yield from document["items"]
        elif isinstance(document, dict):
            yield document


def path_of(manifest: Manifest, namespace: str = "default") -> str:
    """Return where a manifest's object stands."""
    kind, metadata = manifest["kind"], manifest["metadata"]
    home = None if kind in _CLUSTER_WIDE else metadata.get("namespace", namespace)
    plural = _PLURALS.get(kind, f"{kind.lower()}{'es' if kind.endswith('s') else 's'}")
    return path(manifest["apiVersion"], plural, home, metadata["name"])


async def apply(
    client: ApiClient, manifest: Manifest, *, namespace: str = "default", manager: str = _MANAGER
) -> Manifest:
    """Apply a manifest by server-side apply, as ``kubectl apply --server-side`` does."""
    return await client.patch(
        path_of(manifest, namespace), manifest, kind="apply", field_manager=manager, force=True
    )


async def ensure_namespace(client: ApiClient, name: str) -> None:
    """Make sure of a namespace."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await apply(client, manifest)


async def apply_crds(client: ApiClient) -> None:
    """Apply the mesh's kinds, and return when each of them is served."""
    async with asyncio.timeout(60):
        for document in definitions().values():
            await apply(client, document)
        for name in definitions():
            while not await _is_served(client, name):  # noqa: ASYNC110  nothing tells when
                await asyncio.sleep(0.05)


async def _is_served(client: ApiClient, name: str) -> bool:
    """Tell whether a kind can be asked for; it is established a moment before that."""
    spec = (await client.get(path(*_DEFINITIONS, name=name)))["spec"]
    collections = (
        path(f"{spec['group']}/{version['name']}", spec["names"]["plural"])
        for version in spec["versions"]
    )
    try:
        for collection in collections:
            await client.get(collection, limit="1")
    except NotFoundError:
        return False
    return True

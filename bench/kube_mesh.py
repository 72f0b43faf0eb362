"""The generated mesh at a real API server: loaded once, then changed object by object."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import yaml

from bench import mesh
from bench.fleet import nodes
from bench.mesh import NAMESPACE, MeshSize
from bench.node import NodeFacts
from mizzen_operator.kube.client import ApiClient, NotFoundError
from mizzen_operator.kube.paths import RESOURCE_OF

Manifest = dict[str, Any]
_T = TypeVar("_T")
_R = TypeVar("_R")

CONTROL_PLANE: Final = "mizzen-system"
_AT_ONCE: Final = 24
_AUDIENCE: Final = "mizzen-ca"
_TOKEN_SECONDS: Final = 7_200
_NOT_OURS: Final = ("pods", "nodes", "namespaces", "services", "customresourcedefinitions")
_WRITES: Final = re.compile(
    r'^apiserver_request_total\{.*resource="(?P<resource>[^"]*)".*subresource="(?P<sub>[^"]*)"'
    r'.*verb="(?P<verb>POST|PUT|PATCH|APPLY)".*\} (?P<count>\S+)$',
    re.MULTILINE,
)


class KubeMesh:
    """What the benchmark writes to an API server, and asks it."""

    def __init__(self, kubeconfig: Path, size: MeshSize) -> None:
        self._runner = asyncio.Runner()
        self._client = ApiClient.from_kubeconfig(kubeconfig)
        self._size = size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()

    def load(self, *, edited: int, generations: int) -> int:
        """Write the whole mesh; return how many objects that were.

        Of the services that will be edited, pods of later generations are made too, so that a slice
        that changes leads to a pod that is known.
        """
        return self._runner.run(self._load(edited, generations))

    def tokens(self, count: int) -> tuple[list[NodeFacts], list[str]]:
        """Return the proxies of the first pods, and a token of each, bound to its pod."""
        found = nodes(self._size, count)
        return found, self._runner.run(self._each(found, self._token))

    def replace_slice(self, service: int, generation: int) -> None:
        """Have a service's last pod be that of another generation."""
        documents = _documents(mesh.service_documents(service, self._size, replaced=generation))
        (slice_,) = (each for each in documents if each["kind"] == "EndpointSlice")
        self._runner.run(self._client.replace(_path(slice_), slice_))

    def create(self, text: str) -> None:
        """Write a new object."""
        (manifest,) = _documents(text)
        self._runner.run(self._client.create(_collection(manifest), manifest))

    def replace(self, text: str) -> None:
        """Write an object anew."""
        (manifest,) = _documents(text)
        self._runner.run(self._client.patch(_path(manifest), manifest))

    def remove(self, kind: str) -> None:
        """Remove all objects of a kind."""
        self._runner.run(self._client.delete(RESOURCE_OF[kind].path(NAMESPACE)))

    def roots(self) -> str:
        """Return what proxies are to believe; empty while the control plane has not said it."""
        place = RESOURCE_OF["ConfigMap"].path(NAMESPACE, "mizzen-ca-root-cert")
        try:
            found = self._runner.run(self._client.get(place))
        except NotFoundError:
            return ""
        return str(found["data"]["root-cert.pem"])

    async def _load(self, edited: int, generations: int) -> int:
        for name in (CONTROL_PLANE, NAMESPACE):
            await self._ensure_namespace(name)
        services = [
            document
            for index in range(self._size.services)
            for document in _with_later_pods(
                index, self._size, generations if index < edited else 0
            )
        ]
        services.sort(key=lambda each: each["kind"] == "EndpointSlice")
        await self._each(services, self._write)
        return len(services)

    async def _ensure_namespace(self, name: str) -> None:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        place = RESOURCE_OF["Namespace"].path(name=name)
        await self._client.patch(place, manifest, kind="apply", field_manager="bench", force=True)

    async def _write(self, manifest: Manifest) -> None:
        if manifest["kind"] == "Service":
            for address in ("clusterIP", "clusterIPs"):  # the API server's to choose
                manifest["spec"].pop(address)
        made = await self._client.create(_collection(manifest), manifest)
        if "status" in manifest:  # what a kubelet reports comes after
            status = made | {"status": manifest["status"]}
            await self._client.replace(f"{_path(manifest)}/status", status)

    async def _token(self, node: NodeFacts) -> str:
        place = RESOURCE_OF["ServiceAccount"].path(NAMESPACE, node.service_account)
        pod = {"kind": "Pod", "apiVersion": "v1", "name": node.name}
        spec = {
            "audiences": [_AUDIENCE],
            "boundObjectRef": pod,
            "expirationSeconds": _TOKEN_SECONDS,
        }
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
        }
        answer = await self._client.create(f"{place}/token", request)
        return str(answer["status"]["token"])

    async def _each(self, items: Iterable[_T], act: Callable[[_T], Awaitable[_R]]) -> list[_R]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(item: _T) -> _R:
            async with room:
                return await act(item)

        return list(await asyncio.gather(*map(one, items)))


def status_writes(metrics: str) -> Counter[str]:
    """Return how often what people look at was written, from an API server's metrics."""
    counts: Counter[str] = Counter()
    for found in _WRITES.finditer(metrics):
        resource, subresource = found["resource"], found["sub"]
        is_theirs = subresource == "status" and resource not in _NOT_OURS
        if is_theirs or resource == "events":
            counts[resource] += int(float(found["count"]))
    return counts


def _with_later_pods(index: int, size: MeshSize, generations: int) -> list[Manifest]:
    found = _documents(mesh.service_documents(index, size))
    for generation in range(1, generations + 1):
        later = _documents(mesh.service_documents(index, size, replaced=generation))
        found.append([each for each in later if each["kind"] == "Pod"][-1])
    return found


def _documents(text: str) -> list[Manifest]:
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


def _collection(manifest: Manifest) -> str:
    return RESOURCE_OF[manifest["kind"]].path(manifest["metadata"]["namespace"])


def _path(manifest: Manifest) -> str:
    return f"{_collection(manifest)}/{manifest['metadata']['name']}"

"""A namespace of a test's own at an API server: a Service, VirtualServices, and what stands on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mizzen_operator.inject.decide import STATUS
from mizzen_operator.kube.paths import path
from tests.support.cluster_objects import apply, ensure_namespace

if TYPE_CHECKING:
    from mizzen_operator.kube.client import ApiClient

Manifest = dict[str, Any]
Told = tuple[str, str, str]


class Shop:
    """A namespace of a test's own, with a Service and two pods."""

    def __init__(self, api: ApiClient, name: str) -> None:
        self.api = api
        self.name = name

    async def make(self) -> None:
        """Make the namespace and what is in it."""
        await ensure_namespace(self.api, self.name)
        await apply(self.api, service("reviews"), namespace=self.name)

    async def virtual_service(self, name: str = "reviews", **http: Any) -> Manifest:  # noqa: ANN401
        """Write a VirtualService for a host of the same name."""
        return await apply(self.api, _virtual_service(name, **http), namespace=self.name)

    async def injected_pod(self, name: str) -> None:
        """Have a pod that has a sidecar, and an address."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {STATUS: "{}"}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        }
        await apply(self.api, pod, namespace=self.name)
        where = path("v1", "pods", self.name, name, "status")
        await self.api.patch(where, {"status": {"phase": "Running", "podIP": "10.0.0.9"}})

    async def conditions(self, name: str = "reviews") -> dict[str, Manifest]:
        """Return an object's conditions by their types."""
        raw = await self.raw(name)
        found = (raw.get("status") or {}).get("conditions", ())
        return {one["type"]: one for one in found}

    async def raw(self, name: str = "reviews") -> Manifest:
        """Return a VirtualService as it stands there."""
        where = path("networking.istio.io/v1", "virtualservices", self.name, name)
        return await self.api.get(where)

    async def events(self, name: str) -> list[Manifest]:
        """Return the Events about something."""
        where = path("v1", "events", self.name)
        return await self.api.list(where, fieldSelector=f"involvedObject.name={name}")


def service(name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [{"name": "http", "port": 9080}], "selector": {"app": name}},
    }


def _virtual_service(name: str, **http: Any) -> Manifest:  # noqa: ANN401  fields of a manifest
    rule = {"route": [{"destination": {"host": name}}], **http}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [name], "http": [rule]},
    }


def told(condition: Manifest) -> Told:
    """Return what a condition says, without when and of which generation."""
    return condition["status"], condition["reason"], condition.get("message", "")

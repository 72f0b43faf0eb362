"""Where the other replicas are: the endpoints of the control plane's own Service, less ourselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mizzen.model.kube import EndpointSlice

if TYPE_CHECKING:
    from mizzen.model.world import Batch
    from mizzen.names import ObjectKey


class Replicas:
    """Follows the slices of ``service`` in ``namespace``; ``own`` is the pod's own name.

    A replica that is not ready has nothing to say yet, and one that ends hands its proxies over.
    """

    def __init__(self, namespace: str, service: str, own: str, port: int) -> None:
        self._namespace = namespace
        self._service = service
        self._own = own
        self._port = port
        self._slices: dict[ObjectKey, EndpointSlice] = {}

    def take_batch(self, batch: Batch) -> None:
        """Take note of slices that came, changed and went."""
        for key, item in batch.changes.items():
            if key.kind != "EndpointSlice" or key.namespace != self._namespace:
                continue
            if isinstance(item, EndpointSlice) and item.service == self._service:
                self._slices[key] = item
            else:
                self._slices.pop(key, None)

    def addresses(self) -> tuple[str, ...]:
        """Return the addresses (``host:port``) of the others, in order; of each replica one."""
        found: dict[str, str] = {}
        for item in self._slices.values():
            for endpoint in item.endpoints:
                if endpoint.ready and endpoint.pod != self._own and endpoint.addresses:
                    address = endpoint.addresses[0]
                    host = f"[{address}]" if ":" in address else address
                    found.setdefault(endpoint.pod or address, f"{host}:{self._port}")
        return tuple(sorted(found.values()))

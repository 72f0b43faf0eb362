"""What a pod asks of capture, as its annotations say, makes its proxy one of another class."""

from __future__ import annotations

from typing import Any, Final

from mizzen.compile import Compiler
from mizzen.model.world import Batch
from mizzen.wire import TypeUrl
from tests.support.show import show
from tests.support.small_mesh import istio, pod, pod_name, read, service, sidecar

_ADDRESS: Final = "10.0.0.1"
_TRANSPARENT: Final = "sidecar.istio.io/interceptionMode: TPROXY"
_DNS: Final = 'sidecar.mizzen.dev/dnsCapture: "true"'


def _entry(name: str, address: str, *, export_to: str = "*") -> str:
    return istio(
        "ServiceEntry",
        name,
        f"""
        hosts: [{name}.example.com]
        addresses: [{address}]
        exportTo: ["{export_to}"]
        ports: [{{number: 80, name: http, protocol: HTTP}}]
        resolution: STATIC
        endpoints: [{{address: 10.0.0.9}}]
        """,
        namespace="other",
    )


def _pod(annotation: str) -> str:
    """Return a pod with an annotation."""
    return pod(_ADDRESS, "cart").replace(
        "metadata: {", f"metadata: {{annotations: {{{annotation}}}, "
    )


class _Mesh:
    """A compiler, and the listeners that the one proxy of its World gets."""

    def __init__(self, *texts: str) -> None:
        self._compiler = Compiler()
        self.commit(*texts)

    def commit(self, *texts: str) -> None:
        self._compiler.commit(Batch(changes=read(*texts)))

    def listeners(self) -> dict[str, dict[str, Any]]:
        node = sidecar(name=pod_name(_ADDRESS))
        bundle = self._compiler.bundle(self._compiler.classify(node))
        tables = bundle.layers(TypeUrl.LISTENER)
        return {name: show(entry.resource) for table in tables for name, entry in table.items()}

    def names(self) -> dict[str, list[str]]:
        config = self.listeners()["dns"]["listener_filters"][0]["typed_config"]
        table = config["server_config"]["inline_dns_table"]
        return {
            domain["name"]: domain["endpoint"]["address_list"]["address"]
            for domain in table.get("virtual_domains", ())
        }


def test_a_pod_with_tproxy_has_a_transparent_listener() -> None:
    """And one without has not."""
    assert _Mesh(_pod(_TRANSPARENT)).listeners()["virtualInbound"]["transparent"] is True
    assert "transparent" not in _Mesh(pod(_ADDRESS, "cart")).listeners()["virtualInbound"]


def test_names_of_the_mesh_are_for_those_who_ask() -> None:
    """Entries with addresses that the namespace sees; Services are the name servers' business."""
    texts = (
        service("cart"),
        _entry("orders", "240.0.0.1"),
        _entry("ranges", "240.0.0.0/24"),
        _entry("hidden", "240.0.0.3", export_to="."),
    )
    assert _Mesh(_pod(_DNS), *texts).names() == {"orders.example.com": ["240.0.0.1"]}
    assert "dns" not in _Mesh(pod(_ADDRESS, "cart"), *texts).listeners()


def test_a_table_follows_its_entries() -> None:
    """A new address, another entry, and one that lost its address; what does not matter makes nothing new."""
    mesh = _Mesh(_pod(_DNS), _entry("orders", "240.0.0.1"))
    mesh.commit(_entry("orders", "240.0.0.2"), _entry("extra", "240.0.0.3"))
    assert mesh.names() == {
        "extra.example.com": ["240.0.0.3"],
        "orders.example.com": ["240.0.0.2"],
    }
    before = mesh.listeners()["dns"]
    mesh.commit(service("cart"))
    assert mesh.listeners()["dns"] == before
    mesh.commit(_entry("orders", "240.0.0.0/24"))
    assert mesh.names() == {"extra.example.com": ["240.0.0.3"]}

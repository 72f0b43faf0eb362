"""One thread compiles: the first change at once, later ones together, only what differs is handed over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from mizzen.api.parse import parse_object
from mizzen.compile import Compiler
from mizzen.diagnostics import UNKNOWN_HOST
from mizzen.model.kube import Protocol, Service, ServicePort
from mizzen.model.meta import Meta
from mizzen.model.proxy import NodeInfo, ProxyKind
from mizzen.model.world import Batch, Parsed
from mizzen.wire import TypeUrl
from mizzen_operator.compiler import CompilerThread, Round, merge
from tests.unit.operator.manifests import service_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from mizzen.diagnostics import Diagnostic
    from mizzen.names import ObjectKey

WEB = NodeInfo(
    id="sidecar~10.0.0.9~web.shop~shop.svc.cluster.local",
    kind=ProxyKind.SIDECAR,
    ip="10.0.0.9",
    name="web",
    namespace="shop",
)
ELSEWHERE = NodeInfo(
    id="sidecar~10.0.0.8~job.other~other.svc.cluster.local",
    kind=ProxyKind.SIDECAR,
    ip="10.0.0.8",
    name="job",
    namespace="other",
)


def service(name: str, port: int = 80) -> Service:
    """A Service with one HTTP port."""
    return Service(
        meta=Meta(kind="Service", namespace="shop", name=name),
        ports=(ServicePort(name="http", number=port, protocol=Protocol.HTTP),),
        cluster_ips=("10.1.0.1",),
    )


def batch(*services: Service, complete: bool = True) -> Batch:
    """A batch of services."""
    return Batch(changes={item.meta.key: item for item in services}, complete=complete)


class Running:
    """A compiler thread and what it has handed over."""

    def __init__(self) -> None:
        self.rounds: asyncio.Queue[Round] = asyncio.Queue()
        self.findings: asyncio.Queue[Mapping[ObjectKey, tuple[Diagnostic, ...]]] = asyncio.Queue()
        self.thread = CompilerThread(
            Compiler(),
            on_round=self.rounds.put_nowait,
            on_findings=self.findings.put_nowait,
        )

    async def round(self) -> Round:
        """The next round."""
        async with asyncio.timeout(20):
            return await self.rounds.get()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A thread that compiles while the test runs."""
    running = Running()
    task = asyncio.create_task(running.thread.run())
    yield running
    task.cancel()
    await asyncio.wait([task])


async def test_a_proxy_gets_a_class_and_the_class_a_bundle(running: Running) -> None:
    running.thread.submit(batch(service("cart")))
    await running.round()
    running.thread.set_proxies({"p1": WEB})
    made = await running.round()
    (of,) = made.bundles
    assert made.classes == {"p1": of}
    assert made.bundles[of].get(TypeUrl.CLUSTER, "outbound|80||cart.shop.svc.cluster.local")


async def test_nothing_is_handed_over_before_the_source_has_told_everything(
    running: Running,
) -> None:
    running.thread.set_proxies({"p1": WEB})
    assert not (await running.round()).classes
    running.thread.submit(batch(service("cart"), complete=False))
    assert not (await running.round()).bundles
    running.thread.submit(batch(service("stock")))
    assert (await running.round()).classes.keys() == {"p1"}


async def test_only_what_differs_is_handed_over(running: Running) -> None:
    running.thread.submit(batch(service("cart")))
    await running.round()
    running.thread.set_proxies({"p1": WEB})
    await running.round()
    running.thread.set_proxies({"p1": WEB, "p2": WEB})
    made = await running.round()
    assert made.classes.keys() == {"p2"}
    assert not made.bundles
    running.thread.submit(batch(service("cart")))
    made = await running.round()
    assert not made.classes
    assert not made.bundles
    running.thread.submit(batch(service("cart", 81)))
    assert len((await running.round()).bundles) == 1


async def test_a_class_that_nobody_has_any_more_is_let_go(running: Running) -> None:
    running.thread.submit(batch(service("cart")))
    await running.round()
    running.thread.set_proxies({"p1": WEB, "p2": ELSEWHERE})
    of = (await running.round()).classes["p2"]
    running.thread.set_proxies({"p1": WEB})
    assert (await running.round()).gone == {of}


async def test_findings_come_after_the_change_and_only_then(running: Running) -> None:
    running.thread.submit(batch(service("cart")))
    made = await running.round()
    async with asyncio.timeout(20):
        assert await running.findings.get() is not None
    running.thread.set_proxies({"p1": WEB})
    assert (await running.round()).revision == made.revision
    assert running.findings.empty()


async def test_an_object_is_considered_between_rounds(running: Running) -> None:
    """A question is answered from what has come before it, and is no round of its own."""
    lonely = parse_object(
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "cart", "namespace": "shop"},
            "spec": {"hosts": ["cart"], "http": [{"route": [{"destination": {"host": "cart"}}]}]},
        }
    )
    assert isinstance(lonely, Parsed)
    assert lonely.object is not None
    assert await running.thread.consider(lonely.key, lonely.object) == ()
    running.thread.submit(batch(service("stock")))
    (found,) = await running.thread.consider(lonely.key, lonely.object)
    assert found.code is UNKNOWN_HOST
    running.thread.submit(batch(service("cart")))
    assert await running.thread.consider(lonely.key, lonely.object) == ()
    revisions = [(await running.round()).revision for _ in range(2)]
    assert revisions[1] == revisions[0] + 1
    assert running.rounds.empty()


async def test_a_compiler_that_fails_ends_the_run() -> None:
    class Failing(Compiler):
        def commit(self, batch: Batch) -> int:
            raise ValueError("broken program")

    thread = CompilerThread(Failing(), on_round=lambda _: None, on_findings=lambda _: None)
    thread.submit(batch())
    with pytest.raises(ValueError, match="broken program"):
        async with asyncio.timeout(20):
            await thread.run()


def test_of_two_merged_batches_the_later_one_counts() -> None:
    first = Batch(changes={service_key("a"): service("a"), service_key("b"): None}, complete=True)
    second = Batch(changes={service_key("a"): None}, complete=False)
    merged = merge(first, second)
    assert merged.changes == {service_key("a"): None, service_key("b"): None}
    assert merged.complete
    assert merge(None, second) is second

"""Speaking as a pod from outside of its network, and the door on the host."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from mizzen_cli.demo.gate import gate
from mizzen_cli.demo.mesh import Mesh, MeshError, Sources
from mizzen_cli.demo.proxies import AskError, ask
from mizzen_cli.demo.traffic import Visitor, under_load

if TYPE_CHECKING:
    from collections.abc import Iterator

_APP: Final = Path(__file__).parents[2] / "samples" / "shop" / "app"
_POD: Final = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: test
  annotations: {{sidecar.istio.io/inject: "false"}}
spec:
  containers:
    - name: app
      command: [python, /app/shop.py]
      args: [--name={name}, --port=80, --tcp-port=81]
status: {{podIP: {ip}}}
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two pods without Envoys, and no control plane."""
    folder = tmp_path_factory.mktemp("manifests")
    for name, ip in (("ann", "10.44.0.2"), ("bob", "10.44.0.3")):
        (folder / f"{name}.yaml").write_text(_POD.format(name=name, ip=ip), encoding="utf-8")
    with Mesh(Sources(manifests=folder, apps=_APP)) as made:
        made.start_networks()
        made.start_apps()
        for pod in made.cast.pods:
            made.until(lambda pod=pod: _is_up(made, pod.ip), 15, pod.name, "none")  # type: ignore[misc]
        yield made


def _is_up(mesh: Mesh, ip: str) -> bool:
    try:
        return ask(mesh.realm, "", (ip, 80), "/self")[0] == 200
    except AskError:
        return False


async def test_a_visitor_speaks_from_its_pods_address(mesh: Mesh) -> None:
    """The server sees the pod's address, or the hub's where no pod is named."""
    async with Visitor(mesh, "ann") as ann, Visitor(mesh) as hub:
        seen = [(await visitor.get("http://bob/self")).body["from"] for visitor in (ann, hub)]
    assert seen == ["10.44.0.2", "10.44.0.1"]


async def test_what_a_network_does_is_an_answer(mesh: Mesh) -> None:
    """Neither a closed port nor an unknown name raises."""
    async with Visitor(mesh, "ann") as ann:
        closed = await ann.get("http://bob:82/self")
        unknown = await ann.get("http://nobody/")
    assert (closed.status, unknown.status) == (0, 0)
    assert closed.failure
    assert unknown.failure


async def test_many_requests_are_exactly_as_many(mesh: Mesh) -> None:
    """Workers share one count."""
    async with Visitor(mesh, "ann") as ann:
        answers = await ann.many("http://bob/self", 50)
    assert [answer.ok for answer in answers] == [True] * 50


async def test_load_counts_what_it_met(mesh: Mesh) -> None:
    """Requests go on while the block lasts, and each failure has its reason."""
    async with Visitor(mesh, "ann") as ann:
        calls = ((ann, "http://bob/self"), (ann, "http://nobody/"))
        async with under_load(calls) as load:
            await load.more(50)
    assert load.requests >= 50
    assert 0 < load.failed < load.requests
    assert all("nobody" in reason for reason in load.failures)


async def test_a_conversation_goes_on_until_it_is_cut(mesh: Mesh) -> None:
    """Lines are counted while they are answered; the cut is a failure like that of a request."""
    async with Visitor(mesh, "ann") as ann:
        with closing(await ann.talk("bob", 81)) as partner:
            assert await partner.say("ten crowns") == "bob: ten crowns"
            async with under_load(((ann, "http://bob/self"),), partner) as load:
                await load.more(20)
                partner.hang_up()
                await load.more(20)
    assert load.lines > 0
    assert [reason.partition(":")[0] for reason in load.failures] == ["the open connection"]


async def test_the_door_on_the_host_leads_inside(mesh: Mesh) -> None:
    """A port of the host's loopback is answered by a pod."""
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    async with (
        gate(mesh, listening, (mesh.pod("bob").ip, 80)),
        Visitor(mesh, from_host=True) as browser,
    ):
        answer = await browser.get(f"http://{host}:{port}/self")
    assert answer.ok
    assert (answer.body["service"], answer.body["from"]) == ("bob", "10.44.0.1")


def test_what_has_ended_is_named(tmp_path: Path) -> None:
    """An application that ends at once is told of, with what it said last, whatever is waited for."""
    text = _POD.format(name="ann", ip="10.44.0.2").replace("--port=80", "--colour=red")
    (tmp_path / "ann.yaml").write_text(text, encoding="utf-8")
    with Mesh(Sources(manifests=tmp_path, apps=_APP)) as made:
        made.start_networks()
        made.start_apps()
        with pytest.raises(MeshError, match=r"the app of \S+: ended with code 2\n(.|\n)*--colour"):
            made.until(lambda: False, 15, "nothing", "none")

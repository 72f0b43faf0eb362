"""What a scenario is given: a namespace of its own in the cluster, its manifests, and ways to look and to wait."""

from __future__ import annotations

import json
import string
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from e2e.cluster.kubectl import CommandFailed
from e2e.images import APPLICATION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.cluster.kubectl import KubectlCluster

SYSTEM: Final = "mizzen-system"
_LOOK_S: Final = 0.5
_READY_S: Final = 180
_MAIN: Final = "/application/main.py"
_COUNTS: Final = (
    "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9000/').read().decode())"
)


class SeenOtherwise(Exception):
    """What was seen is not what must be seen."""


def see(holds: bool, what: str) -> None:
    """Say what must be seen; raise SeenOtherwise where it is not."""
    if not holds:
        raise SeenOtherwise(what)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer to a request, or why there was none."""

    failure: str
    said: dict[str, Any]

    @property
    def version(self) -> str:
        """The version of whoever answered."""
        return str(self.said.get("version", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A scenario's view of the cluster."""

    cluster: KubectlCluster
    folder: Path
    namespace: str
    chart: Path

    def say(self, what: str) -> None:
        """Tell whoever waits what is being done."""
        print(f"    {what}", flush=True)

    def kubectl(self, *arguments: str, given: str | None = None, timeout_s: float = 300) -> str:
        """Run kubectl in the scenario's namespace."""
        return self.cluster.kubectl(
            f"--namespace={self.namespace}", *arguments, given=given, timeout_s=timeout_s
        )

    def get(self, *what: str) -> dict[str, Any]:
        """Return an object, or a list of objects, as data."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *what, "-o", "json"))
        return found

    def items(self, *what: str) -> list[dict[str, Any]]:
        """Return the objects of a list."""
        found: list[dict[str, Any]] = self.get(*what)["items"]
        return found

    def apply(self, *names: str) -> str:
        """Apply manifests of the scenario's folder; return what kubectl says, warnings too."""
        return "".join(self.kubectl("apply", "-f", str(self.folder / name)) for name in names)

    def apply_text(self, text: str) -> str:
        """Apply manifests that are made up as the scenario goes."""
        return self.kubectl("apply", "-f", "-", given=text)

    def fill(self, name: str, **values: object) -> str:
        """Apply a manifest of the folder with values in the place of its ``$NAMES``."""
        text = (self.folder / name).read_text(encoding="utf-8")
        return self.apply_text(string.Template(text).substitute(values))

    def mark(self, mark: str, *, of: str = "pod/load") -> None:
        """Change the route to ``web`` so that requests carry a mark; see it live, and on a request."""
        self.fill("marks.yaml", MARK=mark)
        self.await_live("virtualservice/web")
        (answer,) = self.ask("http://web/", of=of)
        found = answer.failure or answer.said["headers"].get("x-mark")
        see(found == mark, f"what is live is in force: {mark}, not {found}")

    def await_rollout(self, *workloads: str) -> None:
        """Wait until workloads (deployment/web) have all their pods ready."""
        for workload in workloads:
            self.kubectl("rollout", "status", workload, f"--timeout={_READY_S}s")

    def await_live(self, *objects: str) -> None:
        """Wait until mesh objects are live on every proxy that they concern."""
        for one in objects:
            self.kubectl("wait", "--for=condition=Live", one, "--timeout=60s")

    def eventually(
        self, holds: Callable[[], bool], what: str, *, within_s: float = _READY_S
    ) -> None:
        """Wait until something is so; raise SeenOtherwise where it never is."""
        deadline = time.monotonic() + within_s
        while not holds():
            see(time.monotonic() < deadline, f"never within {within_s:.0f} s: {what}")
            time.sleep(_LOOK_S)

    def ask(self, url: str, times: int = 1, *, of: str = "deploy/client") -> list[Answer]:
        """Have a pod ask, each time on a connection of its own, and return the answers."""
        command = ["exec", of, "-c", "app", "--", "python3", _MAIN, "ask", url, str(times)]
        return [_answer(line) for line in self.kubectl(*command).splitlines()]

    def run_in(self, pod: str, *command: str, container: str = "app") -> str:
        """Run a command in a pod."""
        return self.kubectl("exec", pod, "-c", container, "--", *command)

    @contextmanager
    def load(self, url: str, *, name: str = "load", least: int = 50) -> Iterator[Load]:
        """Have a pod of the mesh ask again and again while something happens; not one request may fail."""
        self.apply_text(_load_pod(name, url))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", f"--timeout={_READY_S}s")
        load = Load(scene=self, name=name)
        self.eventually(lambda: load.counts()["sent"] > 0, f"{name} asks {url}")
        yield load
        load.await_more(20)
        counts = load.counts()
        self.say(f"load on {url}: {counts['sent']} requests, {counts['failed']} failed")
        see(not counts["failed"], f"requests failed under load: {counts['failures']}")
        see(counts["sent"] >= least, f"too little load to tell: {counts['sent']} requests")
        self.kubectl("delete", "pod", name, "--now")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A pod that asks again and again."""

    scene: Scene
    name: str

    def counts(self) -> dict[str, Any]:
        """Return how many requests were sent and failed, why, and who answered how many."""
        try:
            said = self.scene.run_in(self.name, "python3", "-c", _COUNTS)
        except CommandFailed as failed:
            see("container not found" not in str(failed), f"the load has ended: {failed}")
            return {"sent": 0, "failed": 0, "failures": [], "by": {}}
        found: dict[str, Any] = json.loads(said)
        return found

    def await_more(self, requests: int) -> None:
        """Wait until so many more requests have been answered, or failed."""
        goal = self.counts()["sent"] + requests
        self.scene.eventually(lambda: self.counts()["sent"] >= goal, "the load goes on")


def _answer(line: str) -> Answer:
    found = json.loads(line)
    return Answer(failure=found["failure"], said=found["said"])


def _load_pod(name: str, url: str) -> str:
    container = {
        "name": "app",
        "image": APPLICATION,
        "args": ["load", url],
        "readinessProbe": {"httpGet": {"path": "/", "port": 9000}, "periodSeconds": 1},
    }
    metadata = {"name": name, "labels": {"app": name}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

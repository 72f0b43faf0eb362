"""What a check is, and how a list of them is run: a check is data, and no check needs the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mizzen_operator.kube.client import ApiError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mizzen_operator.kube.client import ApiClient

Json = dict[str, Any]
State = Literal["passed", "warning", "failed", "skipped"]


class ClusterView:
    """What checks look at; each object is read once."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._lists: dict[str, list[Json]] = {}

    async def get(self, path: str) -> Json | None:
        """Return an object, None where there is none."""
        try:
            return await self.api.get(path)
        except NotFoundError:
            return None

    async def list(self, path: str, **params: str) -> list[Json]:
        """Return the objects of a collection; none where the cluster does not know the kind."""
        key = f"{path} {sorted(params.items())}"
        if key not in self._lists:
            try:
                self._lists[key] = await self.api.list(path, **params)
            except NotFoundError:
                self._lists[key] = []
        return self._lists[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A check.

    Attributes:
        id: Stable, for scripts.
        proves: What holds where it passes, a sentence.
        remedy: What to do where it does not.
        link: The page that explains it, from the repository's root.
        requires: The checks without which this one has no meaning.
        is_warning: Whether the mesh works all the same.
        look: Returns what is wrong, empty where nothing is.
    """

    id: str
    proves: str
    remedy: str
    look: Callable[[ClusterView], Awaitable[str]]
    link: str = "docs/kubernetes.md"
    requires: tuple[str, ...] = ()
    is_warning: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a check."""

    check: Check
    state: State
    message: str = ""

    def document(self) -> Json:
        """Return it as JSON has it."""
        said = {"message": self.message} if self.message else {}
        to_do = self.state in ("failed", "warning")
        remedy = {"remedy": self.check.remedy, "link": self.check.link} if to_do else {}
        return {
            "id": self.check.id,
            "state": self.state,
            "proves": self.check.proves,
            **said,
            **remedy,
        }


async def run_checks(checks: tuple[Check, ...], view: ClusterView) -> tuple[Result, ...]:
    """Run checks; one whose requirements have not passed is skipped."""
    results: dict[str, Result] = {}
    for check in checks:
        missing = [
            name
            for name in check.requires
            if name in results and results[name].state in ("failed", "skipped")
        ]
        results[check.id] = await _run(check, view, missing)
    return tuple(results.values())


async def _run(check: Check, view: ClusterView, missing: list[str]) -> Result:
    if missing:
        return Result(check=check, state="skipped", message=f"needs {', '.join(missing)}")
    try:
        wrong = await check.look(view)
    except ApiError as error:
        wrong = str(error)
    if not wrong:
        return Result(check=check, state="passed")
    return Result(check=check, state="warning" if check.is_warning else "failed", message=wrong)

"""The README's five minutes, word by word, as a new user does them: from the labelled namespace to a canary seen live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from e2e.scene import see

if TYPE_CHECKING:
    from e2e.scene import Scene

_ROOT: Final = Path(__file__).parents[3]
# The README's commands after the label; the scenario has a namespace of its own instead of `default`.
_COMMANDS: Final = (
    "kubectl apply -f samples/kubernetes/reviews.yaml",
    "kubectl wait --for=condition=Ready pod --all --timeout=2m",
    "kubectl apply -f samples/kubernetes/canary.yaml",
    "kubectl wait --for=condition=Live virtualservice/reviews",
    "kubectl logs deploy/caller -c caller --tail=20",
    "kubectl get virtualservice,meshstatus",
)
_VERSIONS: Final = {"v1", "v2"}


def run(scene: Scene) -> None:
    """Do what the README says, and see what it promises."""
    readme = (_ROOT / "README.md").read_text(encoding="utf-8")
    for command in _COMMANDS:
        see(command in readme, f"the README says: {command}")
        if "logs" in command:
            _await_answers(scene)
        scene.say(f"$ {command}")
        said = scene.kubectl(*command.replace("samples/", f"{_ROOT}/samples/").split()[1:])
        for line in said.splitlines():
            scene.say(f"  {line}")


def _await_answers(scene: Scene) -> None:
    """Wait until the caller has had answers of both versions: it asks once a second."""

    def both() -> bool:
        said = scene.kubectl("logs", "deploy/caller", "-c", "caller").splitlines()
        # Until the first version is up there is nobody to answer.
        since = next((at for at, line in enumerate(said) if line in _VERSIONS), len(said))
        see(set(said[since:]) <= _VERSIONS, f"every call is answered: {said[since:]}")
        return set(said[since:]) == _VERSIONS

    scene.eventually(both, "some answers by v2, most by v1", within_s=120)

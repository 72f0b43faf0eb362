"""Steps 10 and 11: what is broken is refused by name, by us or by Envoy, and all else goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import Measured, undisturbed
from mizzen_cli.demo.steps.canary import FILE, OBJECT, other_weights

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Note, Stage
    from mizzen_cli.demo.status import Finding, ObjectStatus

_RETRIES_FILE: Final = "resilience.yaml"
_RETRIES: Final = ("VirtualService", "shop/catalog")

# Valid by every rule that Istio's API has; Envoy alone knows which format operators it has.
_REJECTED_FILE: Final = "ledger-header.yaml"
_REJECTED: Final = ("VirtualService", "shop/ledger")
_OPERATOR: Final = "NO_SUCH_OPERATOR"
_REJECTED_TEXT: Final = f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: ledger
  namespace: shop
spec:
  hosts: [ledger]
  http:
    - headers:
        response:
          set:
            x-served-by: "%{_OPERATOR}%"
      route:
        - destination: {{host: ledger}}
"""


async def broken_file(stage: Stage, note: Note) -> None:
    """Save a file that is not YAML, under load, and another one that is good."""
    async with stage.restored(_RETRIES_FILE), stage.restored(FILE), stage.load() as load:
        line = 1 + stage.read(FILE).splitlines().index("  hosts: [reviews]")
        stage.edit(FILE, ("  hosts: [reviews]", "  hosts: [reviews"))
        found = await stage.until(lambda: _finding_in(stage, FILE), f"a finding in {FILE}")
        note(
            Measured(
                what=f"{FILE}, a bracket left open in line {line}",
                value=f"{found.code} {FILE}:{found.line}: {found.message}",
                # a parser sees that something is missing where the next thing stands
                holds=line <= found.line <= line + 1,
                expected=f"an error in {FILE}, line {line} or the one after it",
            )
        )
        saved = stage.edit(_RETRIES_FILE, ("attempts: 3", "attempts: 2"))
        landed = await stage.live(*_RETRIES, saved)
        note(Measured(what=f"{_RETRIES_FILE}, saved meanwhile", value=str(landed)))
        note(_still_in_force(stage))
    note(undisturbed(load))
    await stage.until(lambda: not _finding_in(stage, FILE), f"{FILE} is good again")


async def rejected_by_envoy(stage: Stage, note: Note) -> None:
    """Save something that only Envoy finds wrong, together with an edit that is right."""
    async with stage.restored(FILE), stage.restored(_REJECTED_FILE), stage.load() as load:
        stage.write(_REJECTED_FILE, _REJECTED_TEXT)
        saved = stage.write(FILE, other_weights(stage.read(FILE)))
        guilty = await stage.until(lambda: _rejected(stage), f"{_REJECTED} is named as rejected")
        note(
            Measured(
                what=f"{_REJECTED_FILE}, with %{_OPERATOR}%",
                value=f"{guilty.kind} {guilty.namespace}/{guilty.name}: live on {guilty.live} of "
                f"{guilty.of} proxies",
                holds=guilty.live == 0 and guilty.of > 0,
                expected="rejected, and so live on no proxy",
            )
        )
        note(Measured(what="why, as it stands on that object", value=_words_of(guilty)))
        note(
            Measured(
                what=f"{FILE}, saved at the same time",
                value=str(await stage.live(*OBJECT, saved)),
            )
        )
    note(undisturbed(load))
    await stage.until(lambda: not _anything_rejected(stage), "nothing is rejected any more")


def _still_in_force(stage: Stage) -> Measured:
    now = stage.status().object(*OBJECT)
    still = now is not None and now.fully_live
    return Measured(
        what=f"the last good version of {FILE}",
        value=f"live on {now.live} of {now.of} proxies" if now else "gone",
        holds=still,
        expected="in force as before",
    )


def _finding_in(stage: Stage, file: str) -> Finding | None:
    status = stage.status()
    everything = (*status.findings, *(f for found in status.objects for f in found.findings))
    return next((found for found in everything if found.file.endswith(f"/{file}")), None)


def _rejected(stage: Stage) -> ObjectStatus | None:
    """Return the guilty object once the control plane has Envoy's words for it."""
    found = stage.status().object(*_REJECTED)
    return found if found is not None and _words_of(found) else None


def _words_of(rejected: ObjectStatus) -> str:
    return next((f.message for f in rejected.findings if _OPERATOR in f.message), "")


def _anything_rejected(stage: Stage) -> bool:
    return any(proxy.rejected for proxy in stage.status().proxies)

"""Steps 5 and 6: what is broken is refused by name, by us or by Envoy, and all else goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mizzen_cli.demo.stage import Measured
from mizzen_cli.demo.steps.canary import FILE, OBJECT, REVIEWS
from mizzen_cli.demo.traffic import under_load

if TYPE_CHECKING:
    from mizzen_cli.demo.stage import Stage
    from mizzen_cli.demo.status import Finding, ObjectStatus
    from mizzen_cli.demo.traffic import Load

_FRONTEND: Final = "frontend-v1"
_LEDGER: Final = "http://ledger:9080/self"
_CATALOG: Final = "http://catalog:9080/self"

# Valid by every rule that Istio's API has; Envoy alone knows which format operators it has.
_REJECTED_FILE: Final = "ledger-header.yaml"
_REJECTED: Final = ("VirtualService", "shop/ledger")
_REJECTED_TEXT: Final = """\
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
            x-served-by: "%NO_SUCH_OPERATOR%"
      route:
        - destination: {host: ledger}
"""


async def broken_file(stage: Stage) -> tuple[Measured, ...]:
    """Save a file that is not YAML, under load."""
    urls = (REVIEWS, _CATALOG, _LEDGER)
    async with stage.restored(FILE), under_load(stage.inside[_FRONTEND], urls) as load:
        line = 1 + stage.read(FILE).splitlines().index("  hosts: [reviews]")
        await stage.edit(FILE, ("  hosts: [reviews]", "  hosts: [reviews"))
        found = await stage.until(lambda: _finding_in(stage, FILE), f"a finding in {FILE}")
        object_now = stage.status().object(*OBJECT)
    still = object_now is not None and object_now.fully_live
    return (
        Measured(
            what=f"{FILE} with a bracket left open in line {line}",
            value=f"{found.code} {found.file}:{found.line} {found.message}",
            holds=found.line >= line,
        ),
        Measured(
            what="the last good version of its objects",
            value="in force" if still else "gone",
            holds=still,
        ),
        _nothing_failed(load),
    )


async def rejected_by_envoy(stage: Stage) -> tuple[Measured, ...]:
    """Save something that only Envoy finds wrong, together with an edit that is right."""
    urls = (REVIEWS, _CATALOG, _LEDGER)
    async with stage.restored(_REJECTED_FILE), under_load(stage.inside[_FRONTEND], urls) as load:
        stage.write(_REJECTED_FILE, _REJECTED_TEXT)
        saved = stage.write(FILE, _other_weights(stage.read(FILE)))
        guilty = await stage.until(lambda: _rejected(stage), f"{_REJECTED} is named as rejected")
        seconds = await stage.live(*OBJECT, saved)
    return (
        Measured(
            what=f"{_REJECTED_FILE}: an operator that Envoy does not have",
            value=f"{guilty.kind} {guilty.namespace}/{guilty.name}, live on {guilty.live} of "
            f"{guilty.of}: {guilty.findings[0].message}",
            holds=guilty.live == 0,
        ),
        Measured(
            what=f"{FILE}, saved at the same time",
            value=f"live everywhere after {seconds * 1000:.0f} ms",
        ),
        _nothing_failed(load),
    )


def _other_weights(text: str) -> str:
    """Return the canary with its weights a little different, whatever they are."""
    first, second = (int(part.split()[0]) for part in text.split("weight: ")[1:])
    head, _, rest = text.partition(f"weight: {first}")
    middle, _, tail = rest.partition(f"weight: {second}")
    return f"{head}weight: {first - 1}{middle}weight: {second + 1}{tail}"


def _finding_in(stage: Stage, file: str) -> Finding | None:
    status = stage.status()
    everything = (*status.findings, *(f for found in status.objects for f in found.findings))
    return next((found for found in everything if found.file.endswith(file)), None)


def _rejected(stage: Stage) -> ObjectStatus | None:
    """Return the guilty object once the control plane has Envoy's words for it."""
    found = stage.status().object(*_REJECTED)
    if found is None or not any("NO_SUCH_OPERATOR" in f.message for f in found.findings):
        return None
    return found


def _nothing_failed(load: Load) -> Measured:
    return Measured(
        what="requests meanwhile",
        value=f"{load.requests}, {load.failed} failed",
        holds=load.requests > 0 and load.failed == 0,
    )

"""Where workloads are: of endpoints, and of the clients that choose among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mizzen.model.meta import NO_LABELS, Labels

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """A region, a zone in it, and a part of that; what is not known is empty."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


NOWHERE: Final = Locality()


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What decides which endpoints are near a client: its locality, and labels that rules ask for."""

    locality: Locality = NOWHERE
    labels: Labels = NO_LABELS

    def only(self, keys: AbstractSet[str]) -> Whereabouts:
        """Return what is left of it for rules that ask for labels of these names alone."""
        kept = tuple(pair for pair in self.labels if pair[0] in keys)
        return Whereabouts(locality=self.locality, labels=Labels(kept))


ANYWHERE: Final = Whereabouts()

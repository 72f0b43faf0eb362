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
    """What decides which endpoints are near a client: its locality, and labels that rules ask for.

    ``called`` is what its Envoy takes for its own locality, where that is another one.
    """

    locality: Locality = NOWHERE
    labels: Labels = NO_LABELS
    called: Locality | None = None

    def only(self, keys: AbstractSet[str], *, zones: bool = False) -> Whereabouts:
        """Return what is left of it for rules that ask for labels of these names alone, and maybe for zones."""
        kept = tuple(pair for pair in self.labels if pair[0] in keys)
        called = self.called if zones else None
        return Whereabouts(locality=self.locality, labels=Labels(kept), called=called)

    def as_called(self, other: Locality) -> Locality:
        """Return the name of a locality by which the client's Envoy finds its own.

        The client's goes by the name that its Envoy has for it, and whatever has that name by the client's,
        so that no two become one.
        """
        if self.called is None:
            return other
        return {self.locality: self.called, self.called: self.locality}.get(other, other)


ANYWHERE: Final = Whereabouts()

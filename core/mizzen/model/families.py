"""The versions of IP."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Families(StrEnum):
    """The versions of IP that a proxy has addresses of."""

    V4 = "IPv4"
    V6 = "IPv6"
    BOTH = "IPv4 and IPv6"

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Families:
        """Return the versions of addresses; IPv4 where there are none."""
        found = {":" in address for address in addresses}
        if found == {True}:
            return cls.V6
        return cls.BOTH if len(found) > 1 else cls.V4

    def has(self, address: str) -> bool:
        """Tell whether an address is of one of the versions."""
        return self is Families.BOTH or (":" in address) is (self is Families.V6)

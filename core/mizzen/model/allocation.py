"""Who would like to have which address of the ranges that are given to hosts without one."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from mizzen.model.meta import label
from mizzen.model.traffic import Resolution, ServiceEntry
from mizzen.names import is_wildcard

OPT_OUT: Final = "networking.istio.io/enable-autoallocate-ip"

# Slots count from 1: neither the range's first nor its last address is given.
_SLOTS: Final = 2**16 - 2
# With 10,000 hosts none of the choices is free for one in millions.
_CHOICES: Final = 8


def hosts_without_address(item: ServiceEntry) -> tuple[str, ...]:
    """Return the hosts of an entry that get an address of their own.

    Not those of resolution NONE, whose clients have to know the servers' addresses, and of wildcards only those
    that Envoy looks up (Istio).
    """
    wanted = label(item.meta.labels, OPT_OUT, "true") != "false"
    if item.addresses or item.resolution is Resolution.NONE or not wanted:
        return ()
    dynamic = item.resolution is Resolution.DYNAMIC_DNS
    return tuple(host for host in item.hosts if is_wildcard(host) is dynamic)


@lru_cache(maxsize=65_536)
def choices(host: str) -> tuple[int, ...]:
    """Return the places of the ranges that a host would like to have, the dearest first."""
    digest = blake2b(host.encode(), digest_size=2 * _CHOICES).digest()
    numbers = (int.from_bytes(digest[at : at + 2], "big") for at in range(0, len(digest), 2))
    return tuple(dict.fromkeys(1 + number % _SLOTS for number in numbers))


def addresses_at(slot: int) -> tuple[str, str]:
    """Return the addresses of a place, IPv4 first (Istio: 240.240.0.0/16 and 2001:2::/48)."""
    return f"240.240.{slot >> 8}.{slot & 255}", f"2001:2::{slot:x}"


def is_given(host: str, address: str) -> bool:
    """Tell whether an address is one of those that a host may have been given."""
    return any(address in addresses_at(slot) for slot in choices(host))

"""On which addresses a listener of any address is: those of the versions of IP that its proxy has."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from mizzen.ir import GatewayListener, OutboundListener
from mizzen.model.families import Families

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - the name of a listener that binds nothing itself
ANY_V6_ADDRESS: Final = "::"

_Listener = TypeVar("_Listener", OutboundListener, GatewayListener)


def facing(listener: _Listener, families: Families) -> _Listener:
    """Return a listener as it is for a proxy; one of a single address stays what it is.

    With both versions it is called after IPv4, and is on any address of IPv6 besides (Istio: dual stack).
    """
    if listener.bind != ANY_ADDRESS or families is Families.V4:
        return listener
    if families is Families.V6:
        return replace(listener, bind=ANY_V6_ADDRESS)
    return replace(listener, also=(ANY_V6_ADDRESS,))

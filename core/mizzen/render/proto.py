"""The small change of Envoy messages: packed extensions, durations, addresses, the ADS source.

Messages are built by setting fields in place, which upb does several times faster than nested
constructors. A message from a cached function is shared: it may be embedded (embedding copies) but
never changed.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from envoy.config.core.v3.config_source_pb2 import V3, ConfigSource
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration

if TYPE_CHECKING:
    from datetime import timedelta

    from envoy.config.core.v3.address_pb2 import Address, SocketAddress
    from envoy.config.listener.v3.listener_pb2 import Listener
    from google.protobuf.message import Message

    from mizzen.model.families import Families

_UNIX: Final = "unix://"
_ANY_V4: Final = "0.0.0.0"  # noqa: S104 - a proxy listens on its whole pod, as its rules demand
_ANY_V6: Final = "::"
_TYPE_PREFIX: Final = "type.googleapis.com/"


def pack(message: Message) -> Any:
    """Return a message in an ``Any``, encoded so that equal messages give equal bytes."""
    return Any(
        type_url=_TYPE_PREFIX + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def duration(value: timedelta) -> Duration:
    """Return a span of time, exact to the microsecond."""
    seconds = value.days * 86_400 + value.seconds
    return Duration(seconds=seconds, nanos=value.microseconds * 1_000)


@cache
def zero() -> Duration:
    """Return no time at all, which Envoy mostly takes as "never"."""
    return Duration()


@cache
def ads() -> ConfigSource:
    """Return "from the stream this came on", waited for without limit (Istio: initial_fetch_timeout 0)."""
    source = ConfigSource(resource_api_version=V3, initial_fetch_timeout=zero())
    source.ads.SetInParent()
    return source


def share_of_requests(percent: float) -> FractionalPercent:
    """Return a share, given in percent and exact to a millionth (Istio)."""
    return FractionalPercent(
        numerator=round(percent * 10_000), denominator=FractionalPercent.MILLION
    )


def fill_address(message: Address, ip: str, port: int) -> None:
    """Write a TCP address into a message in place; ``unix:///path`` is a socket, without port."""
    if ip.startswith(_UNIX):
        message.pipe.path = ip.removeprefix(_UNIX)
        return
    fill_socket(message.socket_address, ip, port)


def fill_anywhere(message: Listener, port: int, families: Families) -> None:
    """Write "any address" of a port into a listener in place."""
    first, *others = [one for one in (_ANY_V4, _ANY_V6) if families.has(one)]
    fill_address(message.address, first, port)
    for other in others:
        fill_address(message.additional_addresses.add().address, other, port)


def fill_socket(message: SocketAddress, ip: str, port: int) -> None:
    """Write the inner half of a TCP address, which some messages have directly."""
    message.address = ip
    message.port_value = port

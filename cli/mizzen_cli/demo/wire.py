"""How the two halves of the demo talk: JSON objects, one a packet, with descriptors beside them.

The halves are two processes with a socket pair of type SEQPACKET between them, which keeps packets apart.
A question has one answer; ``{"error": …}`` is the answer that raises :class:`InsideError`.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

# A packet holds at most a set of iptables rules or the output of a diagnostic command.
_MAX_PACKET_BYTES: Final = 160_000

Message = dict[str, Any]  # JSON as it comes; each side reads it into values at once


class InsideError(Exception):
    """The inner half could not do what it was asked, and says why."""


def send(channel: socket.socket, message: Message, descriptors: tuple[int, ...] = ()) -> None:
    """Send one message; ``OSError`` when the other half is gone."""
    socket.send_fds(channel, [json.dumps(message).encode()], descriptors)


def receive(channel: socket.socket) -> tuple[Message, tuple[int, ...]]:
    """Return the next message and its descriptors; ``EOFError`` when the other half is gone."""
    try:
        body, descriptors, _flags, _address = socket.recv_fds(channel, _MAX_PACKET_BYTES, 4)
    except ConnectionResetError as gone:
        raise EOFError("the other half is gone") from gone
    if not body:
        raise EOFError("the other half is gone")
    message: Message = json.loads(body)
    return message, tuple(descriptors)


def ask(channel: socket.socket, message: Message) -> tuple[Message, tuple[int, ...]]:
    """Send a question and return its answer; :class:`InsideError` when that is an error."""
    send(channel, message)
    answer, descriptors = receive(channel)
    if (error := answer.get("error")) is not None:
        raise InsideError(error)
    return answer, descriptors

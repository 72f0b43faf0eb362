"""HTTP as a pod speaks it: one request, or a load of them, and what came back."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

# JSON as the control plane, an Envoy or an application says it.
Document = dict[str, Any]

SOCKET_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; status 0 and the reason where nothing did. Header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str = ""

    @property
    def seen(self) -> Document:
        """The request as the application saw it; empty where something else answered."""
        with suppress(ValueError):
            found = json.loads(self.body)
            return found if isinstance(found, dict) else {}
        return {}

    @property
    def pod(self) -> str:
        """The pod that answered."""
        return str(self.seen.get("pod", ""))

    @property
    def caller(self) -> str:
        """Who called, as a certificate proved it to the server's Envoy; empty where none did."""
        said = str(self.seen.get("headers", {}).get("x-forwarded-client-cert", ""))
        found = [part[4:] for part in said.split(";") if part.startswith("URI=")]
        return found[-1].strip('"') if found else ""


@dataclass(slots=True)
class Load:
    """What a background load has met so far."""

    requests: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    pods: Counter[str] = field(default_factory=Counter)

    def record(self, reply: Reply) -> None:
        """Count one request."""
        self.requests += 1
        self.pods[reply.pod] += 1
        if reply.status != 200:
            what = reply.failure or f"{reply.status} {reply.body.decode(errors='replace').strip()}"
            self.failures[what] += 1


class Client:
    """Speaks HTTP/1.1 from a pod's network, on one connection for as long as that lasts."""

    def __init__(
        self,
        connect: Callable[[tuple[str, int]], socket.socket],
        resolve: Callable[[str], str],
    ) -> None:
        self._open = connect
        self._resolve = resolve
        self._connection: HTTPConnection | None = None
        self._address = ("", 0)

    def call(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        at: str = "",
        body: bytes = b"",
    ) -> Reply:
        """Make one request; nothing is raised for what a network does.

        ``at`` is the address to go to where it is not the one that the URL's host has.
        """
        parts = urlsplit(url)
        address = (at or self._resolve(parts.hostname or ""), parts.port or 80)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        all_headers = {"Host": parts.netloc, **(headers or {})}
        try:
            connection = self._connect(address)
            connection.request(method, target, body=body or None, headers=all_headers)
            answer = connection.getresponse()
            return self._reply(answer)
        except (OSError, HTTPException) as failed:
            self.close()
            return Reply(status=0, failure=f"{type(failed).__name__} {failed}".strip())

    def _reply(self, answer: HTTPResponse) -> Reply:
        found = {name.lower(): value for name, value in answer.getheaders()}
        reply = Reply(status=answer.status, headers=found, body=answer.read())
        if answer.will_close:
            self.close()
        return reply

    def _connect(self, address: tuple[str, int]) -> HTTPConnection:
        if self._connection is None or address != self._address:
            self.close()
            made = HTTPConnection(*address, timeout=SOCKET_S)
            made.sock = self._open(address)
            made.auto_open = 0  # it would connect from out here
            self._connection, self._address = made, address
        return self._connection

    def close(self) -> None:
        """Close the connection; the next call makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

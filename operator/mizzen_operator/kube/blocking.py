"""A request to the API server at a time, for who cannot wait otherwise: the store of the authority's keys.

An authority reads and writes its store in the midst of its work, from a thread that may stand still.
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mizzen_operator.kube.client import ApiError, Json, content_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mizzen_operator.kube.connection import Connection

_TIMEOUT_SECONDS: Final = 5.0


def request(
    connection: Connection,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    content_type: str = "application/json",
) -> Json:
    """Send one request and return the object that is answered; raises :class:`ApiError`."""
    channel = _open(connection)
    headers = {"Accept": "application/json", "User-Agent": "mizzen"}
    if connection.header():
        headers["Authorization"] = connection.header()
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        channel.request(method, path, None if body is None else json.dumps(body), headers)
        answer = channel.getresponse()
        return content_of(answer.status, answer.reason, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(0, "Unreachable", f"{connection.server}: {error!r}") from error
    finally:
        channel.close()


def _open(connection: Connection) -> http.client.HTTPConnection:
    address = urlsplit(connection.server)
    host = address.hostname or ""
    if connection.tls is None:
        return http.client.HTTPConnection(host, address.port or 80, timeout=_TIMEOUT_SECONDS)
    return http.client.HTTPSConnection(
        host, address.port or 443, timeout=_TIMEOUT_SECONDS, context=connection.tls
    )

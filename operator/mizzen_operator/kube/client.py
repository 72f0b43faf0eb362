"""The Kubernetes API, as far as the control plane speaks it: JSON over one HTTP connection pool.

It is this page instead of the official client because that one takes 60 MB of memory, half of what a
whole control plane may have. Objects are plain JSON; nothing is cached and nothing tried again here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import aiohttp

from mizzen_operator.kube import connection as connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from mizzen_operator.kube.connection import Connection

Json = dict[str, Any]
# Named here because the client has a method of the name ``list``.
Objects = list[Json]
Operations = list[Any]
PatchKind = Literal["merge", "json", "apply"]

_PATCH_TYPES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    # JSON is YAML; the API server takes it under this name since 1.16, under a JSON name only since 1.32.
    "apply": "application/apply-patch+yaml",
}
_METADATA_ONLY: Final = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=10)
# The server ends a watch; a minute after that it is not there any more.
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=360)
_REFUSED: Final = 400
# Pages of this many objects keep a list of ten thousand pods from being in memory at once: one takes 3 MB.
_PAGE: Final = 250


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0).

    ::

        ApiError
        ├── NotFoundError   404: there is no such object, or no such kind
        └── ConflictError   409: it is there already, or was changed by somebody else
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFoundError(ApiError):
    """There is no such object, or no such kind."""


class ConflictError(ApiError):
    """The object is there already, or was changed by somebody else meanwhile."""


class ApiClient:
    """Speaks to one API server, in the event loop in which it was first used."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._session: aiohttp.ClientSession | None = None
        self._is_over = False

    @classmethod
    def auto(cls, kubeconfig: Path | None = None) -> Self:
        """Return a client for wherever this runs; :class:`ConfigError` where that is nowhere."""
        return cls(connections.auto(kubeconfig))

    @classmethod
    def from_kubeconfig(cls, file: Path) -> Self:
        """Return a client for a kubeconfig's current context."""
        return cls(connections.from_kubeconfig(file))

    @classmethod
    def in_cluster(cls) -> Self:
        """Return a client for the pod that this runs in."""
        return cls(connections.in_cluster())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self.close()

    async def close(self) -> None:
        """Close all connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def get(self, path: str, **params: str) -> Json:
        """Return an object, or whatever else stands there."""
        return await self._request("GET", path, params=params)

    async def list(self, path: str, **params: str) -> Objects:
        """Return all objects of a collection, read page by page."""
        return [item async for page in self.pages(path, params) for item in page]

    async def pages(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncIterator[Objects]:
        """Yield a collection's objects by pages, so that it is never in memory whole."""
        async for page, _ in self.snapshot(path, params, metadata_only=metadata_only):
            yield page

    async def snapshot(
        self, path: str, params: Mapping[str, str], *, metadata_only: bool = False
    ) -> AsyncIterator[tuple[Objects, str]]:
        """Yield a collection's pages, each with the version from which on a watch tells the rest."""
        headers = {"Accept": _METADATA_ONLY} if metadata_only else None
        query = {"limit": str(_PAGE), **params}
        while True:
            answer = await self._request("GET", path, params=query, headers=headers)
            metadata = answer.get("metadata", {})
            yield answer.get("items") or [], metadata.get("resourceVersion", "")
            query["continue"] = metadata.get("continue") or ""
            if not query["continue"]:
                return

    async def signals(self, path: str, params: Mapping[str, str]) -> AsyncIterator[None]:
        """Yield whenever a watch of a collection says something; it ends when the server ends it."""
        session, address = self._open(), self.connection.server + path
        query = {"watch": "true", **params}
        try:
            async with session.get(address, params=query, timeout=_WATCH_TIMEOUT) as answer:
                if answer.status >= _REFUSED:
                    content_of(answer.status, answer.reason or "", await answer.read())
                async for _ in answer.content.iter_any():
                    yield
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{self.connection.server}: {error!r}") from error

    async def create(self, path: str, body: Mapping[str, Any], **params: str) -> Json:
        """Make an object in a collection; :class:`ConflictError` where it is there already."""
        return await self._request("POST", path, params=params, body=body)

    async def replace(self, path: str, body: Mapping[str, Any], **params: str) -> Json:
        """Replace an object; :class:`ConflictError` where its resourceVersion is not the latest."""
        return await self._request("PUT", path, params=params, body=body)

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | Operations,
        kind: PatchKind = "merge",
        *,
        field_manager: str = "mizzen",
        force: bool | None = None,
    ) -> Json:
        """Change an object, or (``apply``) make sure of what it says; ``force`` takes fields over."""
        params = {"fieldManager": field_manager}
        if kind == "apply" and force is not None:
            params["force"] = "true" if force else "false"
        headers = {"Content-Type": _PATCH_TYPES[kind]}
        return await self._request("PATCH", path, params=params, body=body, headers=headers)

    async def delete(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        """Remove an object."""
        return await self._request("DELETE", path, body=body)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        sent = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._open().request(
                method,
                self.connection.server + path,
                params=params,
                data=None if body is None else json.dumps(body).encode(),
                headers={**sent, **(headers or {})},
            ) as answer:
                return content_of(answer.status, answer.reason or "", await answer.read())
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{self.connection.server}: {error!r}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._is_over:
            raise ApiError(0, "Closed", "this client is not used any more")
        if self._session is None:
            self._session = open_session(self.connection, timeout=_TIMEOUT)
        return self._session


def open_session(
    connection: Connection,
    *,
    timeout: aiohttp.ClientTimeout | None = None,
) -> aiohttp.ClientSession:
    """Return a session that shows at each request who we are now."""

    async def authorise(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        header = connection.header()
        if header:
            request.headers["Authorization"] = header
        return await handler(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=connection.tls or True),
        middlewares=(authorise,),
        headers={"User-Agent": "mizzen", "Accept": "application/json"},
        timeout=timeout or aiohttp.ClientTimeout(total=None, sock_connect=10),
    )


def content_of(status: int, reason: str, text: bytes) -> Json:
    """Return the object of an answer; raises :class:`ApiError` where the server refused."""
    try:
        content = json.loads(text) if text else {}
    except ValueError:
        content = {"message": text.decode("utf-8", "replace")}
    if status < _REFUSED:
        return content if isinstance(content, dict) else {"items": content}
    said = content if isinstance(content, dict) else {}
    kind = {404: NotFoundError, 409: ConflictError}.get(status, ApiError)
    raise kind(status, said.get("reason") or reason, said.get("message") or reason)

"""Who decides of CUSTOM policies in a live mesh: over HTTP on 8080, over gRPC on 9000 (Envoy's ext_authz).

What a request asks for in its query is what is decided: ``verdict=403`` refuses with that status, and
``delay=0.5`` is waited for first. Of connections, those of the service account ``bob`` are refused. Answers say
what was seen: in ``x-saw``, and in the body of those that refuse.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from urllib.parse import parse_qs, urlsplit

import grpc
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.auth.v3 import external_auth_pb2 as auth
from envoy.service.auth.v3 import external_auth_pb2_grpc as service

_REFUSED = 7  # google.rpc.Code.PERMISSION_DENIED


async def _decide(path: str) -> int:
    """Wait as long as a path asks for, and return the status that it asks for; 200 is yes."""
    wish = {name: values[-1] for name, values in parse_qs(urlsplit(path).query).items()}
    await asyncio.sleep(float(wish.get("delay", 0)))
    return int(wish.get("verdict", 200))


async def _serve_http(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            writer.write(await _answer(head.decode("latin-1"), reader))
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def _answer(head: str, reader: StreamReader) -> bytes:
    request, *lines = head.strip().split("\r\n")
    method, path, _version = request.split(" ")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    seen = {"method": method, "path": path, "headers": headers, "body": body.decode()}
    said = json.dumps(seen)
    return (
        f"HTTP/1.1 {await _decide(path)} Decided\r\nx-saw: {said}\r\nx-why: so\r\n"
        f"x-secret: mine\r\nlocation: /login\r\ncontent-length: {len(said)}\r\n\r\n{said}"
    ).encode()


class _Decider(service.AuthorizationServicer):  # type: ignore[misc]  # generated without types
    async def Check(  # noqa: N802 - gRPC's name
        self, request: auth.CheckRequest, context: object
    ) -> auth.CheckResponse:
        asked = request.attributes
        http = asked.request.http
        if not http.path:
            bob = asked.source.principal.endswith("/sa/bob")
            answer = auth.CheckResponse()
            answer.status.code = _REFUSED if bob else 0
            return answer
        status = await _decide(http.path)
        seen = {
            "method": http.method,
            "path": http.path,
            "headers": dict(http.headers),
            "body": http.body or http.raw_body.decode(),
            "raw": bool(http.raw_body),
            "caller": asked.source.principal,
        }
        return _verdict(status, json.dumps(seen))


def _verdict(status: int, said: str) -> auth.CheckResponse:
    header = HeaderValueOption(header=HeaderValue(key="x-saw", value=said))
    answer = auth.CheckResponse()
    if status == 200:
        answer.ok_response.headers.append(header)
        return answer
    answer.status.code = _REFUSED
    answer.denied_response.status.code = status
    answer.denied_response.headers.append(header)
    answer.denied_response.body = said
    return answer


async def main() -> None:
    server = grpc.aio.server()
    service.add_AuthorizationServicer_to_server(_Decider(), server)
    server.add_insecure_port("0.0.0.0:9000")
    await server.start()
    await asyncio.start_server(_serve_http, "0.0.0.0", 8080)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())

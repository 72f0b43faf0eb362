"""An application with every kind of probe, whose health a test turns on and off.

    probed_app.py --http 8080 --https 8443 --tcp 9000 --grpc 9090

HTTP and HTTPS answer with what they were asked, as JSON; a query ``status=500`` or ``location=/x`` is obeyed.
``/metrics`` is a page of metrics. ``/set?tcp=off`` closes the TCP port, ``grpc=off`` makes the health service
say NOT_SERVING, ``live=off`` makes ``/live`` answer 500.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import ssl
import tempfile
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_METHOD: Final = "/grpc.health.v1.Health/Check"
# HealthCheckResponse of grpc.health.v1, encoded: its one field is the status.
_SERVING: Final = b"\x08\x01"
_NOT_SERVING: Final = b"\x08\x02"


class App:
    """What the ports have in common."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.healthy = {"tcp": True, "grpc": True, "live": True}
        self.asked_services: list[str] = []
        self.tcp: asyncio.Server | None = None

    async def run(self) -> None:
        options = self.options
        await asyncio.start_server(self.answer, "0.0.0.0", options.http)
        await asyncio.start_server(self.answer, "0.0.0.0", options.https, ssl=_own_certificate())
        await self.open()
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Health(self),))
        server.add_insecure_port(f"0.0.0.0:{options.grpc}")
        await server.start()
        await asyncio.Event().wait()

    async def open(self) -> None:
        """Listen on the TCP port, or not."""
        if self.healthy["tcp"] and self.tcp is None:
            self.tcp = await asyncio.start_server(_hang_up, "0.0.0.0", self.options.tcp)
        elif not self.healthy["tcp"] and self.tcp is not None:
            self.tcp.close()
            self.tcp = None

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; the connection ends with it."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, headers, body = await self.response(head, writer)
            lines = [f"HTTP/1.1 {status} Said", f"content-length: {len(body)}", *headers]
            writer.write("\r\n".join([*lines, "connection: close", "", ""]).encode() + body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def response(
        self, head: str, writer: asyncio.StreamWriter
    ) -> tuple[int, list[str], bytes]:
        request, *lines = head.strip().split("\r\n")
        target = request.split(" ")[1]
        url = urlsplit(target)
        wish = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/metrics":
            return (
                200,
                ["content-type: text/plain; version=0.0.4"],
                b"# own\napp_requests_total 7\n",
            )
        if url.path == "/set":
            self.healthy.update({name: value == "on" for name, value in wish.items()})
            await self.open()
        status = int(wish.get("status", 200))
        if url.path == "/live" and not self.healthy["live"]:
            status = 500
        pairs = (line.partition(":") for line in lines)
        seen = {
            "path": target,
            "headers": {name.lower(): value.strip() for name, _, value in pairs},
            "from": writer.get_extra_info("peername")[0],
            "port": writer.get_extra_info("sockname")[1],
            "services": self.asked_services[-1:],
        }
        headers = [f"location: {wish['location']}"] if "location" in wish else []
        return status, headers, json.dumps(seen).encode()


class Health(grpc.GenericRpcHandler):
    """The health service, without generated classes."""

    def __init__(self, app: App) -> None:
        self.app = app

    def service(
        self, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        if details.method != _METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self.check)

    async def check(self, request: bytes, _context: object) -> bytes:
        self.app.asked_services.append(request[2:].decode())  # one field: tag, length, text
        return _SERVING if self.app.healthy["grpc"] else _NOT_SERVING


async def _hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def _own_certificate() -> ssl.SSLContext:
    """Return TLS with a certificate that nobody has reason to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "probed")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "both.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("http", "https", "tcp", "grpc"):
        parser.add_argument(f"--{name}", type=int, required=True)
    asyncio.run(App(parser.parse_args()).run())


if __name__ == "__main__":
    main()

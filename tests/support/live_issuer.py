"""An issuer of tokens in a live mesh: says where its keys are, and has them (OpenID Connect Discovery).

live_issuer.py --port 8080 --me http://10.44.0.4:8080 --keys '{"keys": []}' [--certificate FILE]

With a certificate, whose file has its key as well, it speaks TLS.
"""

from __future__ import annotations

import argparse
import json
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Issuer(BaseHTTPRequestHandler):
    """Answers by path."""

    pages: dict[str, str]

    def do_GET(self) -> None:
        text = self.pages.get(self.path)
        self.send_response(404 if text is None else 200)
        self.end_headers()
        self.wfile.write((text or "").encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--me", required=True)
    parser.add_argument("--keys", required=True)
    parser.add_argument("--certificate", default="")
    options = parser.parse_args()
    document = {"issuer": options.me, "jwks_uri": f"{options.me}/keys"}
    Issuer.pages = {
        "/.well-known/openid-configuration": json.dumps(document),
        "/keys": options.keys,
    }
    server = ThreadingHTTPServer(("0.0.0.0", options.port), Issuer)
    if options.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate)
        # Whoever connects and says nothing keeps nobody else waiting.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    server.serve_forever()


if __name__ == "__main__":
    main()

"""A service of the shop: answers who it is and who called, and calls others; the standard library only.

    shop.py --name reviews --version v2 --port 9080 --calls ledger=http://ledger:9080

``GET /``            who answers, and what the services named by ``--calls`` answered
``GET /<service>``   the answer of one of those services, with its status; ``/<service>/<path>`` of a path there
``GET /self``        who answers, without calling anyone
``GET /echo``        the same, with the headers that arrived
``GET /guard/…``     whether a request may be made, for a guard who asks: 403 where ``end-user`` is a thief
``GET /keys``        the public keys that the samples' tokens are signed with
``GET /nap``         the same as ``/self``, after a short while
``POST /break``      answer 503 from now on; ``POST /mend`` ends that
``GET /count``       how many requests were answered, and how many of them with 503
``GET /talk``        a WebSocket, on which every text is answered with the same text and its name
``CONNECT``          a tunnel to wherever one likes, as a forward proxy makes it

With ``--tcp-port`` it also answers every line on a plain TCP connection with the same line and its name; with
``--tls-port`` it answers requests over TLS, with the key and certificate of ``--pem``; with ``--grpc-port`` it says
over gRPC who it is, and with ``--guard-port`` whether a request may be made.
"""

import argparse
import json
import os
import socketserver
import ssl
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import rpc
import talk

# What a service hands on, so that a rule about a caller's header holds for the calls behind it too.
HANDED_ON = ("end-user", "authorization", "x-request-id", "traceparent")

# Long enough for several requests to wait at the same time.
NAP_SECONDS = 0.2

KEYS = Path(__file__).with_name("keys.jwks")


class State:
    """What the requests have in common: the options, two counters and whether we pretend to be ill."""

    def __init__(self, options):
        self.options = options
        self.calls = dict(call.split("=", 1) for call in options.calls)
        self.broken = options.failing
        self.lock = threading.Lock()
        self.answered = 0
        self.refused = 0

    def who(self):
        return {
            "service": self.options.name,
            "version": self.options.version,
            "pod": os.environ.get("HOSTNAME", ""),
        }

    def count(self, status):
        with self.lock:
            self.answered += 1
            self.refused += status == 503


class Handler(BaseHTTPRequestHandler):
    """One connection; it stays open for more requests."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self):
        state = self.server.state
        if self.path in ("/count", "/keys"):
            return self.answer(200, self.told())
        if state.broken:
            state.count(503)
            return self.answer(503, {**state.who(), "error": "broken"})
        called, _, rest = self.path.strip("/").partition("/")
        if called in state.calls:
            status, body = call(f"{state.calls[called]}/{rest}", self.headers)
            state.count(status)
            return self.answer(status, body)
        if called == "talk" and "sec-websocket-key" in self.headers:
            return self.talk()
        if called == "guard" and self.headers.get("end-user") == "thief":
            return self.answer(403, {**state.who(), "error": "not for thieves"})
        if called == "nap":
            time.sleep(NAP_SECONDS)
        answer = self.seen(called)
        state.count(200)
        return self.answer(200, answer)

    def told(self):
        if self.path == "/keys":
            return json.loads(KEYS.read_text())
        state = self.server.state
        return {"answered": state.answered, "refused": state.refused}

    def seen(self, called):
        """Who answers, and what we have seen of the request."""
        state = self.server.state
        answer = {
            **state.who(),
            "caller": proved(self.headers, "URI"),
            "certificate": proved(self.headers, "Hash"),
            "from": self.client_address[0],
            "path": self.path,
        }
        if called == "echo":
            answer["headers"] = {name.lower(): value for name, value in self.headers.items()}
        if self.path == "/":
            answer["calls"] = {
                name: call(url, self.headers)[1] for name, url in state.calls.items()
            }
        return answer

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path in ("/break", "/mend"):
            self.server.state.broken = self.path == "/break"
            return self.answer(200, self.server.state.who())
        return self.answer(404, {"error": f"no {self.path} here"})

    def do_CONNECT(self):
        host, _, port = self.path.rpartition(":")
        self.close_connection = True
        try:
            talk.tunnel(self.connection, (host, int(port)))
        except OSError as failed:
            self.answer(502, {"error": str(failed)})

    def talk(self):
        self.send_response(101)
        self.send_header("connection", "Upgrade")
        self.send_header("upgrade", "websocket")
        self.send_header("sec-websocket-accept", talk.accepts(self.headers["sec-websocket-key"]))
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        talk.chat(self.rfile, self.wfile, self.server.state.options.name)

    def answer(self, status, body):
        data = (json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, *_):
        """Say nothing: access logs are Envoy's business."""


def proved(headers, what):
    """What the caller's certificate proved to our Envoy, such as its URI; None where there was none."""
    for part in headers.get("x-forwarded-client-cert", "").split(";"):
        name, _, value = part.partition("=")
        if name == what:
            return value.strip('"')
    return None


def call(url, headers):
    """Return status and answer of another service; 502 where there was no answer."""
    handed_on = {name: headers[name] for name in HANDED_ON if name in headers}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=handed_on), timeout=10
        ) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, {"error": refused.read().decode().strip()}
    except OSError as failed:
        return 502, {"error": str(failed)}


class TcpHandler(socketserver.StreamRequestHandler):
    """Answers each line."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(f"{self.server.state.options.name}: {line.decode()}".encode())


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class HttpServer(ThreadingHTTPServer):
    request_queue_size = 256


def serve_rpc(state):
    """Serve gRPC on the ports that it is asked for, beside."""
    name = rpc.text(f"{state.options.name} {state.options.version}")
    for port, answer in (
        (state.options.grpc_port, lambda _: None if state.broken else name),
        (state.options.guard_port, rpc.judge),
    ):
        if port:
            server = rpc.RpcServer(port, answer)
            threading.Thread(target=server.serve_forever, daemon=True).start()


def serve_tls(state):
    """Serve the same over TLS, beside."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state.options.pem)
    server = HttpServer(("", state.options.tls_port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.state = state
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--port", type=int, default=9080)
    parser.add_argument("--tcp-port", type=int, default=0)
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--guard-port", type=int, default=0)
    parser.add_argument("--pem", default="")
    parser.add_argument("--calls", action="append", default=[], metavar="NAME=URL")
    parser.add_argument("--failing", action="store_true")
    state = State(parser.parse_args())
    if state.options.tcp_port:
        tcp = TcpServer(("", state.options.tcp_port), TcpHandler)
        tcp.state = state
        threading.Thread(target=tcp.serve_forever, daemon=True).start()
    serve_rpc(state)
    if state.options.tls_port:
        serve_tls(state)
    server = HttpServer(("", state.options.port), Handler)
    server.state = state
    server.serve_forever()


if __name__ == "__main__":
    main()

"""What the pods of the scenarios run: a server that says who it is, a client under load, one request. Python alone.

main.py serve [PORT ...]     answers JSON: name, version, path and headers; on SIGTERM it ends at once, as many do
main.py load URL [WORKERS]   asks again and again; the counts and the failures are at :9000
main.py ask URL [TIMES]      asks, each time on a connection of its own, and prints the answers as JSON
main.py fetch URL [TIMES]    as above, and fails where one is not 200
main.py -text=TEXT           answers with the text at :5678, as hashicorp/http-echo does
main.py wait                 does nothing
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

_ANSWER_S: Final = 20.0
_PAUSE_S: Final = 0.02
_KEPT: Final = 50  # of what failed, the first so many tell the story


def main() -> None:
    """Do what the first argument names."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    what, *rest = sys.argv[1:] or ["serve"]
    if what == "serve":
        _serve([int(port) for port in rest] or [8080])
    elif what == "load":
        _load(rest[0], int(rest[1]) if len(rest) > 1 else 2)
    elif what in ("ask", "fetch"):
        failed = _fetch(rest[0], int(rest[1]) if len(rest) > 1 else 1)
        raise SystemExit(failed if what == "fetch" else 0)
    elif what.startswith("-text="):
        _Text.text = what.removeprefix("-text=")
        _Server(("", 5678), _Text).serve_forever()
    else:
        threading.Event().wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class Echo(BaseHTTPRequestHandler):
    """Answers every request with who answered it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path)
        asked = urllib.parse.parse_qs(path.query)
        if path.path == "/metrics":
            self._write(200, "text/plain", b"# TYPE application_up gauge\napplication_up 1\n")
            return
        time.sleep(float(asked.get("sleep", ["0"])[0]))
        said = {
            "name": os.environ.get("NAME", socket.gethostname()),
            "version": os.environ.get("VERSION", ""),
            "pod": socket.gethostname(),
            "path": path.path,
            "from": self.client_address[0],
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        self._say(int(asked.get("status", ["200"])[0]), said)

    do_POST = do_GET

    def _say(self, status: int, said: dict[str, Any]) -> None:
        self._write(status, "application/json", json.dumps(said).encode())

    def _write(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the sidecar's log has it."""


class _Report(Echo):
    """Answers with the counts of the load."""

    counts: dict[str, Any]

    def do_GET(self) -> None:
        self._say(200, self.counts)


class _Text(Echo):
    """Answers with a text."""

    text: str

    def do_GET(self) -> None:
        self._write(200, "text/plain", f"{self.text}\n".encode())


def _serve(ports: list[int]) -> None:
    for port in ports[1:]:
        threading.Thread(target=_Server(("", port), Echo).serve_forever, daemon=True).start()
    _Server(("", ports[0]), Echo).serve_forever()


def _load(url: str, workers: int) -> None:
    _await_name(url)
    counts: dict[str, Any] = {"sent": 0, "failed": 0, "failures": [], "by": {}}
    lock = threading.Lock()
    for number in range(workers):
        # Half of the workers keep their connection, the others open one for each request.
        arguments = (url, counts, lock, number % 2 == 0)
        threading.Thread(target=_work, args=arguments, daemon=True).start()
    _Report.counts = counts
    _Server(("", 9000), _Report).serve_forever()


def _await_name(url: str) -> None:
    """Wait until the cluster's DNS has learnt of a service that was made a moment ago."""
    name = urllib.parse.urlsplit(url).hostname
    while True:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            time.sleep(_PAUSE_S)
        else:
            return


def _work(url: str, counts: dict[str, Any], lock: threading.Lock, keep: bool) -> None:
    connection: http.client.HTTPConnection | None = None
    while True:
        connection = connection or _connect(url)
        failure, who = _ask(connection, url)
        with lock:
            counts["sent"] += 1
            counts["by"][who] = counts["by"].get(who, 0) + 1
            if failure:
                counts["failed"] += 1
                counts["failures"] = [*counts["failures"], f"{time.time():.2f} {failure}"][:_KEPT]
        if failure or not keep:
            connection.close()
            connection = None
        time.sleep(_PAUSE_S)


def _fetch(url: str, times: int) -> int:
    answers = [_once(url) for _ in range(times)]
    return int(any(failure for failure, _said in answers))


def _once(url: str) -> tuple[str, str]:
    connection = _connect(url)
    failure, said = _ask(connection, url, whole=True)
    connection.close()
    print(json.dumps({"failure": failure, "said": json.loads(said or "{}")}), flush=True)
    return failure, said


def _connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=_ANSWER_S)


def _ask(
    connection: http.client.HTTPConnection, url: str, *, whole: bool = False
) -> tuple[str, str]:
    """Return what failed (nothing where it did not) and who answered, or the whole answer."""
    parts = urllib.parse.urlsplit(url)
    try:
        connection.request("GET", f"{parts.path or '/'}?{parts.query}")
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}", ""
    if answer.status != 200:
        return f"{answer.status}: {said[:200].decode(errors='replace')}", ""
    return "", said.decode() if whole else str(json.loads(said).get("version", ""))


if __name__ == "__main__":
    main()

"""A web hook on loopback for tests: keeps what is sent to it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hook:
    """What came in, and what is answered."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.status = 200
        self.url = ""


@contextlib.contextmanager
def hook() -> Iterator[Hook]:
    """One while the block runs."""
    there = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there.asked.append(f"POST {self.path}")
            with contextlib.suppress(ValueError):
                there.messages.append(json.loads(body))
            self.send_response(there.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            there.asked.append(f"GET {self.path}")
            self.send_response(there.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    there.url = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield there
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

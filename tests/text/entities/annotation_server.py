"""An annotation service of this machine for tests: says what it is told to, and keeps count."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Reply = tuple[int, bytes]


@dataclass
class Stub:
    """A server that gives the replies in `script` first, then those of `reply`."""

    url: str
    server: ThreadingHTTPServer
    reply: Callable[[str], Any] = lambda text: {"@text": text}
    script: list[Reply] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], str]] = field(default_factory=list)

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, query: str, accept: str) -> Reply:
        parameters = {key: values[0] for key, values in parse_qs(query).items()}
        self.asked.append((method, parameters, accept))
        if self.script:
            return self.script.pop(0)
        return 200, json.dumps(self.reply(parameters["text"])).encode()


@contextmanager
def serve() -> Iterator[Stub]:
    """Runs a server until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply("GET", urlsplit(self.path).query)

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.reply("POST", self.rfile.read(length).decode())

        def reply(self, method: str, query: str) -> None:
            code, body = made.answer(method, query, self.headers["Accept"])
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            if code == 429:
                self.send_header("Retry-After", "3600")  # cut to the longest pause
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Stub(f"http://127.0.0.1:{server.server_port}/annotate", server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join()

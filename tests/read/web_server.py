"""A small web server for tests: files with ranges, and refusals in front of them if told so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class Web:
    """What the server holds, what it answers first, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    first: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # (status, headers)
    always: int | None = None  # a status for everything
    ranges: bool = True
    cut: int = 0  # answers that break off in the middle
    etag: str = '"1"'
    asked: list[str] = field(default_factory=list)  # the Range of each request
    url: str = ""


@contextlib.contextmanager
def serving(web: Web) -> Iterator[Web]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(web))
    web.url = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append(self.headers.get("Range", ""))
            body = web.files.get(self.path)
            if web.first:
                return self._send(*web.first.pop(0))
            if web.always is not None or body is None:
                return self._send(web.always or 404, {})
            if not web.ranges:
                return self._send(200, {"Content-Encoding": "gzip"}, body)
            low, high = (int(n) for n in web.asked[-1].removeprefix("bytes=").split("-"))
            piece = body[low : high + 1]
            if not piece:
                return self._send(416, {"Content-Range": f"bytes */{len(body)}"})
            told = f"bytes {low}-{low + len(piece) - 1}/{len(body)}"
            return self._send(206, {"Content-Range": told, "ETag": web.etag}, piece)

        def _send(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if body and web.cut:
                web.cut -= 1
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
                return
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Tests look at `asked`."""

    return Handler

"""A small web server for tests: files with ranges, and refusals in front of them if told so."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class Reply:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(kw_only=True)
class Web:
    """What the server holds, what it answers first, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    first: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # (status, headers)
    always: int | None = None  # a status for everything
    ranges: bool = True
    cut: int = 0  # answers that break off in the middle
    moved: dict[str, str] = field(default_factory=dict)  # path -> Location
    bend: Callable[[Reply], None] | None = None  # what becomes of a right answer
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


def _reply(web: Web, path: str, asked: str) -> Reply:
    body = web.files.get(path)
    if web.first:
        status, headers = web.first.pop(0)
        return Reply(status=status, headers=headers)
    if path in web.moved:
        return Reply(status=302, headers={"Location": web.moved[path]})
    if web.always is not None or body is None:
        return Reply(status=web.always or 404)
    if not web.ranges:
        told = {"Content-Encoding": "gzip", "ETag": web.etag}
        return Reply(status=200, headers=told, body=body)
    low, high = (int(n) for n in asked.removeprefix("bytes=").split("-"))
    piece = body[low : high + 1]
    if not piece:
        return Reply(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
    told = {"Content-Range": f"bytes {low}-{low + len(piece) - 1}/{len(body)}", "ETag": web.etag}
    reply = Reply(status=206, headers=told, body=piece)
    if web.bend is not None:
        web.bend(reply)
    return reply


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.asked.append(self.headers.get("Range", ""))
            reply = _reply(web, self.path, web.asked[-1])
            self._send(reply.status, reply.headers, reply.body)

        def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
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

"""Stores for tests: a web server on loopback and an S3 bucket, with files in them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass(kw_only=True)
class Store:
    """`root` and a name is a URL; what a web server was asked, and how it is to fail."""

    root: str
    asked: list[str] = field(default_factory=list)  # Range of each GET
    failures: list[int] = field(default_factory=list)  # statuses of the next answers
    cuts: int = 0  # answers that break off in the middle

    def fail_next(self, *statuses: int) -> None:
        self.failures.extend(statuses)

    def cut_next(self, times: int) -> None:
        self.cuts = times


def listing(files: Mapping[str, bytes], folder: str) -> bytes | None:
    """The page of links that web servers show of a folder; None where there is none."""
    inner = {name[len(folder) :] for name in files if name.startswith(folder)}
    names = sorted({name.partition("/")[0] + "/" * ("/" in name) for name in inner})
    links = "".join(f'<a href="{name}">{name}</a>\n' for name in names)
    return f"<html>{links}</html>".encode() if names else None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store
    files: Mapping[str, bytes]
    ranges: bool

    def do_HEAD(self) -> None:
        self._send(self.files.get(self.path[1:]), head=True)

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.store.asked.append(asked)
        whole = self.files.get(self.path[1:])
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
        if self.store.failures:
            self._send(b"", status=self.store.failures.pop(0))
        elif whole is None:
            self._send_folder()
        elif span is None or not self.ranges:
            self._send(whole)
        else:
            piece = whole[int(span[1]) : int(span[2]) + 1]
            self._send(piece, status=206 if piece else 416)

    def _send_folder(self) -> None:
        """As nginx does: a page of links, or on to the name with a slash."""
        folder = self.path[1:]
        if folder.endswith("/") or not folder:
            self._send(listing(self.files, folder))
        elif listing(self.files, folder + "/"):
            self._send(b"", status=301, location=self.path + "/")
        else:
            self._send(None)

    def _send(
        self, body: bytes | None, *, status: int = 200, head: bool = False, location: str = ""
    ) -> None:
        self.send_response(status if body is not None else 404)
        body = body or b""
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if head:
            return
        if body and self.store.cuts:
            self.store.cuts -= 1
            self.close_connection = True
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def web_store(files: Mapping[str, bytes], *, ranges: bool = True) -> Iterator[Store]:
    store = Store(root="")
    served = type("Served", (Handler,), {"store": store, "files": files, "ranges": ranges})
    server = ThreadingHTTPServer(("127.0.0.1", 0), served)
    store.root = f"http://127.0.0.1:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def s3_bucket(files: Mapping[str, bytes]) -> Iterator[Store]:
    """A bucket of moto's server; the settings reach worker processes through the environment."""
    boto3 = pytest.importorskip("boto3", reason="needs interloom[s3]")
    moto = pytest.importorskip("moto.server", reason="needs moto[server]")
    s3fs = pytest.importorskip("s3fs", reason="needs s3fs")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    monkeypatch = pytest.MonkeyPatch()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="tars")
    for name, data in files.items():
        client.put_object(Bucket="tars", Key=name, Body=data)
    try:
        yield Store(root="s3://tars/")
    finally:
        client.close()
        s3fs.S3FileSystem.clear_instance_cache()  # the next bucket's server is another
        running.stop()
        monkeypatch.undo()

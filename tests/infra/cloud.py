"""A cloud on localhost: what Beam asks of Cloud Storage and Dataflow, answered from memory.

In:      requests of google-cloud-storage (through STORAGE_EMULATOR_HOST) and of Beam's Dataflow
         client (through --dataflow_endpoint).
Out:     every object written, and every job request, to be looked at. No request leaves the host.
Refused: a request it does not know: 501 with its path, and it is kept in `unknown`.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from google_crc32c import value as crc32c

BUCKETS: Final = "/storage/v1/b/"


@dataclass(kw_only=True, slots=True)
class Cloud:
    """What the services were told. Objects are named bucket/path."""

    port: int
    objects: dict[str, bytes] = field(default_factory=dict)
    jobs: list[dict[str, Any]] = field(default_factory=list)  # job requests as they were sent
    unknown: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def described(self, name: str) -> dict[str, Any]:
        bucket, _, path = name.partition("/")
        return {
            "kind": "storage#object",
            "bucket": bucket,
            "name": path,
            "size": str(len(self.objects[name])),
            "crc32c": base64.b64encode(crc32c(self.objects[name]).to_bytes(4, "big")).decode(),
            "generation": "1",
            "updated": "2026-01-01T00:00:00Z",
            "timeCreated": "2026-01-01T00:00:00Z",
        }


@contextmanager
def local_cloud() -> Iterator[Cloud]:
    """The services, running; they end with the block."""
    server = _Server(("localhost", 0), _Handler)
    cloud = Cloud(port=server.server_address[1])
    server.cloud = cloud
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    cloud: Cloud


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet: what matters is in Cloud."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if "/jobs/" in url.path:
            self._answer(self._job_state())
        elif url.path.startswith(("/download" + BUCKETS, BUCKETS)):
            self._get_storage(url.path, parse_qs(url.query))
        else:
            self._refuse()

    def do_POST(self) -> None:
        url, body = urlsplit(self.path), self._body()
        if url.path.endswith("/jobs"):
            self.server.cloud.jobs.append(json.loads(body))
            self._answer(self._job_state())
        elif url.path.startswith("/upload" + BUCKETS):
            self._start_upload(url.path, parse_qs(url.query), body)
        elif "/rewriteTo/" in url.path:
            self._copy(url.path)
        else:
            self._refuse()

    def do_PUT(self) -> None:
        cloud, body = self.server.cloud, self._body()
        name = parse_qs(urlsplit(self.path).query)["upload_id"][0]
        cloud.objects[name] = cloud.objects.get(name, b"") + body
        sent = self.headers.get("Content-Range", "")
        if sent.endswith("/*"):  # more is to come: the range so far, as a resumable upload has it
            end = len(cloud.objects[name]) - 1
            self._answer({}, status=308, more={"Range": f"bytes=0-{end}"})
        else:
            self._answer(cloud.described(name))

    def do_DELETE(self) -> None:
        self.server.cloud.objects.pop(_object_name(urlsplit(self.path).path), None)
        self._answer({}, status=204)

    def _get_storage(self, path: str, query: Mapping[str, list[str]]) -> None:
        cloud = self.server.cloud
        if path.endswith("/o"):
            bucket = path.removesuffix("/o").rsplit("/", 1)[1]
            prefix = bucket + "/" + query.get("prefix", [""])[0]
            names = sorted(name for name in cloud.objects if name.startswith(prefix))
            self._answer({"items": [cloud.described(name) for name in names]})
        elif "/o/" not in path:
            self._answer({"kind": "storage#bucket", "name": path.rsplit("/", 1)[1]})
        elif (name := _object_name(path)) not in cloud.objects:
            self._answer({"error": {"code": 404, "message": f"no object {name}"}}, status=404)
        elif query.get("alt") == ["media"]:
            self._send(cloud.objects[name], kind="application/octet-stream")
        else:
            self._answer(cloud.described(name))

    def _start_upload(self, path: str, query: Mapping[str, list[str]], body: bytes) -> None:
        bucket = path.split("/")[-2]
        if query["uploadType"] == ["resumable"]:
            name = f"{bucket}/{(query.get('name') or [json.loads(body)['name']])[0]}"
            self.server.cloud.objects.pop(name, None)
            self._answer({}, more={"Location": f"{self.server.cloud.url}/put?upload_id={name}"})
            return
        # multipart: a description and the content, between lines of a boundary
        boundary = self.headers["Content-Type"].split("boundary=")[1].strip("'\"").encode()
        _, about, content, _ = body.split(b"--" + boundary)
        told = json.loads(about.split(b"\r\n\r\n", 1)[1])
        name = f"{bucket}/{told['name']}"
        self.server.cloud.objects[name] = content.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        self._answer(self.server.cloud.described(name))

    def _copy(self, path: str) -> None:
        source, target = path.split("/rewriteTo/")
        cloud, name = self.server.cloud, _object_name("/storage/v1/" + target)
        cloud.objects[name] = cloud.objects[_object_name(source)]
        size = str(len(cloud.objects[name]))
        done = {"done": True, "totalBytesRewritten": size, "objectSize": size}
        self._answer(done | {"resource": cloud.described(name)})

    def _job_state(self) -> dict[str, Any]:
        return {"id": "job-1", "name": "job", "currentState": "JOB_STATE_DONE"}

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _refuse(self) -> None:
        asked = f"{self.command} {self.path}"
        self.server.cloud.unknown.append(asked)
        self._answer({"error": {"code": 501, "message": asked}}, status=501)

    def _answer(
        self, said: dict[str, Any], *, status: int = 200, more: Mapping[str, str] | None = None
    ) -> None:
        self._send(json.dumps(said).encode(), status=status, more=more)

    def _send(
        self,
        data: bytes,
        *,
        status: int = 200,
        kind: str = "application/json",
        more: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _object_name(path: str) -> str:
    bucket, _, name = path.split("/b/", 1)[1].partition("/o/")
    return f"{bucket}/{unquote(name)}"

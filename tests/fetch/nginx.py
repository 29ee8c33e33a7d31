"""nginx: a real server for what good hosts answer, each a folder of files; found on PATH or not."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tests.fetch.world import World, certify

NGINX: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
CONFIGURATION: Final = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{
  log_format told escape=json '{{"time": $msec, "host": "$host", "path": "$request_uri", '
                              '"agent": "$http_user_agent", "password": "$http_authorization"}}';
  access_log {log}; sendfile on; keepalive_requests 1000000; types {{ image/jpeg jpg; }}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.pem;
  server {{
    listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
    root {folder}/files/$host;
  }}
}}
"""


@contextmanager
def nginx(
    files: Mapping[str, Mapping[str, bytes]],
    folder: Path,
    *,
    secure: Sequence[str] = (),
    log: bool = True,
) -> Iterator[World]:
    """Bodies by host and path; `secure`: the host names in its certificate. All else is a 404."""
    if NGINX is None:
        raise FileNotFoundError("nginx is not on PATH: install it (Debian: nginx-light)")
    for host, paths in files.items():
        for path, body in paths.items():
            file = folder / "files" / host / unquote(path).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
    certify(folder, secure)
    (folder / "asked.jsonl").touch()
    ports = _free_ports(2)
    text = CONFIGURATION.format(folder=folder, plain=ports[0], secure=ports[1],
                                log=f"{folder}/asked.jsonl told" if log else "off")  # fmt: skip
    (folder / "nginx.conf").write_text(text)
    command = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder),
               "-e", str(folder / "errors")]  # fmt: skip
    with subprocess.Popen(command) as process:
        try:
            _wait_for(ports[0], process)
            yield World(folder=folder, plain=ports[0], secure=ports[1])
        finally:
            process.terminate()


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nginx has ended with {process.returncode}")

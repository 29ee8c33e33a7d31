"""A world of servers on loopback: one process that answers for any host name, well or badly.

Run as a command it reads a plan (JSON: host -> path -> what to do; path "*" for all others), prints
its ports (plain and TLS) and logs a line of JSON a request: so what a client did is told by who was
asked, and stays known when the client is killed.
What to do is a dict: `status`, `headers`, `file` or `text` or `size` (of zeros), and `how`: "drip",
"slow" (over 30 s), "endless", "short", "hang", "close", "busy" (429 for the first `times` requests
of a URL).
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

ROOT: Final = Path(__file__).resolve().parents[2]
Plan = Mapping[str, Mapping[str, Mapping[str, Any]]]
MISSING: Final[Mapping[str, Any]] = {"status": 404, "text": "not here"}


class Server:
    """Answers by plan."""

    def __init__(self, plan: Plan, log: TextIO) -> None:
        self._plan = plan
        self._log = log
        self._asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
                path = head[0].split(" ")[1]
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if ": " in line)
                host = headers.get("host", "").partition(":")[0]
                told = {"time": time.time(), "host": host, "path": path,
                        "agent": headers.get("user-agent", ""),
                        "password": headers.get("authorization", "")}  # fmt: skip
                self._log.write(json.dumps(told) + "\n")
                self._log.flush()
                if not await self._answer(host, path, writer):
                    break
        with suppress(ConnectionError):
            writer.close()

    async def _answer(self, host: str, path: str, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        paths = self._plan.get(host, {})
        what: Mapping[str, Any] = paths.get(path) or paths.get("*") or MISSING
        self._asked[f"{host}{path}"] += 1
        how = what.get("how", "")
        if how == "hang":
            await asyncio.sleep(3_600)
        if how == "close":
            return False
        status, headers = what.get("status", 200), dict(what.get("headers", {}))
        body = _body(what)
        if how == "busy" and self._asked[f"{host}{path}"] <= what["times"]:
            status, body = 429, b""
            headers = {"Retry-After": str(what.get("rest", 1))}
        if how != "endless":
            headers["Content-Length"] = str(len(body) + (1_000 if how == "short" else 0))
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} Told\r\n{lines}\r\n".encode())
        if how == "drip":
            for byte in body:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.2)
        if how == "slow":
            for piece in range(29):
                writer.write(body[piece : piece + 1])
                await writer.drain()
                await asyncio.sleep(1)
            body = body[29:]
        while how == "endless":
            writer.write(body or bytes(1 << 16))
            await writer.drain()
        writer.write(body)
        await writer.drain()
        return bool(how != "short")


def _body(what: Mapping[str, Any]) -> bytes:
    if "file" in what:
        return Path(what["file"]).read_bytes()
    if "base64" in what:
        return base64.b64decode(what["base64"])
    return str(what.get("text", "")).encode() + bytes(what.get("size", 0))


async def main(folder: Path, *names: str) -> None:
    with (folder / "asked.jsonl").open("a") as lines:
        server = Server(json.loads((folder / "plan.json").read_text()), lines)
        context = certify(folder, names) if names else None
        plain = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        secure = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        for listening in (plain, secure):
            print(listening.sockets[0].getsockname()[1], flush=True)
        await plain.serve_forever()


def certify(folder: Path, names: Sequence[str]) -> ssl.SSLContext:
    """For these host names, by an authority of its own: ca.pem, and server.pem."""
    import trustme  # noqa: PLC0415  # half of the time that a world without TLS takes to start

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert(*(names or ("localhost",)))
    issued.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    return context


@dataclass(frozen=True, kw_only=True)
class World:
    folder: Path
    plain: int  # port
    secure: int  # port of TLS, where it has a certificate

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What was asked for, in order: time, host, path, agent, password."""
        return [json.loads(line) for line in (self.folder / "asked.jsonl").read_text().splitlines()]

    @property
    def trust(self) -> dict[str, str]:
        """Environment in which its certificates hold."""
        return {"SSL_CERT_FILE": str(self.folder / "ca.pem")}


@contextmanager
def world(plan: Plan, folder: Path, *, secure: Sequence[str] = ()) -> Iterator[World]:
    """A server in a process of its own; `secure`: the host names in its certificate."""
    (folder / "plan.json").write_text(json.dumps(plan))
    command = [sys.executable, "-m", "tests.fetch.world", str(folder), *secure]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ports = [int(process.stdout.readline()) for _ in range(2)]
            yield World(folder=folder, plain=ports[0], secure=ports[1])
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))

"""Lease: one holder a partition at a time, wherever the workers are. A path in, a held lease out.

In:      leases/PARTITION.host.json: who holds it, until when, and what the holder is doing, for the
         progress line. Made only where there is none (O_EXCL; a conditional PUT in a bucket), and
         replaced only by who has read what it replaces.
Out:     a lease that is renewed by its holder; a worker that cannot renew it must stop asking. What
         hosts have told a holder, to be left alone for a while, the next one finds in it.
Taken over: a lease that has run out long ago, one that nobody has renewed while this process looked
         for as long as it holds, and one whose holder was a process of this machine that is gone.
Clocks: of two machines these may differ by SKEW and most of a lease's time; a holder that is dead,
         by as much as they like.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, Self

from pipeline.store import store
from pipeline.store.raw import file_systems

SECONDS: Final = 120.0  # that a lease holds unless renewed
SKEW: Final = 60.0  # that a lease has to be past before it is run out by our clock, too
START: Final = 5.0  # seconds of a start before it asks anybody: a shorter rest is over by then
TOLD: Final = ("machine", "process", "begun", "news")  # beside until when, and of whom
LOOK: Final = 1.0  # seconds between two looks at another's lease


class LostLeaseError(RuntimeError):
    """Another holder has the partition: this one must not ask any host any more."""


class Cell(Protocol):
    """A small file that is created, and replaced, only by who knows what was there."""

    def read(self) -> tuple[bytes, str] | None:
        """What it holds, and its version; None where there is none."""
        ...

    def write(self, data: bytes, *, version: str | None) -> str | None:
        """The new version; None where it is not at `version` (None: not there) any more."""
        ...

    def remove(self, *, version: str) -> None: ...


@dataclass(kw_only=True)
class Lease:
    """A lease that is held. Use `take`."""

    cell: Cell
    token: str
    version: str = ""
    until: float = 0.0
    news: Mapping[str, Any] = field(default_factory=dict)
    rests: Mapping[str, Any] = field(default_factory=dict)  # of hosts; handed on to the next holder
    _seen: tuple[str, float] = ("", 0.0)  # a version of another's, and when it was seen first

    @classmethod
    @contextmanager
    def take(cls, path: str) -> Iterator[Self]:
        """Wait until it is free, and hold it for the block."""
        lease = cls(cell=cell_of(path), token=uuid.uuid4().hex)
        while not lease._try():
            time.sleep(LOOK)
        try:
            yield lease
        finally:
            lease._let_go()

    @classmethod
    @asynccontextmanager
    async def take_beside(cls, path: str) -> AsyncIterator[Self]:
        """The same on an event loop, which goes on meanwhile."""
        lease = cls(cell=cell_of(path), token=uuid.uuid4().hex)
        while not await asyncio.to_thread(lease._try):
            await asyncio.sleep(LOOK)
        try:
            yield lease
        finally:
            lease._let_go()

    def _try(self) -> bool:
        found = self.cell.read()
        if found is None:
            return self._write(None)
        told, version = read_lease(found[0]), found[1]
        self.rests = told["rests"]
        if self._seen[0] != version:
            self._seen = (version, time.monotonic())
        silent = time.monotonic() - self._seen[1]
        return (silent > SECONDS or _is_free(told)) and self._write(version)

    def _let_go(self) -> None:
        """Gone, or free with what the next holder must know."""
        if self.rests:
            free = {"until": 0, "rests": dict(self.rests)}
            self.cell.write((json.dumps(free) + "\n").encode(), version=self.version)
        else:
            self.cell.remove(version=self.version)

    def _write(self, version: str | None) -> bool:
        until = time.time() + SECONDS
        told = {"token": self.token, "until": until, "machine": _machine(), "process": os.getpid(),
                "begun": _begun(os.getpid()), "news": dict(self.news),
                "rests": dict(self.rests)}  # fmt: skip
        data = (json.dumps(told) + "\n").encode()
        new = self.cell.write(data, version=version)
        if new is None and (found := self.cell.read()) is not None and found[0] == data:
            new = found[1]  # it had come through, and was sent again
        if new is not None:
            self.version, self.until = new, until
        return new is not None

    def renew(self, news: Mapping[str, Any], rests: Mapping[str, Any]) -> None:
        """Hold it for longer, tell what is being done, and what the next holder must know.

        Raises:
            LostLeaseError: it ran out, and somebody else has it.
        """
        self.news, self.rests = news, rests
        if not self._write(self.version):
            raise LostLeaseError(
                "another worker has taken the partition over, since this one did not renew its "
                f"lease for {SECONDS:.0f} s: it stops asking; what it has committed stays"
            )


def read_lease(data: bytes) -> dict[str, Any]:
    """What a lease tells; one that cannot be read holds nothing."""
    try:
        told = json.loads(data)
        until, rests = float(told["until"]), {**told.get("rests", {})}
        return {"until": until, "rests": {str(name): (float(a), float(b))
                                          for name, (a, b) in rests.items()},
                **{name: told.get(name) for name in TOLD}}  # fmt: skip
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return {"until": 0.0, "rests": {}}


def worth_keeping(data: bytes) -> bool:
    """Whether a host that it names is to be left alone still when another start gets to it."""
    return any(max(until) > time.time() + START for until in read_lease(data)["rests"].values())


def _is_free(told: Mapping[str, Any]) -> bool:
    if told["until"] + SKEW < time.time():
        return True
    return told["machine"] == _machine() and _begun(told["process"]) != told["begun"]


def _machine() -> str:
    """This boot of this machine, and container: process numbers mean something only here."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    return " ".join((socket.gethostname(), boot.read_text().strip() if boot.exists() else "",
                     str(space.readlink()) if space.is_symlink() else ""))  # fmt: skip


def _begun(process: int) -> str:
    """When a process began, in ticks of this boot; "" where there is none (numbers are reused)."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def cell_of(path: str) -> Cell:
    if store.is_local(path):
        return LocalCell(Path(path))
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    return S3Cell(bucket, key) if scheme == "s3" else GsCell(bucket, key)


class LocalCell:
    """A file. A lock on its folder, gone with its process, guards the moment of replacing it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def read(self) -> tuple[bytes, str] | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        if not data:  # killed while it was made
            return b'{"until": 0}', ""
        return data, data.decode("latin1")

    def write(self, data: bytes, *, version: str | None) -> str | None:
        with self._alone():
            found = self.read()
            if (found[1] if found is not None else None) != version:
                return None
            if version is None:
                try:
                    with self._path.open("xb") as handle:  # O_EXCL: another machine may see no lock
                        handle.write(data)
                except FileExistsError:
                    return None
            else:
                store.write_bytes(str(self._path), data)
        return data.decode("latin1")

    def remove(self, *, version: str) -> None:
        with self._alone():
            found = self.read()
            if found is not None and found[1] == version:
                self._path.unlink()


class S3Cell:
    """An object of a bucket, by conditional requests."""

    def __init__(self, bucket: str, key: str) -> None:
        from apache_beam.io.aws.clients.s3.boto3_client import Client  # noqa: PLC0415

        self._client = Client(options=file_systems()._pipeline_options).client
        self._name = {"Bucket": bucket, "Key": key}

    def read(self) -> tuple[bytes, str] | None:
        try:
            found = self._client.get_object(**self._name)
        except self._client.exceptions.NoSuchKey:
            return None
        return found["Body"].read(), found["ETag"]

    def write(self, data: bytes, *, version: str | None) -> str | None:
        only = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return str(self._client.put_object(Body=data, **self._name, **only)["ETag"])
        except self._client.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status in {404, 409, 412}:  # gone, being written, another one
                return None
            raise

    def remove(self, *, version: str) -> None:
        found = self.read()
        if found is not None and found[1] == version:
            self._client.delete_object(**self._name)


class GsCell:
    """An object of a bucket, by its generation."""

    def __init__(self, bucket: str, key: str) -> None:
        from apache_beam.io.gcp.gcsio import GcsIO  # noqa: PLC0415

        self._blob = GcsIO().client.bucket(bucket).blob(key)

    def read(self) -> tuple[bytes, str] | None:
        try:
            return self._blob.download_as_bytes(), str(self._blob.generation)
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_gone(error)
            return None

    def write(self, data: bytes, *, version: str | None) -> str | None:
        try:
            self._blob.upload_from_string(data, if_generation_match=int(version or 0))
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_gone(error)
            return None
        return str(self._blob.generation)

    def remove(self, *, version: str) -> None:
        try:
            self._blob.delete(if_generation_match=int(version))
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_gone(error)


def _raise_unless_gone(error: Exception) -> None:
    """Google's client raises where an object is not there (404), or is another one by now (412)."""
    if getattr(error, "code", None) not in {404, 412}:
        raise error

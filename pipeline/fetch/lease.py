"""Lease: one holder a partition at a time, wherever the workers are. A path in, a held lease out.

In:     leases/PARTITION.host.json: what the holder is doing, for the progress line, and until when
        each host wants to be left alone, so that the next holder respects it.
Out:    a lease that its holder renews. A holder that cannot renew it must stop asking hosts.
Local:  the holder keeps an flock on the file for its life. The kernel releases it when the holder
        ends, however that happens, so a killed holder's partition is free at once. Two machines on
        one NFS folder see each other's locks from NFSv4 on, where Linux sends an flock to the
        server; a machine that the server has not heard from for its own lease time (90 s by
        default) loses its locks, and learns it at its next renewal.
Bucket: no locks there, so the lease has a lifetime. An object is made and replaced by conditional
        requests. A lease is taken over when it ran out more than SKEW ago, or when nobody renewed
        it for SECONDS while this process watched. Clock skew up to SKEW is tolerated between live
        machines. A dead holder's clock does not matter.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import math
import os
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.store import store
from pipeline.store.raw import file_systems

SECONDS: Final = 120.0  # lifetime of a lease in a bucket, from each renewal on
SKEW: Final = 60.0  # a lease must have run out this long ago: other clocks may be behind ours
START: Final = 5.0  # seconds of a start before it asks any host: a shorter rest is over by then
LOOK: Final = 1.0  # seconds between two tries to take a lease that another holds

Rests = Mapping[str, tuple[float, float]]  # by name of a pace: Pace.until(), seconds since 1970


class LostLeaseError(RuntimeError):
    """Another holder has the partition: this one must not ask any host any more."""


class LeaseFile(NamedTuple):
    """What the file of a lease says."""

    until: float  # seconds since 1970, of a lease in a bucket
    news: Any  # what the holder is doing; anything, in a foreign folder
    rests: Rests


def read_lease(data: bytes) -> LeaseFile:
    """A file that cannot be read, as one that was killed while it was made, holds nothing."""
    try:
        lease = json.loads(data)
        rests = {str(name): (float(resting), float(wished))
                 for name, (resting, wished) in lease.get("rests", {}).items()}  # fmt: skip
        return LeaseFile(float(lease.get("until", 0)), lease.get("news"), rests)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return LeaseFile(0.0, None, {})


def is_host_backoff_file(data: bytes) -> bool:
    """Whether a host that the file names is still to be left alone when another start asks it."""
    return any(max(until) > time.time() + START for until in read_lease(data).rests.values())


class LocalLease:
    """A file that is locked while it is held. It is only ever replaced by a file that is locked
    already, so that no reader finds half of it and nobody can lock it in between.
    """

    until = math.inf  # the kernel releases the lock

    def __init__(self, path: Path) -> None:
        self.rests: Rests = {}  # of hosts: from the last holder, and at the end for the next one
        self._path = path
        self._lock = -1  # a file descriptor

    def take(self) -> bool:
        """Whether it was free, and is held now."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW  # NFS locks only what may be written to
        with os.fdopen(os.open(self._path, flags, 0o666), "r+b") as current:
            try:
                fcntl.flock(current, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not self._is_in_place(current.fileno()):  # its holder has just replaced or freed it
                return False
            self.rests = read_lease(store.read_bytes(str(self._path))).rests
            self._write({})  # by this a holder whose lock NFS has lost learns it
        return True

    def renew(self, news: Mapping[str, Any], rests: Rests) -> None:
        """Write what is being done, and what the next holder must know.

        Raises:
            LostLeaseError: another holder has it.
        """
        self.rests = rests
        if not self._is_in_place(self._lock):
            raise LostLeaseError(
                f"{self._path} was removed, or another worker has taken the partition over: this "
                "one stops asking; what it has committed stays"
            )
        self._write(news)

    def let_go(self) -> None:
        """Free it; the file stays where it has rests for the next holder."""
        if self._is_in_place(self._lock):
            if self.rests:
                store.write_bytes(str(self._path), _as_json(rests=self.rests))
            else:
                self._path.unlink()
        os.close(self._lock)
        self._lock = -1

    def _is_in_place(self, lock: int) -> bool:
        """Whether the path leads to the file that is locked."""
        try:
            return os.path.samestat(os.fstat(lock), self._path.stat())
        except FileNotFoundError:
            return False

    def _write(self, news: Mapping[str, Any]) -> None:
        with store.create(str(self._path)) as handle:
            handle.write(_as_json(news=news, rests=self.rests))
            lock = os.dup(handle.fileno())  # keeps the lock when the handle is closed
            fcntl.flock(lock, fcntl.LOCK_EX)
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = lock


class S3Object:
    """By the conditional requests of S3."""

    def __init__(self, bucket: str, key: str) -> None:
        from apache_beam.io.aws.clients.s3.boto3_client import Client  # noqa: PLC0415

        self._client = Client(options=file_systems()._pipeline_options).client
        self._name = {"Bucket": bucket, "Key": key}

    def read(self) -> tuple[bytes, str] | None:
        """Its data and version; None where there is none."""
        try:
            response = self._client.get_object(**self._name)
        except self._client.exceptions.NoSuchKey:
            return None
        return response["Body"].read(), response["ETag"]

    def write(self, data: bytes, *, version: str | None) -> str | None:
        """The new version; None where it is not of `version` (None: absent) any more."""
        only = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        try:
            return str(self._client.put_object(Body=data, **self._name, **only)["ETag"])
        except self._client.exceptions.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status in {404, 409, 412}:  # removed, being written, of another version
                return None
            raise

    def remove(self, *, version: str) -> None:
        current = self.read()
        if current is not None and current[1] == version:
            self._client.delete_object(**self._name)


class GsObject:
    """By the generation of an object."""

    def __init__(self, bucket: str, key: str) -> None:
        from apache_beam.io.gcp.gcsio import GcsIO  # noqa: PLC0415

        self._blob = GcsIO().client.bucket(bucket).blob(key)

    def read(self) -> tuple[bytes, str] | None:
        try:
            return self._blob.download_as_bytes(), str(self._blob.generation)
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_replaced(error)
            return None

    def write(self, data: bytes, *, version: str | None) -> str | None:
        try:
            self._blob.upload_from_string(data, if_generation_match=int(version or 0))
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_replaced(error)
            return None
        return str(self._blob.generation)

    def remove(self, *, version: str) -> None:
        try:
            self._blob.delete(if_generation_match=int(version))
        except Exception as error:  # noqa: BLE001  # its kind comes with the gcp extra alone
            _raise_unless_replaced(error)


def _raise_unless_replaced(error: Exception) -> None:
    """Google's client raises where an object is absent (404), or of another generation (412)."""
    if getattr(error, "code", None) not in {404, 412}:
        raise error


@dataclass
class BucketLease:
    """As LocalLease, of an object with a lifetime."""

    at: S3Object | GsObject
    until: float = 0.0
    rests: Rests = field(default_factory=dict)
    _version: str = ""
    _seen: tuple[str, float] = ("", 0.0)  # version of another holder's, and when first seen

    def __post_init__(self) -> None:
        self._token = uuid.uuid4().hex  # tells this holder's objects from all others'

    def take(self) -> bool:
        current = self.at.read()
        if current is None:
            return self._write({}, None)
        data, version = current
        lease = read_lease(data)
        self.rests = lease.rests
        if self._seen[0] != version:
            self._seen = (version, time.monotonic())
        silent = time.monotonic() - self._seen[1]
        if lease.until + SKEW >= time.time() and silent <= SECONDS:
            return False
        return self._write({}, version)

    def renew(self, news: Mapping[str, Any], rests: Rests) -> None:
        self.rests = rests
        if not self._write(news, self._version):
            raise LostLeaseError(
                "another worker has taken the partition over, since this one did not renew its "
                f"lease for {SECONDS:.0f} s: it stops asking; what it has committed stays"
            )

    def let_go(self) -> None:
        if self.rests:
            self.at.write(_as_json(until=0, rests=self.rests), version=self._version)
        else:
            self.at.remove(version=self._version)

    def _write(self, news: Mapping[str, Any], version: str | None) -> bool:
        until = time.time() + SECONDS
        data = _as_json(token=self._token, until=until, news=news, rests=self.rests)
        new = self.at.write(data, version=version)
        if new is None and (current := self.at.read()) is not None and current[0] == data:
            new = current[1]  # the request had come through, and was sent again
        if new is None:
            return False
        self._version, self.until = new, until
        return True


Lease = LocalLease | BucketLease


@asynccontextmanager
async def hold(path: str) -> AsyncIterator[Lease]:
    """Wait until the lease is free, and hold it for the block."""
    lease = lease_at(path)
    while not await asyncio.to_thread(lease.take):
        await asyncio.sleep(LOOK)
    try:
        yield lease
    finally:
        lease.let_go()


def lease_at(path: str) -> Lease:
    if store.is_local(path):
        return LocalLease(Path(path))
    scheme, _, rest = path.partition("://")
    bucket, _, key = rest.partition("/")
    return BucketLease(S3Object(bucket, key) if scheme == "s3" else GsObject(bucket, key))


def _as_json(**values: object) -> bytes:
    return (json.dumps(values) + "\n").encode()

"""Members: the compressed members or plain records of a file, and the way on behind damage.

In:      raw bytes of a crawl file from a member's start on (gzip, zstd, plain WARC, plain ARC).
Out:     a Member each: offset, length, plain bytes if kept, or what is wrong with it. A member
         that does not open a record belongs to the one before it (a record cut over two members).
Refused: damage is a Member too, known by its offset, and nothing of it is used; a member over
         `max_bytes` is RECORD_TOO_LARGE and read to its end. Bytes at which a codec raises are
         damage too, as UNREADABLE_RECORD. lz4, bzip2, xz: ValueError.

Behind damage the next member is searched by its magic. A candidate whose first bytes open a record
is decoded, and reading goes on there if it decodes whole with a sound checksum (zstd and plain
records may have none: then with sound lengths). A candidate that breaks, too, is a damaged member
of its own if it starts behind the bytes that were understood of the one before.
The search is linear in the file's size: candidates of one run of damage may cost `BUDGET` bytes;
then nothing is decoded twice. All is a function of the file's bytes from the first damaged member
on, so where parts are cut changes nothing.

What a planted member can do: whoever can damage a record's beginning, and stores a whole member in
its payload as it is (deflate does so with what it cannot shorten), has that member read as a record
of the crawl, with a URL and a date of their choice; so has whoever can write a WARC record. Such
records cost no other record, and each `Member.resumed` (in the ledger `members.resumed`) counts one
place where reading went on at a member that was searched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, Final

from pipeline.problem import Fault, Problem, fault_of
from pipeline.read.codec import (
    DAMAGE,
    Attempt,
    ByteWindow,
    Codec,
    Plain,
    damaged,
    opens_record,
)
from pipeline.read.compressed import GZIP_MAGIC, GzipMembers, ZstdFrames, opens_frame
from pipeline.read.plain_records import HEADER, LINE, PlainRecords, skip_blank
from schemas.verdict import Reason

BUDGET: Final = 16 << 20  # bytes in and out that candidates of one run of damage may cost
NAMED: Final = 16  # damaged members of one run that are told apart; then they count as one
_RECOGNISED: Final = 4 << 20  # bytes in which a file must show what it is
_PADDING: Final = 64 << 10
_REFUSED: Final = {
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member. `sound`: its end is exactly known, so a part may start behind it; `resumed`:
    reading went on behind it at a member that was searched, and that may be planted."""

    offset: int
    length: int
    data: bytes | None = None
    damage: Problem | None = None
    sound: bool = True
    resumed: bool = False


@dataclass(slots=True)
class _Damage:
    """A run of damage, from a damaged member to the next sound one."""

    furthest: int = 0  # how far candidates were understood
    spent: int = 0  # bytes in and out that candidates have cost
    named: int = 1  # damaged members that are told apart, the first included


def members(
    stream: BinaryIO,
    start: int = 0,
    end: int | None = None,
    *,
    keep: bool,
    max_bytes: int,
    kind: str = "",
    exact: bool = False,
) -> Iterator[Member]:
    """Every member that starts in [start, end); `exact` forbids to look behind `end`."""
    window = ByteWindow(stream, end=end, exact=exact)
    codec = codec_of(window, start, kind=kind)
    return MemberReader(window, codec, keep=keep, max_bytes=max_bytes).read(start, end)


def codec_of(window: ByteWindow, start: int, *, kind: str = "") -> Codec:
    """The codec by `kind`, or else by what lies at `start` or is recognised behind it.

    `kind` "plain" is what a compressed member holds: WARC or ARC, never compressed once more.
    """
    if kind == "plain":
        kind = _plain_kind(window, start) or "warc"
    kind = kind or _kind_at(window, start) or _kind_behind(window, start)
    if kind == "gzip":
        return GzipMembers()
    if kind == "zstd":
        return ZstdFrames(window)
    return PlainRecords(kind=kind or "warc")  # a file of no kind: all of it is damage


def _kind_at(window: ByteWindow, start: int) -> str:
    head = window.at(start, 8)
    for magic, name in _REFUSED.items():
        if head.startswith(magic):
            raise ValueError(
                f"{name} compression is not read (first bytes {magic.hex()}): compress each record "
                "with gzip or zstd, for instance by `fastwarc recompress`"
            )
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if opens_frame(head[:4]):
        return "zstd"
    return _plain_kind(window, start)


def _plain_kind(window: ByteWindow, start: int) -> str:
    line = window.at(skip_blank(window, start), LINE)
    if line.startswith(b"WARC/"):
        return "warc"
    return "arc" if line.startswith(b"filedesc:") or opens_record(line) else ""


def _kind_behind(window: ByteWindow, start: int) -> str:
    """Of a file whose first member is damaged: the kind of the first candidate behind it."""
    near = ByteWindow(BytesIO(window.at(start, _RECOGNISED)))
    codecs: tuple[Codec, ...] = (
        GzipMembers(),
        ZstdFrames(window),
        PlainRecords(kind="warc"),
        PlainRecords(kind="arc"),
    )
    first, kind = _RECOGNISED, ""
    for codec in codecs:
        for place in codec.candidates(near, 0):
            if place >= first:
                break
            if codec.trial(near, place):
                first, kind = place, codec.kind
                break
    return kind


def unpack(
    stream: BinaryIO, member: Member, aside: BinaryIO, *, kind: str, max_bytes: int
) -> int | Fault | None:
    """Write a member's plain bytes to `aside`: how many, None for a plain or too large one."""
    end = member.offset + member.length
    window = ByteWindow(stream, end=end)
    codec = codec_of(window, member.offset, kind=kind)
    if isinstance(codec, PlainRecords):
        return None
    at, size = member.offset, 0
    while at < end:
        attempt = _read(codec, window, at, Plain(limit=max_bytes - size, sink=aside))
        if attempt.problem is not None or attempt.end is None:
            return attempt.problem if isinstance(attempt.problem, Fault) else None
        at, size = attempt.end, size + attempt.size
    return size


def count_records(member: Member) -> int:
    """How many records a member holds; one where it cannot be looked into."""
    if member.data is None:
        return 1
    plain = BytesIO(member.data)
    return sum(1 for _ in members(plain, keep=False, max_bytes=len(member.data), kind="plain"))


def _read(codec: Codec, window: ByteWindow, offset: int, plain: Plain) -> Attempt:
    """Read a member; where our own code raises at its bytes, it is damaged, and no file ends.

    Raises:
        BaseException: what the stream raised (a disk, a network), or is about the machine.
    """
    try:
        return codec.read(window, offset, plain)
    except BaseException as error:  # noqa: BLE001  # a Fault, or raised again
        return damaged(offset + 1, problem=_fault(error, window))


def _trial(codec: Codec, window: ByteWindow, offset: int) -> bool:
    try:
        return codec.trial(window, offset)
    except BaseException as error:  # noqa: BLE001  # no member, or raised again
        _fault(error, window)
        return False


def _fault(error: BaseException, window: ByteWindow) -> Fault:
    if window.failed:
        raise error
    return fault_of(error)


@dataclass(kw_only=True, slots=True)
class _Pending:
    """A sound member, whose record may go on in the next ones."""

    offset: int
    limit: int
    end: int = 0
    size: int = 0
    large: bool = False
    pieces: list[bytes] | None = field(default_factory=list)  # None: too large, or not wanted

    def add(self, attempt: Attempt) -> None:
        """The member itself, then each that goes on with it."""
        assert attempt.end is not None
        self.large |= attempt.problem is not None or (
            self.size > 0 and self.size + attempt.size > self.limit
        )
        self.size += attempt.size
        self.end = attempt.end
        if attempt.data is None or self.large:
            self.pieces = None
        elif self.pieces is not None:
            self.pieces.append(attempt.data)

    def member(self) -> Member:
        damage = None
        if self.large:
            reason = Reason.RECORD_TOO_LARGE
            damage = Problem(reason=reason, value=self.size, limit=self.limit)
        return Member(
            offset=self.offset,
            length=self.end - self.offset,
            data=None if self.pieces is None else b"".join(self.pieces),
            damage=damage,
        )


class MemberReader:
    """Reads the members of a window; several ranges may be read through one window."""

    def __init__(self, window: ByteWindow, codec: Codec, *, keep: bool, max_bytes: int) -> None:
        self._window = window
        self._codec = codec
        self._keep = keep
        self._max = max_bytes

    def read(self, start: int, end: int | None) -> Iterator[Member]:
        """Every member that starts in [start, end)."""
        at, damage = start, _Damage()
        pending: _Pending | None = None
        while (end is None or at < end) and not self._is_end(at):
            plain = Plain(limit=self._max, keep=self._keep)
            attempt = _read(self._codec, self._window, at, plain)
            if pending is not None and (attempt.opens or attempt.end is None):
                yield pending.member()
                pending = None
            if attempt.whole and not attempt.silent:
                pending = pending or _Pending(offset=at, limit=self._max)
                pending.add(attempt)
                at, damage = pending.end, _Damage()
                continue
            member = self._without_record(at, attempt, damage)
            at = member.offset + member.length
            if member.sound:
                damage = _Damage()
            if not attempt.silent:
                yield member
        if pending is not None:
            yield pending.member()

    def _is_end(self, at: int) -> bool:
        """The end of the file, or nothing but zeros up to it (padding of tapes and disks)."""
        if self._window.ended(at):
            return True
        while True:
            block = self._window.at(at, _PADDING if self._window.at(at, 1) == b"\0" else 1)
            if block.strip(b"\0"):
                return False
            if len(block) < _PADDING:
                return self._window.ended(at + len(block))
            at += len(block)

    def _without_record(self, at: int, attempt: Attempt, damage: _Damage) -> Member:
        """A member that holds no record, or none that can be read whole."""
        if attempt.end is not None:
            return Member(offset=at, length=attempt.end - at, damage=attempt.problem)
        following = self._search(at, attempt.reached, damage)
        end = self._window.size() if following is None else following
        length, data, problem = end - at, None, attempt.problem
        if not attempt.short or end > attempt.reached:
            problem = problem or DAMAGE
            if attempt.short:
                data = self._window.at(skip_blank(self._window, at), min(length, HEADER))
        elif length > self._max:
            problem = Problem(reason=Reason.RECORD_TOO_LARGE, value=length, limit=self._max)
        elif self._keep:
            data = self._window.at(at, length)
        return Member(offset=at, length=length, data=data, damage=problem, sound=False,
                      resumed=following is not None)  # fmt: skip

    def _search(self, at: int, reached: int, damage: _Damage) -> int | None:
        """Where the next member starts behind a damaged one at `at` that broke at `reached`."""
        window, codec = self._window, self._codec
        keep = codec.kind == "zstd"  # frames are decoded, and so checked, only if they are kept
        for place in codec.candidates(window, at + 1):
            if damage.spent > BUDGET and place < damage.furthest:
                continue
            if not _trial(codec, window, place):
                continue
            attempt = _read(codec, window, place, Plain(limit=self._max, keep=keep))
            if attempt.whole:
                return place
            damage.spent += attempt.work
            damage.furthest = max(damage.furthest, attempt.reached)
            if place >= reached and damage.named < NAMED:
                damage.named += 1
                return place
        return None

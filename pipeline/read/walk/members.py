"""Members: one stream that the walk and the reader share, and the way on behind damage.

In:      raw bytes of a crawl file from a member's start on (gzip, zstd, plain WARC, plain ARC).
Out:     a Member each: offset, length, plain bytes if kept, or what is wrong with it. A member
         that does not open a record belongs to the one before it (a record cut over two members).
Refused: damage is a Member too, known by its offset, nothing of it is used; a member over
         `max_bytes` is RECORD_TOO_LARGE and read to its end. Bytes at which a codec raises are
         damage too, by the name of UNREADABLE_RECORD. lz4, bzip2, xz: ValueError.

Behind damage the next member is searched: a candidate must open a record within 512 compressed
bytes, and the members from it on must reach the point where the damaged one broke. Then they must
go on for 64 KiB or to the end of the file, or the bytes before the candidate must look like the end
of the damaged one, or unlike deflate's way to hold a WARC as it is; so a WARC inside a damaged
record does not pass for the crawl's own.
Planted candidates cost bounded work (`BUDGET` a damaged stretch, then nothing is read twice). All
is a function of the file's bytes from the stretch's start on: cuts elsewhere change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO, Final

from pipeline.problem import Fault, Problem
from pipeline.read.walk.codec import Codec, Found, Shielded, opens_record
from pipeline.read.walk.gzip_member import MAGIC as GZIP_MAGIC
from pipeline.read.walk.gzip_member import GzipMembers
from pipeline.read.walk.plain_record import HEADER, LINE, PlainRecords, skip_blank
from pipeline.read.walk.window import Window
from pipeline.read.walk.zstd_frame import ZstdFrames, opens_frame
from schemas.verdict import Reason

# raw bytes that members must go on for behind a candidate: a block that deflate stores holds less,
# so none of these can be what a damaged record holds as it is
PROOF: Final = 1 << 16
BUDGET: Final = 16 << 20  # bytes in and out that proofs of one damaged stretch may cost
NAMED: Final = 16  # damaged members of one stretch that are told apart; then they count as one
_RECOGNISED: Final = 4 << 20  # bytes in which a file must show what it is
_PADDING: Final = 64 << 10
_REFUSED: Final = {
    b"\x04\x22\x4d\x18": "lz4",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member; `sound` says that its end is exactly known, so a part may start behind it."""

    offset: int
    length: int
    data: bytes | None = None
    damage: Problem | None = None
    sound: bool = True


@dataclass(slots=True)
class Effort:
    """What searching behind damage has cost so far, for tests and the curious."""

    trials: int = 0
    proof_bytes: int = 0


@dataclass(slots=True)
class _Stretch:
    """A run of damage: what was tried in it, so that nothing is tried twice."""

    furthest: int = 0
    spent: int = 0
    named: int = 0
    refused: set[int] = field(default_factory=set)

    @property
    def exhausted(self) -> bool:
        return self.spent > BUDGET


def members(
    stream: BinaryIO,
    *,
    start: int = 0,
    end: int | None = None,
    keep: bool,
    max_bytes: int,
    kind: str = "",
    exact: bool = False,
    effort: Effort | None = None,
) -> Iterator[Member]:
    """Every member that starts in [start, end); `exact` forbids to look behind `end`."""
    window = Window(stream, end=end, exact=exact)
    codec = codec_of(window, start, kind=kind)
    yield from members_in(
        window, codec, start=start, end=end, keep=keep, max_bytes=max_bytes, effort=effort
    )


def members_in(
    window: Window,
    codec: Codec,
    *,
    start: int,
    end: int | None,
    keep: bool,
    max_bytes: int,
    effort: Effort | None = None,
) -> Iterator[Member]:
    """The same over a window that others use too: near ranges come with one request."""
    reader = _Reader(window, codec, keep=keep, max_bytes=max_bytes, effort=effort or Effort())
    yield from reader.read(start, end)


def codec_of(window: Window, start: int, *, kind: str = "") -> Codec:
    """The codec by `kind`, or else by what lies at `start` or is found behind it.

    `kind` "plain" is what a compressed member holds: WARC or ARC, never compressed once more.
    """
    if kind == "plain":
        kind = _plain_kind(window, start) or "warc"
    kind = kind or _kind_at(window, start) or _kind_behind(window, start)
    if kind == "gzip":
        return GzipMembers()
    if kind == "zstd":
        return ZstdFrames(window)
    return PlainRecords(kind=kind or "warc")  # none at all: one damaged stretch


def _kind_at(window: Window, start: int) -> str:
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


def _plain_kind(window: Window, start: int) -> str:
    line = window.at(skip_blank(window, start), LINE)
    if line.startswith(b"WARC/"):
        return "warc"
    return "arc" if line.startswith(b"filedesc:") or opens_record(line) else ""


def _kind_behind(window: Window, start: int) -> str:
    """A file whose first member is damaged: the first kind that shows itself behind it."""
    near = Window(BytesIO(window.at(start, _RECOGNISED)))
    codecs: tuple[Codec, ...] = (
        GzipMembers(),
        ZstdFrames(window),
        PlainRecords(kind="warc"),
        PlainRecords(kind="arc"),
    )
    found = {}
    for codec in codecs:
        true = (place for place in codec.candidates(near, 0) if codec.trial(near, place))
        found[codec.kind] = next(true, _RECOGNISED)
    first = min(found, key=lambda kind: found[kind])
    return first if found[first] < _RECOGNISED else ""


@dataclass(kw_only=True, slots=True)
class _Pending:
    """A sound member, whose record may go on in the next ones."""

    offset: int
    end: int
    limit: int
    size: int = 0
    large: bool = False
    pieces: list[bytes] | None = field(default_factory=list)  # None: too large, or not wanted

    def add(self, found: Found) -> None:
        """The member itself, then each that goes on with it."""
        assert found.end is not None
        self.large |= found.problem is not None or (
            self.size > 0 and self.size + found.size > self.limit
        )
        self.size += found.size
        self.end = found.end
        if found.data is None or self.large:
            self.pieces = None
        elif self.pieces is not None:
            self.pieces.append(found.data)

    def member(self) -> Member:
        reason = Reason.RECORD_TOO_LARGE
        return Member(
            offset=self.offset,
            length=self.end - self.offset,
            data=None if self.pieces is None else b"".join(self.pieces),
            damage=Problem(reason=reason, value=self.size, limit=self.limit)
            if self.large
            else None,
        )


def unpack(
    stream: BinaryIO, member: Member, aside: BinaryIO, *, kind: str, max_bytes: int
) -> int | Fault | None:
    """Write a member's plain bytes to `aside`: how many, None for a plain or too large one."""
    end = member.offset + member.length
    window = Window(stream, end=end)
    codec = codec_of(window, member.offset, kind=kind)
    if isinstance(codec, PlainRecords):
        return None
    at, size = member.offset, 0
    codec = Shielded(codec)
    while at < end:
        found = codec.read(window, at, keep=False, max_bytes=max_bytes - size, sink=aside)
        if found.problem is not None or found.end is None:
            return found.problem if isinstance(found.problem, Fault) else None
        at, size = found.end, size + found.size
    return size


def count_records(member: Member) -> int:
    """How many records a member holds; one where it cannot be looked into."""
    if member.data is None:
        return 1
    plain = BytesIO(member.data)
    return sum(1 for _ in members(plain, keep=False, max_bytes=len(member.data), kind="plain"))


def _damaged(found: Found) -> bool:
    damage = (Reason.DAMAGED_RECORD, Reason.UNREADABLE_RECORD)
    return found.problem is not None and found.problem.reason in damage


class _Reader:
    def __init__(
        self, window: Window, codec: Codec, *, keep: bool, max_bytes: int, effort: Effort
    ) -> None:
        self._window = window
        self._codec: Codec = Shielded(codec)
        self._keep = keep
        self._max = max_bytes
        self._effort = effort

    def read(self, start: int, end: int | None) -> Iterator[Member]:
        at, stretch = start, _Stretch()
        pending: _Pending | None = None
        while (end is None or at < end) and not self._over(at):
            found = self._codec.read(self._window, at, keep=self._keep, max_bytes=self._max)
            if found.end is not None and not found.opens and pending is not None:
                pending.add(found)
                at = found.end
                continue
            if pending is not None:
                yield pending.member()
                pending = None
            if found.end is not None and not found.silent and not _damaged(found):
                pending = _Pending(offset=at, end=at, limit=self._max)
                pending.add(found)
                at, stretch = found.end, _Stretch()
                continue
            member = self._unusable(at, found, stretch)
            at = member.offset + member.length
            if member.sound:
                stretch = _Stretch()
            if not found.silent:
                yield member
        if pending is not None:
            yield pending.member()

    def _over(self, at: int) -> bool:
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

    def _unusable(self, at: int, found: Found, stretch: _Stretch) -> Member:
        if found.end is not None:
            return Member(offset=at, length=found.end - at, damage=found.problem)
        stretch.furthest = max(stretch.furthest, found.reached)
        following = self._following(at, found.reached, stretch)
        length = following - at
        if not found.short or following > found.reached:
            problem = found.problem or Problem(reason=Reason.DAMAGED_RECORD)
            start = skip_blank(self._window, at)
            head = self._window.at(start, min(length, HEADER)) if found.short else None
            return Member(offset=at, length=length, data=head, damage=problem, sound=False)
        if length > self._max:
            problem = Problem(reason=Reason.RECORD_TOO_LARGE, value=length, limit=self._max)
            return Member(offset=at, length=length, damage=problem, sound=False)
        data = self._window.at(at, length) if self._keep else None
        return Member(offset=at, length=length, data=data, sound=False)

    def _following(self, at: int, reached: int, stretch: _Stretch) -> int:
        """Where the next member starts behind a damaged one at `at` that broke at `reached`."""
        for place in self._codec.candidates(self._window, at + 1):
            if place in stretch.refused or (stretch.exhausted and place < stretch.furthest):
                continue
            self._effort.trials += 1
            if not self._codec.trial(self._window, place):
                continue
            if self._proven(at, place, reached, stretch):
                return place
        return self._window.size()

    def _proven(self, damaged: int, place: int, reached: int, stretch: _Stretch) -> bool:
        """Whether the members from `place` on are the crawl's own, not some inside the damage."""
        at, chain = place, set[int]()
        while not self._window.ended(at):
            if at > place and at >= reached and (at - place >= PROOF or stretch.exhausted):
                return True
            if at in stretch.refused or (at > place and not self._codec.trial(self._window, at)):
                break
            found = self._codec.read(self._window, at, keep=False, max_bytes=self._max)
            stretch.spent += found.work
            self._effort.proof_bytes += found.work
            stretch.furthest = max(stretch.furthest, found.reached)
            if found.end is None:
                stretch.named += at == place
                break
            chain.add(at)
            at = found.end
        else:
            return True
        believed = at >= reached and stretch.named < NAMED
        if believed and self._codec.closes(self._window, damaged, place, whole=len(chain)):
            return True
        stretch.refused |= chain
        return False

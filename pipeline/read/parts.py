"""Parts: runs of whole records of one input, so that one big file fills all cores.

In:      an input's name and its place among the ordered inputs.
Out:     Parts, small and picklable, whose names sort in the order of the crawl.
Few big inputs are walked once and cut; many inputs are parts as they are and nothing is read.
Refused: a part size or limit under its minimum: ValueError.

A cut stands only behind a member whose end is exactly known, so what a part's reader finds never
depends on where other cuts are (members.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

from pipeline.read.codec import ByteWindow
from pipeline.read.members import codec_of, count_records, members
from pipeline.store.raw import is_ranged, open_raw

MIN_PART: Final = 1 << 20
MAX_PART: Final = 64 << 20
SHARE: Final = 16  # parts that all input together makes at least, unless it is small
FEW_INPUTS: Final = 256  # from here on a part is a whole input
GAP: Final = 1 << 20  # bytes
_COUNTED: Final = 64 << 20  # bytes of a member that are kept to count its records for a limit

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Bytes [start, end) of an input, to its end where `end` is None.

    `ranges`, where there are any, are the runs of bytes that are wanted; `limit` is how many
    records are wanted; `kind` is the format, "" where the bytes at `start` decide it.
    """

    input: str
    index: int
    start: int
    end: int | None
    kind: str = ""
    limit: int | None = None
    ranges: Ranges = ()

    @property
    def name(self) -> str:
        return f"{self.index:06d}-{self.start:014d}"


def to_json(part: Part) -> str:
    return json.dumps(asdict(part), sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Part:
    fields = json.loads(text)
    ranges = tuple((start, end) for start, end in fields.pop("ranges"))
    return Part(**fields, ranges=ranges)


def default_part_size(total_bytes: int) -> int:
    """A sixteenth of all input, between 1 and 64 MiB."""
    return max(MIN_PART, min(MAX_PART, total_bytes // SHARE))


def whole(name: str, index: int, *, limit: int | None = None) -> Part:
    """An input as one part; it is not opened."""
    return Part(input=name, index=index, start=0, end=None, limit=_checked(limit))


def cut(name: str, index: int, *, part_size: int, limit: int | None = None) -> Iterator[Part]:
    """Walk an input once and cut it at the first boundary after every part size."""
    if part_size < 1:
        raise ValueError(f"part size {part_size:,} bytes: the minimum is 1")
    _checked(limit)
    with open_raw(name) as stream:
        if not is_ranged(stream):
            yield whole(name, index, limit=limit)
            return
        kind = codec_of(ByteWindow(stream), 0).kind
        begun, end, clean, left = 0, 0, True, limit
        for member in members(stream, keep=limit is not None, max_bytes=_COUNTED, kind=kind):
            if clean and member.offset - begun >= part_size:
                yield Part(input=name, index=index, start=begun, end=member.offset, kind=kind)
                begun, limit = member.offset, left
            end, clean = member.offset + member.length, member.sound
            if left is not None:
                left -= count_records(member)
                if left <= 0:
                    break
    rest = limit if left is not None and left <= 0 else None
    yield Part(input=name, index=index, start=begun, end=end, kind=kind, limit=rest)


def near_ranges(ranges: Ranges) -> Iterator[Ranges]:
    """Ranges in groups: fetching the gaps within a group is cheaper than another request."""
    group: list[tuple[int, int]] = []
    for start, end in ranges:
        if group and start - group[-1][1] > GAP:
            yield tuple(group)
            group = []
        group.append((start, end))
    if group:
        yield tuple(group)


def _checked(limit: int | None) -> int | None:
    if limit is not None and limit < 1:
        raise ValueError(
            f"limit of {limit} records an input: the minimum is 1, leave it out for all"
        )
    return limit

"""Capture dates: what WARC and ARC headers say, as ISO 8601 in UTC to the second.

In:      WARC-Date (W3C-DTF, any precision from the year on) or ARC's digits.
Out:     "2020-01-31T12:00:00Z", or "" for what is no date: it is recorded, and invented by no one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_WARC: Final = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d*)?)?)?)?)?"
    r"(Z|[+-]\d\d:?\d\d)?",
    re.IGNORECASE,
)
_ARC: Final = re.compile(r"(\d{4})(\d\d)?+(\d\d)?+(\d\d)?+(\d\d)?+(\d\d)?+\d*+")


def warc_date(stored: str) -> str:
    found = _WARC.fullmatch(stored.strip())
    if found is None:
        return ""
    return _iso(found.groups()[:6], offset=found[7] or "Z")


def arc_date(stored: str) -> str:
    found = _ARC.fullmatch(stored.strip())
    return "" if found is None else _iso(found.groups(), offset="Z")


def _iso(fields: tuple[str | None, ...], *, offset: str) -> str:
    year, month, day, hour, minute, second = (
        int(field or default) for field, default in zip(fields, "111000", strict=True)
    )
    try:
        date = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        date -= _shift(offset)
    except (ValueError, OverflowError):
        return ""
    return date.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def _shift(offset: str) -> timedelta:
    if offset in {"Z", "z"}:
        return timedelta()
    minutes = int(offset[1:3]) * 60 + int(offset[-2:])
    return timedelta(minutes=-minutes if offset[0] == "-" else minutes)

"""Ended: the records at which a process came to its end, kept so that a later run leaves them out.

In:   the place of a record whose page killed the process that read it, or whose image killed its
      decoder: by a fault, or by the limit of processor time.
Out:  ended/PART.json, written at once. Where a process dies depends on the machine, so a rerun
      takes the record's drop from here, and gives the same bytes (law 3).
"""

from __future__ import annotations

import json

from pipeline.job import Job
from pipeline.store import store
from pipeline.store.store import ENDED
from schemas.verdict import Reason

RecordPlace = tuple[int, int]  # a record's offset, and its ordinal within the member


def read_ended(job: Job, part: str) -> dict[RecordPlace, Reason]:
    """The records of a part that ended a process, each with the reason of its drop."""
    path = _path(job, part)
    if not store.exists(path):
        return {}
    try:
        rows = json.loads(store.read_bytes(path))
        return {(row["offset"], row["place"]): Reason(row["reason"]) for row in rows}
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged: remove it, and its records are read once more"
        ) from error


def add_ended(job: Job, part: str, place: RecordPlace, reason: Reason) -> None:
    known = read_ended(job, part) | {place: reason}
    rows = [
        {"offset": offset, "place": ordinal, "reason": str(why)}
        for (offset, ordinal), why in sorted(known.items())
    ]
    store.write_bytes(_path(job, part), (json.dumps(rows, indent=1) + "\n").encode())


def add_note(job: Job, part: str, files: store.PartFiles) -> None:
    """Add the file of a part whose records ended a process to those that the part is made of."""
    path = _path(job, part)
    if store.exists(path):
        files.stored.append(store.digest(path, files.name_of(path)))


def _path(job: Job, part: str) -> str:
    return job.path(ENDED, f"{part}.json")

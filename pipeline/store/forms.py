"""Forms: what the files of a run are called. What is called otherwise no run touches.

In:      a table of a run folder, and the form of the names that a stage gives to its files there.
Out:     its files.
A table is one level deep, and a link is no file of a run: neither is followed, read or removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from pipeline.store import store

Form = Callable[[str], re.Match[str] | None]  # of a whole name; group 1 is the part

PART: Final = "[0-9]{6,}-[0-9]{14,}"  # place of the input, byte at which the part starts
SHARD: Final = "(?:train|heldout)-[0-9]{5,}"
SETTLED: Final = "fetch-[0-9]{5,}-[0-9]+"  # partition, round
COMMIT: Final = f"{SETTLED}-[0-9a-f]{{8}}-[0-9]+"

PARTS: Final[Form] = re.compile(rf"({PART})\.parquet").fullmatch
PACKS: Final[Form] = re.compile(rf"({PART})-[0-9]+\.tar").fullmatch
PARTITIONS: Final[Form] = re.compile(r"([0-9]{5,})\.parquet").fullmatch
FETCHED: Final[Form] = re.compile(rf"({SETTLED}|{COMMIT})\.parquet").fullmatch
FETCHED_PACKS: Final[Form] = re.compile(rf"({COMMIT})-[0-9]+\.tar").fullmatch
LEASES: Final[Form] = re.compile(r"([0-9]{5,})\.host\.json").fullmatch
INDEXES: Final[Form] = re.compile(rf"({SHARD})\.parquet").fullmatch
SHARDS: Final[Form] = re.compile(rf"({SHARD})\.tar").fullmatch

# notes of records that ended a process (extract/ended.py): no stage sweeps them
ENDED: Final = "ended"
NOTES: Final[Form] = re.compile(rf"({PART})\.json").fullmatch
OPT_OUT: Final = "opt-out-"  # and the digest of the list
OPT_OUT_LIST: Final = re.compile(rf"{OPT_OUT}[0-9a-f]{{16}}\.txt")


def files(output: str, table: str, form: Form, start: str = "") -> Iterator[tuple[str, str]]:
    """(path, part) of the whole files in a table, sorted; of those whose names begin so."""
    for path in store.beginning(store.join(output, table, start)):
        if named := form(path.rsplit("/", 1)[-1]):
            yield path, named[1]

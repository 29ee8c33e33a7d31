"""No column of any file says something else unseen, but for those that are named here, with why."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from pipeline.store import parquet
from pipeline.verify import verify
from pipeline.verify.files import stage_of
from pipeline.verify.folder import SCHEMAS
from tests.verify.damage import parts, rewrite

Steps = tuple[str, ...]  # name of a column, then of fields in it; * is an item of a list
Value = Any

# what nothing else at rest tells; a page's checksum and the bytes of the file guard it
COUNTED: Final = "measured from the text by extract alone; values of verdicts are held against it"
OF_DROPPED: Final = "the sample tells it, and the document that is changed here has none"
UNTOLD: Final = {
    "documents charset": "nothing was made of it",
    "documents language_score": "that it passes a limit is decided, and what does is not told",
    "documents robots.*": "nothing was made of what is not asked for",
    "documents tdm_policy": "nothing was made of it",
    "documents canonical": "nothing was made of it",
    "documents licence": OF_DROPPED,
    "documents nodes.*.others.*": "of a document that went before its images were looked for",
} | {
    f"documents nodes.*.counts.{name}": COUNTED
    for name in (
        "special_characters", "stop_words", "common_words", "character_ngrams",
        "character_ngrams_repeated", "word_ngrams",
    )
}  # fmt: skip
# what one file of another stage tells besides: it is seen, but not which of the two is wrong
TOLD_ONCE: Final = {
    "documents tdm_reservation": "filter_text",
    "documents nodes.*.counts.flagged_words": "filter_text",
    "documents nodes.*.counts.spam_words": "filter_text",
    "documents nodes.*.counts.word_ngrams_repeated": "filter_text",
    "documents title": "shard",
    "documents language": "shard",
    "documents extractor": "shard",
    "documents nodes.*.text": "shard",
    "documents nodes.*.alt": "shard",
    "documents nodes.*.url": "filter_text",
    "images value": "shard",
    "images limit": "shard",
    "verdicts/extract value": "shard",
}


def leaves(kind: pa.DataType, steps: Steps = ()) -> Iterator[tuple[Steps, pa.DataType]]:
    if pa.types.is_list(kind):
        yield from leaves(kind.value_type, (*steps, "*"))
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from leaves(child.type, (*steps, child.name))
    else:
        yield steps, kind


COLUMNS: Final = [
    pytest.param(folder, steps, kind, id=f"{folder} {'.'.join(steps)}")
    for folder, schema in SCHEMAS.items()
    for field in schema
    for steps, kind in leaves(field.type, (field.name,))
]


def other(value: Value, kind: pa.DataType) -> Value:
    """A value of the same type, as likely as the one that is there."""
    if value is None:
        value = False if pa.types.is_boolean(kind) else "" if pa.types.is_string(kind) else 0
    if pa.types.is_boolean(kind):
        return not value
    if pa.types.is_integer(kind):
        return value - 1 if value else 1
    if pa.types.is_floating(kind):
        return value * 0.99 if value else 0.5
    text = str(value)
    swapped = {"0": "1", "a": "b", "text": "image", "image": "text", "kept": "dropped"}
    return swapped.get(text) or (f"{text[:-1]}{'b' if text[-1:] == 'a' else 'a'}")


def change(row: Value, steps: Steps, kind: pa.DataType, *, nothing: bool) -> Value | None:
    """The row with the first value under these steps changed, or (`nothing`) the first null one.

    None where there is no such value.
    """
    if not steps:
        return other(row, kind) if nothing == (row is None) else None
    if row is None:
        return None
    if steps[0] == "*":
        for place, item in enumerate(row):
            if (changed := change(item, steps[1:], kind, nothing=nothing)) is not None:
                return [*row[:place], changed, *row[place + 1 :]]
        return [other(None, kind)] if nothing and not row and not steps[1:] else None
    if (changed := change(row[steps[0]], steps[1:], kind, nothing=nothing)) is None:
        return None
    return {**row, steps[0]: changed}


def damaged(run: Path, folder: str, steps: Steps, kind: pa.DataType) -> Path | None:
    """Change one value of the last part and row that has one; else make one where there is none."""
    paths = list(reversed(list(parts(run, folder))))
    for nothing in (False, True):
        for path in paths:
            rows = list(parquet.read_rows(str(path)))
            for place in reversed(range(len(rows))):
                changed = change(rows[place], steps, kind, nothing=nothing)
                if changed is not None:
                    rewrite(path, folder, partial(_put, place=place, row=changed))
                    return path
    return None


def _put(rows: list[Value], *, place: int, row: Value) -> None:
    rows[place] = row


@pytest.mark.parametrize(("folder", "steps", "kind"), COLUMNS)
def test_one_value_that_is_changed_names_its_stage(
    run: Path, folder: str, steps: Steps, kind: pa.DataType
) -> None:
    path = damaged(run, folder, steps, kind)
    if path is None:
        pytest.fail(f"{folder} {steps} holds no value to change")
    found = verify(str(run))
    column = f"{folder} {'.'.join(steps)}"
    if column in UNTOLD:
        assert found.ok, f"{column} is told: take it from the list"
        return
    stage = stage_of(str(path.relative_to(run)))
    failed = [(check.stage, check.kind, check.note) for check in found.failed]
    assert TOLD_ONCE.get(column, stage) in found.stages, failed
    assert (stage in found.stages) == (column not in TOLD_ONCE), failed


def test_what_is_listed_as_untold_are_columns() -> None:
    columns = {column.id for column in COLUMNS}
    assert {*UNTOLD, *TOLD_ONCE} <= columns

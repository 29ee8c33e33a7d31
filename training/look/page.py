"""Page: the documents of a step as the model gets them, as one HTML page that a person can read.

In:      a run and the number of a step, from 1, planned from the nearest checkpoint before it, so
         that a late step costs no more than an early one. Or Rows and the images that they left
         out, and what the numbers in them mean.
Out:     a page by itself: each row with its fill, each piece with source, shard, key and place, its
         tokens one by one, and where an image stands the picture as the model sees it, put together
         again from its patches. What is trained, what is not and what is context looks different.
Refused: a step that the run has not; of more than `most` rows the page shows the first and says so.
See it:  interloom-train data DIR --step 1

A page of other people's texts and pictures: everything is escaped, nothing is fetched and no script
runs (a content security policy with the hash of the one style sheet).
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import jinja2
import numpy as np
from PIL import Image

from training.data.batch import Broken, Piece, Row
from training.data.images import Bytes, assembled, places
from training.data.tokens import IGNORED, Ints, Special
from training.fit.checkpoint import read_state_of, whole_checkpoints
from training.fit.parallel import ALONE
from training.fit.prepare import Say, check_output, prepare
from training.recipe import read_run

HERE: Final = Path(__file__).parent
UNREADABLE: Final = "\N{REPLACEMENT CHARACTER}"  # how a part of a character decodes
LONGEST: Final = 8  # tokens that are joined until they are whole characters

Kind = Literal["trained", "unlabelled", "context"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What the numbers of a row stand for."""

    decode: Callable[[list[int]], str]
    special: Special
    image_tokens: int
    table: int  # side of the position table
    sequence_length: int
    sources: Sequence[str]  # names, by number


class ShownToken(NamedTuple):
    """A token, or a picture in the place of its tokens."""

    kind: Kind
    text: str
    picture: str = ""  # data: URL
    sides: str = ""


class ShownPiece(NamedTuple):
    piece: Piece
    source: str
    tokens: int
    targets: int
    shown: Sequence[ShownToken]


class ShownRow(NamedTuple):
    row: Row
    pieces: Sequence[ShownPiece]


def render(
    rows: Sequence[Row],
    meaning: Meaning,
    *,
    title: str,
    broken: Sequence[Broken] = (),
    most: int = 64,
) -> str:
    """The page."""
    tokens = sum(len(row.tokens) for row in rows)
    return filled(
        "step.html.j2",
        title=title,
        rows=[shown_row(row, meaning) for row in rows[:most]],
        all_rows=len(rows),
        tokens=tokens,
        targets=sum(int((row.labels != IGNORED).sum()) for row in rows),
        images=sum(len(row.patch_lengths) for row in rows),
        fill=tokens / max(1, len(rows) * meaning.sequence_length),
        broken=broken,
        meaning=meaning,
    )


def filled(template: str, **values: object) -> str:
    """A page made of one of the templates here, with their one style sheet."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (HERE / "page.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(style=style, style_hash=digest, **values)


def shown_row(row: Row, meaning: Meaning) -> ShownRow:
    """A row's pieces in order, each with its own pictures."""
    ends = np.cumsum(row.lengths).tolist()
    pictures = iter(_pictures(row, meaning.table))
    pieces = []
    for piece, length, end in zip(row.pieces, row.lengths.tolist(), ends, strict=True):
        tokens, labels = row.tokens[end - length : end], row.labels[end - length : end]
        shown = list(_shown(tokens, labels, piece, pictures, meaning))
        source, targets = meaning.sources[piece.source], int((labels != IGNORED).sum())
        pieces.append(ShownPiece(piece, source, length, targets, shown))
    return ShownRow(row, pieces)


def _shown(
    tokens: Ints,
    labels: Ints,
    piece: Piece,
    pictures: Iterator[tuple[str, str]],
    meaning: Meaning,
) -> Iterator[ShownToken]:
    """A piece's tokens; the labels say of each but the first whether it is trained."""
    trained = [False, *(labels[:-1] != IGNORED).tolist()]
    before: list[int] = []
    place = 0
    for unit in _units(tokens.tolist(), meaning):
        kind: Kind = "trained" if trained[place] else "unlabelled"
        kind = "context" if not place and piece.start else kind
        if unit[0] == meaning.special.image:
            picture, sides = next(pictures)
            yield ShownToken(kind, f"{len(unit)} visual tokens", picture, sides)
        else:
            yield ShownToken(kind, _text(before, unit, meaning))
        before = unit
        place += len(unit)


def _units(tokens: list[int], meaning: Meaning) -> Iterator[list[int]]:
    """Tokens that are shown as one: those of an image, and those of one character."""
    special = meaning.special
    unit: list[int] = []
    for token in tokens:
        alone = token in (special.bos, special.eos, special.fake)
        if unit and (alone or (token == special.image) != (unit[0] == special.image)):
            yield unit  # what was waiting for the rest of a character
            unit = []
        unit.append(token)
        if token == special.image:
            whole = len(unit) == meaning.image_tokens
        else:
            whole = alone or len(unit) == LONGEST or UNREADABLE not in meaning.decode(unit)
        if whole:
            yield unit
            unit = []
    if unit:
        yield unit


def _text(before: list[int], unit: list[int], meaning: Meaning) -> str:
    """What tokens add to those before: some tokenizers drop the space of a first one."""
    special = meaning.special
    names = {special.bos: "⟨start⟩", special.eos: "⟨end⟩", special.fake: "⟨fake⟩"}
    if unit[0] in names:
        return names[unit[0]]
    first = [token for token in before if token not in names and token != special.image]
    return meaning.decode([*first, *unit])[len(meaning.decode(first)) if first else 0 :]


def _pictures(row: Row, table: int) -> Iterator[tuple[str, str]]:
    """data: URL and sides of each image of a row."""
    ends = np.cumsum(row.patch_lengths).tolist()
    for length, end in zip(row.patch_lengths.tolist(), ends, strict=True):
        at = slice(end - length, end)
        pixels = picture_of(row.patches[at], row.patch_places[at], table=table)
        yield as_url(pixels), f"{pixels.shape[1]} x {pixels.shape[0]}"


def picture_of(patches_KC: Bytes, places_K: Ints, *, table: int) -> Bytes:
    """Pixels (H x W x 3) of one image, from its patches and where they stand."""
    columns = int((places_K < table).sum())  # those of the first row
    rows = len(places_K) // columns
    assert np.array_equal(places(rows, columns, table=table), places_K), "patches of one image"
    return assembled(patches_KC, rows=rows, columns=columns)


def as_url(pixels_HWc: Bytes) -> str:
    """A picture inside a page."""
    held = io.BytesIO()
    Image.fromarray(pixels_HWc).save(held, "PNG")
    return "data:image/png;base64," + base64.b64encode(held.getvalue()).decode()


def write_step_of_run(
    run: Path, shards: Sequence[str] | None, step: int, output: Path | None, say: Say
) -> Path:
    """The page of a step of a run; into the run's folder where no output is named."""
    path = output or run / f"step-{step:06d}.html"
    options = read_run(run).with_shards(shards)
    if output is None:
        check_output(run)
    prepared = prepare(run, options, world=ALONE, say=say)
    steps = options.config.optimizer.steps
    if step > steps:
        raise ValueError(f"--step is {step:,}, but {run} has {steps:,} steps: choose one of them")
    plan, identity = prepared.plan(), prepared.identity()
    for folder in whole_checkpoints(run):
        state = read_state_of(folder, identity)
        if state.step < step:
            plan = prepared.plan_from(folder, state)
    while plan.step < step - 1:
        plan.next_batch()
    rows, broken = prepared.recipe.reader(prepared.sources).read(plan.next_batch())
    loaded, shape = prepared.recipe.loaded, prepared.recipe.shape
    meaning = Meaning(
        decode=lambda tokens: str(loaded.tokenizer.decode(tokens)),
        special=loaded.special,
        image_tokens=shape.image_tokens,
        table=shape.table,
        sequence_length=shape.sequence_length,
        sources=[source.name for source in prepared.sources],
    )
    path.write_text(render(rows, meaning, title=f"Step {step:,}", broken=broken))
    return path

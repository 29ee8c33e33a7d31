"""Samples: held-out documents as the model continues them, beside how they really go on.

In:      a model and batches of held-out documents.
Out:     OUT/samples.html: of some documents the pictures as the model saw them, the text it was
         given, what it wrote and what follows in truth. By itself, escaped, without scripts.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import jinja2

from training.data.batch import Batch
from training.evaluate.generate import continuation
from training.evaluate.prompt import opening
from training.look.render import as_url, picture_of
from training.model.idefics2 import PackedIdefics2
from training.recipe import Recipe

HERE: Final = Path(__file__).parent
DOCUMENTS: Final = 8
GIVEN: Final = 12  # tokens of text behind the first pictures
LENGTH: Final = 48  # tokens that are written


@dataclass(frozen=True, kw_only=True, slots=True)
class Continued:
    """One document, and where it was cut."""

    key: str
    pictures: Sequence[str]  # data: URLs
    given: str
    written: str
    real: str


def write_samples(
    path: Path, model: PackedIdefics2, batches: Iterable[Batch], recipe: Recipe, *, step: int
) -> Sequence[Continued]:
    """Write the page; the documents on it, the first ones that have a picture."""
    found = []
    for batch in batches:
        for document in range(len(batch.pieces)):
            prompt, rest = opening(
                batch, document, image_token=recipe.loaded.special.image, words=GIVEN
            )
            if prompt.images_N1.numel() > 1 and rest and batch.pieces[document].start == 0:
                found.append(_continued(model, prompt, rest, recipe))
            if len(found) == DOCUMENTS:
                break
        if len(found) == DOCUMENTS:
            break
    path.write_text(_page(found, step=step))
    return found


def _continued(model: PackedIdefics2, prompt: Batch, rest: list[int], recipe: Recipe) -> Continued:
    loaded = recipe.loaded
    special = loaded.special
    device = next(model.parameters()).device
    new = continuation(
        model,
        prompt.to(device),
        length=LENGTH,
        eos=special.eos,
        suppressed=(special.fake, special.image),
    )
    ends = prompt.images_N1.tolist()
    pictures = [
        as_url(
            picture_of(
                prompt.patches_KC[start:end].numpy(),
                prompt.patch_places_K[start:end].numpy(),
                table=recipe.shape.table,
            )
        )
        for start, end in pairwise(ends)
    ]

    def text(tokens: list[int]) -> str:
        return str(loaded.tokenizer.decode(tokens, skip_special_tokens=True))

    return Continued(
        key=prompt.pieces[0].key,
        pictures=pictures,
        given=text([one for one in prompt.tokens_T.tolist() if one != special.image]),
        written=text(new),
        real=text([one for one in rest[:LENGTH] if one not in (special.image, special.fake)]),
    )


def _page(documents: Sequence[Continued], *, step: int) -> str:
    style = (HERE / "render.css").read_text()
    template = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("samples.html.j2")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return template.render(documents=documents, step=step, style=style, style_hash=digest)

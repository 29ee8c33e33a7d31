"""Look at a step: the documents of a global batch, as the model gets them.

In:      a prepared run and the number of a step, from 1.
Out:     an HTML page (render.py). Planned from the nearest checkpoint before it, so that a late
         step costs no more than an early one.
"""

from __future__ import annotations

from pathlib import Path

from training.checkpoint import read_state, whole_ones
from training.prepare import Prepared
from training.render import Meaning, render


def write_step(prepared: Prepared, run: Path, step: int, path: Path) -> None:
    """Write the page of a step of a run."""
    plan = prepared.plan()
    states = (read_state(folder) for folder in whole_ones(run))
    before = [state for state in states if state.step < step]
    if before:
        plan.load_state_dict(before[-1].data)
    while plan.step < step - 1:
        plan.next_batch()
    rows, broken = prepared.reader().read(plan.next_batch())
    page = render(rows, meaning_of(prepared), title=f"Step {step:,}", broken=broken)
    path.write_text(page)


def meaning_of(prepared: Prepared) -> Meaning:
    loaded = prepared.loaded
    return Meaning(
        decode=lambda tokens: str(loaded.tokenizer.decode(tokens)),
        special=loaded.special,
        image_tokens=prepared.shape.image_tokens,
        table=prepared.shape.table,
        sequence_length=prepared.shape.sequence_length,
        sources=[source.name for source in prepared.sources],
    )

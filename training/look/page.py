"""Look at a step: the documents of a global batch, as the model gets them.

In:      a prepared run and the number of a step, from 1.
Out:     an HTML page (render.py). Planned from the nearest checkpoint before it, so that a late
         step costs no more than an early one.
"""

from __future__ import annotations

from pathlib import Path

from training.fit.checkpoint import read_part, whole_ones
from training.fit.prepare import Prepared
from training.look.render import Meaning, render


def write_step(prepared: Prepared, run: Path, step: int, path: Path) -> None:
    """Write the page of a step of a run."""
    steps = prepared.recipe.asked.config.optimizer.steps
    if step > steps:
        raise ValueError(f"--step is {step:,}, but {run} has {steps:,} steps: choose one of them")
    plan, identity = prepared.plan(), prepared.identity()
    for folder in whole_ones(run):
        state = read_part(folder, identity)
        if state.step < step:
            plan = prepared.plan_from(folder, state)
    while plan.step < step - 1:
        plan.next_batch()
    rows, broken = prepared.recipe.reader(prepared.sources).read(plan.next_batch())
    page = render(rows, _meaning(prepared), title=f"Step {step:,}", broken=broken)
    path.write_text(page)


def _meaning(prepared: Prepared) -> Meaning:
    loaded, shape = prepared.recipe.loaded, prepared.recipe.shape
    return Meaning(
        decode=lambda tokens: str(loaded.tokenizer.decode(tokens)),
        special=loaded.special,
        image_tokens=shape.image_tokens,
        table=shape.table,
        sequence_length=shape.sequence_length,
        sources=[source.name for source in prepared.sources],
    )

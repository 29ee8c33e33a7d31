"""All checks of a run, in the order of its stages.

Only the first stage that failed is blamed: of later stages the files alone are checked, and what is
made of the first one's files is "not counted", with that reason.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from typing import Final

from pipeline.job import shortened
from pipeline.run.execute import StageFailedError
from pipeline.stages import EXTRACT, FETCH, NAMES, SHARD
from pipeline.store import parquet
from pipeline.verify.at_rest import RunAtRest, StageAtRest, read_at_rest
from pipeline.verify.checks import RUN, STRAYS, Check, Outcome, Verification, not_counted
from pipeline.verify.counts import check_counts, check_handed
from pipeline.verify.crawl import check_crawl
from pipeline.verify.files import HOST, check_files
from pipeline.verify.links import check_packs, check_shards
from pipeline.verify.replay import check_replay

Checker = Callable[[RunAtRest, StageAtRest], Iterator[Check]]
LINKS: Final[dict[str, Checker]] = {
    EXTRACT.name: check_packs,
    FETCH.name: check_packs,
    SHARD.name: check_shards,
}


def verify(output: str, *, inputs: bool = True) -> Verification:
    """Look at a whole run; `inputs=False` leaves the raw crawl alone.

    Raises:
        ValueError: where there is no run of this format at all.
    """
    run = read_at_rest(output)
    checks = list(check_files(run))
    broken = {check.stage for check in checks
              if check.outcome is Outcome.FAILED and check.kind not in {STRAYS, HOST}}  # fmt: skip
    first_failed = ""
    for name in NAMES:
        first_failed = first_failed or (name if name in broken else "")
        if (at_rest := run.stages.get(name)) is None:
            continue
        if first_failed:
            why = f"they are made of what {first_failed} wrote, which is not as it was"
            checks.append(not_counted(name, "counts, links, decisions", why))
            continue
        for checker in _checkers(name, inputs=inputs):
            made = list(_caught(checker, run, at_rest))
            checks += made
            if any(check.outcome is Outcome.FAILED for check in made):
                first_failed = name
    order = (RUN, *NAMES)
    checks.sort(key=lambda check: order.index(check.stage))
    return Verification(output=output, checks=tuple(checks))


def _caught(checker: Checker, run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    """The checks; one that failed in place of those that cannot be made."""
    try:
        yield from checker(run, at_rest)
    except (parquet.DamagedFileError, tarfile.TarError, StageFailedError, ValueError) as error:
        note = shortened(error.why if isinstance(error, parquet.DamagedFileError) else error)
        yield Check(stage=at_rest.name, kind="read again", outcome=Outcome.FAILED, note=note)


def _checkers(stage: str, *, inputs: bool) -> Iterator[Checker]:
    yield check_counts
    yield check_handed
    if stage == EXTRACT.name:
        yield check_crawl if inputs else _crawl_left_alone
    if stage in LINKS:
        yield LINKS[stage]
    yield check_replay


def _crawl_left_alone(_run: RunAtRest, at_rest: StageAtRest) -> Iterator[Check]:
    yield not_counted(at_rest.name, "records", "asked to leave the raw inputs alone")

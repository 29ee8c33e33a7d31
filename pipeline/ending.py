"""How a run ends: the funnel, the time, where the files are; and `stats`, which says it again."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

from pipeline import layout, memory, run, store, unreadable
from pipeline.choose import Launch, job_of
from pipeline.fetch import figures
from pipeline.funnel import show_funnel, show_stats_of
from pipeline.job import read_crawl
from pipeline.progress import Progress
from schemas.manifest import STAGES, Manifest
from schemas.verdict import Reason


def run_and_show(launch: Launch, console: Console) -> bool:
    """Do what is not whole, print the ending; whether anything was kept (or not yet known)."""
    job = launch.job
    warning = memory.warning(sum(read_crawl(job.output).sizes))
    if warning and launch.runner in run.RUNNERS_HERE:
        console.print(f"warning: {warning}")
    if launch.news:
        console.print(launch.news)
    run.execute(
        job,
        stages=launch.stages,
        options=launch.options,
        runner=launch.runner,
        say=console.print,
        progress=Progress(console),
    )
    manifests = run.manifests(job)
    show_funnel(manifests, console)
    if "extract" in manifests:
        unreadable.show(job, console)
    if "fetch" in manifests:
        figures.show(figures.Figures.of(job), console)
    seconds = run.host_seconds(job)
    if len(manifests) < len(STAGES):
        console.print(f"{len(manifests)} of {len(STAGES)} stages are whole in {job.output}")
        return True
    console.print(
        f"{sum(seconds.values()):,.0f} s, of which "
        + ", ".join(f"{stage} {spent:,.0f}" for stage, spent in seconds.items())
    )
    console.print(f"report: {store.join(job.output, 'report.html')}")
    if manifests["shard"].ledger["documents.kept"]:
        return True
    console.print(f"0 documents: {why_nothing(manifests, job.output)}")
    return False


def why_nothing(manifests: Mapping[str, Manifest], output: str) -> str:
    """What a run that kept nothing lacked, and what to do."""
    wanted = manifests["fetch"].ledger
    missing = wanted["wanted.seen"]
    if missing and wanted[f"wanted.dropped.{Reason.NOT_FETCHED}"] == missing:
        return (
            f"{missing:,} images wanted, none in the crawl. A crawl of pages only is as Common "
            f"Crawl's: interloom run -o {output} --contact you@example.org fetches them"
        )
    if missing and not wanted["wanted.kept"]:
        return (
            f"none of {missing:,} images wanted could be fetched, for the reasons above: "
            f"interloom refetch {output} tries again"
        )
    if pages := manifests["extract"].ledger["documents.kept"]:
        return (
            f"all {pages:,} pages were dropped, for the reasons above. See what the rules say of "
            f"one by interloom explain PAGE.html --run {output}, or try --recipe=off"
        )
    return (
        "no page could be read, for the reasons above. Look whether the inputs hold responses in "
        "HTML"
    )


def import_images(folder: str, tars: list[str], console: Console) -> None:
    """What became of the images of img2dataset's tars, and what to do next."""
    from pipeline.fetch.imported import import_tars  # noqa: PLC0415  # with aiohttp

    run.check_output(folder)
    job = job_of(folder)
    layout.check(folder)
    if run.whole(job, "filter_text") is None:
        raise ValueError(f"{folder} has no wanted/ yet: interloom run --stage filter_text first")
    if run.whole(job, "fetch") is not None:
        raise ValueError(f"fetch is whole in {folder}: remove fetch.manifest.json there to have it "
                         "done again with these images")  # fmt: skip
    with store.held(folder):
        told = import_tars(tars, job)
    for status, count in told.most_common():
        console.print(f"{count:>12,}  {status}")
    console.print(f"interloom run -o {folder} goes on with them")


def show_stats(folder: str, console: Console) -> None:
    job = job_of(folder)
    show_stats_of(job, run.manifests(job), console)
    if run.whole(job, "extract") is not None:
        unreadable.show(job, console)
    if run.whole(job, "fetch") is not None:
        figures.show(figures.Figures.of(job), console)

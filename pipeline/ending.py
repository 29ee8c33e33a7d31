"""How a run ends: the funnel, the time, where the files are; and `stats`, which says it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from rich.console import Console

from pipeline import stages
from pipeline.account import unreadable
from pipeline.account.funnel import in_units, show_funnel
from pipeline.fetch.progress import FetchedFigures, show_figures
from pipeline.job import Job, read_crawl
from pipeline.local import memory
from pipeline.options.launch import Launch, job_of
from pipeline.run import layout
from pipeline.run.execute import RUNNERS_HERE, execute, host_seconds, manifests, whole
from pipeline.run.layout import check_output
from pipeline.run.progress import Progress
from pipeline.store import store
from pipeline.store.raw import file_systems
from schemas.manifest import Manifest, StageName
from schemas.terminal import printable
from schemas.verdict import Reason

# what lies in a run folder, in the order in which it is made
FOLDERS: Final[Mapping[str, str]] = {
    "documents": "pages as they were read",
    "images": "image URLs with what is known of them",
    "packs": "image bytes",
    "verdicts": "every drop with its reason",
    "wanted": "image URLs that the crawl does not hold",
    "kept": "documents that are kept, and where their images lie",
    "shards": "tars: the samples",
    "index": "where each sample lies in its tar",
    "tables": "documents, images and drops for DuckDB and the like",
    "report.html": "the funnel, figures and samples, to be opened in a browser",
    "README.md": "dataset card",
}


def run_and_show(launch: Launch, console: Console) -> bool:
    """Do what is not whole, print the ending; whether anything was kept (or not yet known)."""
    job = launch.job
    warning = memory.warning(sum(read_crawl(job.output).sizes))
    if warning and launch.runner in RUNNERS_HERE:
        console.print(f"warning: {warning}")
    if launch.news:
        console.print(launch.news)
    execute(
        job,
        todo=launch.todo,
        options=launch.options,
        runner=launch.runner,
        say=console.print,
        progress=Progress(console),
    )
    made = manifests(job)
    show_funnel(made, console)
    _show_losses(job, made, console)
    seconds = host_seconds(job)
    if len(made) < len(job.stages):
        console.print(f"{len(made)} of {len(job.stages)} stages are whole in {job.output}")
        return True
    console.print(
        f"{sum(seconds.values()):,.0f} s, of which "
        + ", ".join(f"{stage} {spent:,.0f}" for stage, spent in seconds.items())
    )
    console.print(f"report: {store.join(job.output, 'report.html')}")
    if made[StageName.SHARD].ledger["documents.kept"]:
        return True
    console.print(f"0 documents: {why_nothing(made, job.output)}")
    return False


def _show_losses(job: Job, made: Mapping[str, Manifest], console: Console) -> None:
    """Records that could not be read, and what came of fetching, of the stages that are whole."""
    if StageName.EXTRACT in made:
        unreadable.show(job, console)
    if StageName.FETCH in made:
        show_figures(FetchedFigures.of(job), console)


def why_nothing(manifests: Mapping[str, Manifest], output: str) -> str:
    """What a run that kept nothing lacked, and what to do."""
    wanted = manifests[StageName.FETCH].ledger
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
    if pages := manifests[StageName.EXTRACT].ledger["documents.kept"]:
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

    check_output(folder)
    job = job_of(folder)
    layout.check(folder)
    if whole(job, stages.FILTER_TEXT) is None:
        raise ValueError(
            f"{folder} has no wanted/ yet: interloom run --stage {stages.FILTER_TEXT.name} first"
        )
    if whole(job, stages.FETCH) is not None:
        raise ValueError(f"fetch is whole in {folder}: remove fetch.manifest.json there to have it "
                         "done again with these images")  # fmt: skip
    with store.held(folder):
        statuses = import_tars(tars, job.doing(stages.FETCH.name))
    for status, count in statuses.most_common():
        console.print(f"{count:>12,}  {status}")
    console.print(f"interloom run -o {folder} goes on with them")


def show_stats(folder: str, console: Console) -> None:
    job = job_of(folder)
    made = manifests(job)
    show_funnel(made, console)
    console.print()
    show_places(job, console)
    _show_losses(job, made, console)


def show_places(job: Job, console: Console) -> None:
    """What lies where in the run folder, and how big it is."""
    sizes = dict.fromkeys(FOLDERS, 0)
    counts = dict.fromkeys(FOLDERS, 0)
    for path, size in _sizes(job.output):
        top = path.removeprefix(job.output.rstrip("/") + "/").split("/", 1)[0]
        if top in sizes:
            sizes[top] += size
            counts[top] += 1
    lines = [
        (printable(job.path(name)), f"{counts[name]:,}", in_units(sizes[name]), meaning)
        for name, meaning in FOLDERS.items()
        if counts[name]
    ]
    widths = [max((len(line[place]) for line in lines), default=0) for place in range(3)]
    for path, files, total, meaning in lines:
        text = f"{path:<{widths[0]}}  {files:>{widths[1]}} files  {total:>{widths[2]}}  {meaning}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _sizes(output: str) -> Iterator[tuple[str, int]]:
    """(path, bytes) of every file of a run."""
    if store.is_local(output):
        for path in layout.own(output):
            yield path, Path(path).stat().st_size
        return
    for metadata in file_systems().match([store.join(output, "**")])[0].metadata_list:
        if layout.is_own(store.name_below(output, metadata.path)):
            yield metadata.path, metadata.size_in_bytes

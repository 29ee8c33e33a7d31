"""The command line: parse, call, print. What the user got wrong ends with 2 and no traceback.

Exit codes: 0 done; 1 a stage failed, or verify found a difference; 2 a wrong option or input;
3 nothing was kept; 128 and its number for a signal (workers.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from schemas.terminal import PlainConsole, one_line

NOTHING_KEPT: Final = 3
# what is left over is for Beam: options/beam.py checks it
FOR_BEAM: Final = {"ignore_unknown_options": True}

app = typer.Typer(
    help="Turn a web crawl into image-text shards, and account for every document.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Output = Annotated[str, typer.Option("--output", "-o", help="Run folder; a rerun resumes.")]
RunFolder = Annotated[str, typer.Argument(metavar="DIR", help="A run folder.")]


@app.command(context_settings=FOR_BEAM)
def run(  # noqa: PLR0913  # an option each
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT... [--beam_option=value]",
            help="WARC or ARC files, folders, globs, URLs, .paths(.gz) lists, or a Parquet or CSV "
            "index of (url, filename, offset, length). Known already on a rerun.",
        ),
    ] = None,
    *,
    output: Output,
    recipe: Annotated[str | None, typer.Option(help="obelics, off, or a TOML file.")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639-1, of the recipe.")] = None,
    base: Annotated[str, typer.Option(help="What names in lists are joined to.")] = "",
    limit: Annotated[int | None, typer.Option(help="First N records of each input.")] = None,
    part_size: Annotated[float | None, typer.Option(help="MiB of input a part.")] = None,
    partitions: Annotated[int | None, typer.Option(help="Of the image URLs to fetch.")] = None,
    shard_size: Annotated[float | None, typer.Option(help="MiB a shard.")] = None,
    heldout: Annotated[float | None, typer.Option(help="Share of documents held out.")] = None,
    heldout_by: Annotated[str | None, typer.Option(help="id or domain.")] = None,
    unreadable: Annotated[
        float | None,
        typer.Option(help="Share of records that may end as unreadable_record; else 0.001."),
    ] = None,
    lid_model: Annotated[str | None, typer.Option(help="lid.176.ftz of your own.")] = None,
    stop_words: Annotated[str | None, typer.Option(help="File, a word a line.")] = None,
    flagged_words: Annotated[str | None, typer.Option(help="File, a word a line.")] = None,
    common_words: Annotated[str | None, typer.Option(help="File, a word a line.")] = None,
    spam_words: Annotated[str | None, typer.Option(help="File, a word a line.")] = None,
    contact: Annotated[
        str | None,
        typer.Option(help="Your mail address or page, told to every server that is asked."),
    ] = None,
    fetch: Annotated[
        bool | None,
        typer.Option("--fetch/--no-fetch", help="Whether to ask for images not in the crawl."),
    ] = None,
    rates: Annotated[str | None, typer.Option(help="TOML file: requests a second by host.")] = None,
    opt_out: Annotated[str | None, typer.Option(help="File: domains and URLs to leave.")] = None,
    opt_out_service: Annotated[str | None, typer.Option(help="URL of a service to ask.")] = None,
    host_map: Annotated[
        str | None, typer.Option(help="File: hosts on loopback, for tests.")
    ] = None,
    ports: Annotated[str | None, typer.Option(help="That may be asked; else 80,443.")] = None,
    requests: Annotated[int | None, typer.Option(help="Under way at a time, a worker.")] = None,
    fetch_deadline: Annotated[float | None, typer.Option(help="Seconds; the rest waits.")] = None,
    host_images: Annotated[int | None, typer.Option(help="Asked of a host at most.")] = None,
    image_format: Annotated[
        str | None, typer.Option(help="jpeg, png or webp of what is fetched from now on.")
    ] = None,
    longest_side: Annotated[int | None, typer.Option(help="Pixels of fetched images.")] = None,
    image_quality: Annotated[int | None, typer.Option(help="Of a new encoding: 1 to 100.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage.")] = None,
    runner: Annotated[str, typer.Option(help="Beam runner, by name.")] = "FnApiRunner",
    workers: Annotated[
        int | None,
        typer.Option(help="Local processes; else one, or from 128 MB of input on one a core."),
    ] = None,
) -> None:
    """Turn a web crawl into image-text shards, and account for every document."""
    from pipeline import ending  # noqa: PLC0415  # Beam takes seconds to import
    from pipeline.options.fetching import AskedFetching  # noqa: PLC0415
    from pipeline.options.launch import Asked, launch  # noqa: PLC0415

    words = {"stop_words": stop_words, "flagged_words": flagged_words,
             "common_words": common_words, "spam_words": spam_words}  # fmt: skip
    word_files = {kind: path for kind, path in words.items() if path is not None}
    with user_errors():
        launched = launch(
            inputs or [],
            output=output,
            asked=Asked(
                recipe=recipe, language=language, base=base, limit=limit, part_size=part_size,
                partitions=partitions, shard_size=shard_size, heldout=heldout,
                heldout_by=heldout_by, unreadable=unreadable, lid_model=lid_model,
                word_files=word_files, opt_out=opt_out,
                fetching=AskedFetching(
                    on=fetch, contact=contact, rates=rates, opt_out_service=opt_out_service,
                    host_map=host_map, ports=ports, requests=requests, deadline=fetch_deadline,
                    host_images=host_images, image_format=image_format,
                    longest_side=longest_side, image_quality=image_quality,
                ),
            ),
            stage=stage,
            runner=runner,
            workers=workers,
        )  # fmt: skip
        kept = ending.run_and_show(launched, PlainConsole())
    if not kept:
        raise typer.Exit(NOTHING_KEPT)


@app.command()
def refetch(
    folder: RunFolder,
    *,
    reason: Annotated[
        list[str] | None,
        typer.Option(help="Only what ended so; else all that a later try may change."),
    ] = None,
    contact: Annotated[str | None, typer.Option(help="Another contact than before.")] = None,
    rates: Annotated[str | None, typer.Option(help="TOML file: requests a second by host.")] = None,
    fetch_deadline: Annotated[float | None, typer.Option(help="Seconds; the rest waits.")] = None,
    workers: Annotated[int | None, typer.Option(help="Local processes.")] = None,
) -> None:
    """Ask again for images that failed or were deferred, and do the stages behind it anew."""
    from pipeline import ending  # noqa: PLC0415
    from pipeline.options.fetching import AskedFetching  # noqa: PLC0415
    from pipeline.options.launch import again  # noqa: PLC0415

    with user_errors():
        asked = AskedFetching(contact=contact, rates=rates, deadline=fetch_deadline)
        launched = again(folder, reason or [], asked, workers=workers)
        kept = ending.run_and_show(launched, PlainConsole())
    if not kept:
        raise typer.Exit(NOTHING_KEPT)


@app.command()
def import_images(
    folder: RunFolder,
    tars: Annotated[list[str], typer.Argument(metavar="TARS...", help="As img2dataset made.")],
) -> None:
    """Take what img2dataset has brought for wanted/, in place of asking for it."""
    from pipeline import ending  # noqa: PLC0415

    with user_errors():
        ending.import_images(folder, tars, PlainConsole())


@app.command()
def stats(folder: RunFolder) -> None:
    """Print the funnel of a run, its figures, and where everything lies."""
    from pipeline import ending  # noqa: PLC0415

    with user_errors():
        ending.show_stats(folder, PlainConsole())


@app.command()
def explain(
    page: Annotated[Path, typer.Argument(metavar="PAGE.html", help="A page on disk.")],
    *,
    url: Annotated[str, typer.Option(help="Where it came from: links are resolved against it.")],
    recipe: Annotated[str, typer.Option(help="obelics, off, or a TOML file.")] = "obelics",
    lid_model: Annotated[str, typer.Option(help="lid.176.ftz of your own.")] = "",
    run: Annotated[str, typer.Option(help="Folder of a run: its recipe, words and model.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what the extractor makes of a page, and what each rule says of it."""
    from pipeline import explain as explaining  # noqa: PLC0415

    with user_errors():
        explanation = explaining.explain(
            page, url=url, recipe=recipe, language_model=lid_model, run=run
        )
        if json:
            explaining.write_json(explanation, sys.stdout)
        else:
            explaining.show(explanation, PlainConsole())


@app.command()
def verify(folder: RunFolder) -> None:
    """Count everything again, from the crawl to the tars, and say where it does not balance."""
    from pipeline import verify as verifying  # noqa: PLC0415

    with user_errors():
        verification = verifying.verify(folder)
        verifying.show(verification, PlainConsole())
    if not verification.ok:
        raise typer.Exit(1)


@contextmanager
def user_errors() -> Iterator[None]:
    """ValueError is for the user to mend (2); a failure of the run ends it with its reason (1)."""
    try:
        yield
    except ValueError as error:
        _complain(error)
        raise typer.Exit(2) from error
    except (OSError, RuntimeError) as error:
        # of an error that is worded for the reader its number says nothing more
        told = error.strerror if isinstance(error, OSError) and not error.filename else error
        _complain(told or error)
        raise typer.Exit(1) from error


def _complain(message: object) -> None:
    """One line, in which nothing that a name or a foreign file holds reaches the terminal."""
    print(f"interloom: {one_line(message)}", file=sys.stderr)


def _told(error: TyperException) -> str:
    """Its message, and the value, which typer leaves out of what pydantic tells it of a number."""
    message = error.format_message()
    for wrong in getattr(error.__cause__, "errors", list)():
        message = message.replace("Invalid value", f"Invalid value {wrong['input']!r}", 1)
    return message


def main() -> None:
    try:
        code = app(standalone_mode=False)
    except TyperException as error:  # the command line itself: one line, as all errors of ours
        if told := _told(error):  # empty where the help was shown instead
            _complain(told)
        raise SystemExit(error.exit_code) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in {"pipeline", "filters", "schemas"}:
            raise
        _complain(
            f"{error.name} is not installed; it comes with: pip install 'interloom[pipeline]'"
        )
        raise SystemExit(2) from error
    raise SystemExit(code)

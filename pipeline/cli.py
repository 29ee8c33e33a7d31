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

from pipeline.options.run_options import (
    OUTPUT,
    LidModel,
    RecipeName,
    RefetchOptions,
    RunOptions,
    with_options,
)
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

Output = Annotated[
    str,
    typer.Option("--output", "-o", help="Run folder; a rerun resumes.", rich_help_panel=OUTPUT),
]
RunFolder = Annotated[str, typer.Argument(metavar="DIR", help="A run folder.")]


@app.command(context_settings=FOR_BEAM)
@with_options(RunOptions)
def run(
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
    options: RunOptions,
) -> None:
    """Turn a web crawl into image-text shards, and account for every document."""
    from pipeline import ending  # noqa: PLC0415  # Beam with_options seconds to import
    from pipeline.options.launch import launch  # noqa: PLC0415

    with user_errors():
        kept = ending.run_and_show(launch(inputs or [], output, options), PlainConsole())
    if not kept:
        raise typer.Exit(NOTHING_KEPT)


@app.command()
@with_options(RefetchOptions)
def refetch(folder: RunFolder, *, options: RefetchOptions) -> None:
    """Ask again for images that failed or were deferred, and do the stages behind it anew."""
    from pipeline import ending  # noqa: PLC0415
    from pipeline.options.launch import launch_refetch  # noqa: PLC0415

    with user_errors():
        kept = ending.run_and_show(launch_refetch(folder, options), PlainConsole())
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
    recipe: RecipeName = None,
    lid_model: LidModel = None,
    run: Annotated[str, typer.Option(help="Folder of a run: its recipe, words and model.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what the extractor makes of a page, and what each rule says of it."""
    from pipeline import explain as explaining  # noqa: PLC0415

    with user_errors():
        explanation = explaining.explain(
            page, url=url, recipe=recipe or "obelics", language_model=lid_model or "", run=run
        )
        if json:
            explaining.write_json(explanation, sys.stdout)
        else:
            explaining.show(explanation, PlainConsole())


@app.command()
def verify(folder: RunFolder) -> None:
    """Hold a run against its digests, count and decide again, and name the stage that differs."""
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
        message: object = error
        if isinstance(error, OSError) and error.strerror and not error.filename:
            message = error.strerror  # written for the user: the error's number says nothing more
        _complain(message)
        raise typer.Exit(1) from error


def _complain(message: object) -> None:
    """One line, in which nothing that a name or a foreign file holds reaches the terminal."""
    print(f"interloom: {one_line(message)}", file=sys.stderr)


def _message(error: TyperException) -> str:
    """Its message, and the value, which typer leaves out of what pydantic tells it of a number."""
    message = error.format_message()
    for wrong in getattr(error.__cause__, "errors", list)():
        message = message.replace("Invalid value", f"Invalid value {wrong['input']!r}", 1)
    return message


def main() -> None:
    try:
        code = app(standalone_mode=False)
    except TyperException as error:  # the command line itself: one line, as all errors of ours
        if message := _message(error):  # empty where the help was shown instead
            _complain(message)
        raise SystemExit(error.exit_code) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in {"pipeline", "filters", "schemas"}:
            raise
        _complain(
            f"{error.name} is not installed; it comes with: pip install 'interloom[pipeline]'"
        )
        raise SystemExit(2) from error
    raise SystemExit(code)

"""The command line of the trainer: parse, call, print. What the user got wrong ends with 2.

Exit codes: 0 done, or stopped by SIGTERM with a checkpoint; 1 it failed; 2 a wrong option or
input; 130 stopped by Ctrl-C, with a checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, TextIO, cast

import typer
from typer.exceptions import TyperException

from schemas.terminal import PlainConsole, PlainStream, one_line, printable_lines

CONSOLE: Final = PlainConsole(soft_wrap=True)
app = typer.Typer(
    help="Train a vision-language model on shards, and account for every document.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

Shards = Annotated[
    list[str],
    typer.Option("--shards", metavar="DIR[=WEIGHT]", help="Run folder or tars; again for more."),
]
RunFolder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a training run.")]
Configuration = Annotated[str, typer.Option(help="tiny, small, idefics2-8b, or a TOML file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the configuration.")
]
Tokenizer = Annotated[str | None, typer.Option(help="Folder, .gguf or name on the hub.")]
MovedShards = Annotated[
    list[str] | None,
    typer.Option("--shards", metavar="DIR[=WEIGHT]", help="If not where fit had them."),
]
Images = Annotated[list[Path] | None, typer.Option("--image", help="A picture; again for more.")]


@app.command()
def fit(
    *,
    shards: Shards,
    output: Annotated[Path, typer.Option("--output", "-o", help="A rerun goes on.")],
    config: Configuration = "tiny",
    settings: Settings = None,
    tokenizer: Tokenizer = None,
    language_model: Annotated[str | None, typer.Option(help="Pretrained, to start from.")] = None,
    vision_model: Annotated[str | None, typer.Option(help="Pretrained, to start from.")] = None,
) -> None:
    """Train over shards; torchrun starts it on several GPUs."""
    with user_errors():  # commands import what they call: torch takes seconds, --help needs none
        from training.evaluate.losses import evaluate_step  # noqa: PLC0415
        from training.fit.loop import train  # noqa: PLC0415
        from training.look.ending import show_ending  # noqa: PLC0415
        from training.recipe import options_of  # noqa: PLC0415

        options = options_of(
            shards, config, settings, tokenizer=tokenizer, language_model=language_model,
            vision_model=vision_model,
        )  # fmt: skip
        stopped_by = train(
            output, options, console=CONSOLE, evaluate=evaluate_step, end=show_ending
        )
    if stopped_by == signal.SIGINT:
        raise typer.Exit(128 + signal.SIGINT)


@app.command()
def evaluate(run: RunFolder, *, shards: MovedShards = None) -> None:
    """Held-out loss of the last checkpoint, with real, blank and shuffled pictures."""
    with user_errors():
        from training.look.ending import evaluate_run  # noqa: PLC0415

        evaluate_run(run, shards, CONSOLE)


@app.command()
def generate(
    run: RunFolder,
    *,
    image: Images = None,
    prompt: Annotated[str, typer.Option(help="Text, behind the pictures.")] = "",
    length: Annotated[int, typer.Option(min=1, help="Tokens at most.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Continue pictures and a text with the last checkpoint."""
    with user_errors():
        from training.evaluate.generate import generate_from_run  # noqa: PLC0415

        text = generate_from_run(
            run, image or [], prompt, length=length, temperature=temperature, seed=seed
        )
        print(printable_lines(text))


@app.command()
def export(
    run: RunFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for transformers.")],
) -> None:
    """Write a folder that transformers' Idefics2ForConditionalGeneration loads."""
    with user_errors():
        from training.evaluate.export import export_run  # noqa: PLC0415

        step = export_run(run, output)
        CONSOLE.print(f"step {step:,} of {run} is in {output}")


@app.command()
def data(
    run: RunFolder,
    *,
    shards: MovedShards = None,
    step: Annotated[int, typer.Option(min=1, help="Of the run, counted from 1.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file.")] = None,
) -> None:
    """Render the documents of a step as the model gets them."""
    with user_errors():
        from training.look.page import write_step_of_run  # noqa: PLC0415

        page = write_step_of_run(run, shards, step, output, CONSOLE.print)
        CONSOLE.print(f"the documents of step {step:,}: {page}")


@app.command()
def plan(
    *,
    shards: Shards,
    config: Configuration = "tiny",
    settings: Settings = None,
    tokenizer: Tokenizer = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    gpu: Annotated[str, typer.Option(help="Of which kind.")] = "H100",
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="Share of its peak.")] = 0.4,
) -> None:
    """What a training run would be: samples, tokens, patches, fill, FLOPs and days."""
    with user_errors():
        from training.look.estimate import show_plan  # noqa: PLC0415
        from training.recipe import options_of  # noqa: PLC0415

        options = options_of(shards, config, settings, tokenizer=tokenizer)
        show_plan(options, CONSOLE, gpus=gpus, gpu=gpu, mfu=mfu)


@app.command()
def index(*, shards: Shards, tokenizer: Annotated[str, typer.Option(help="As for fit.")]) -> None:
    """Count the tokens of shards once, so that training plans without reading them."""
    with user_errors():
        from training.look.estimate import show_counts  # noqa: PLC0415

        show_counts(shards, tokenizer, CONSOLE)


@contextmanager
def user_errors() -> Iterator[None]:
    """ValueError is for the user to mend (2); a failure ends the run with its reason (1)."""
    try:
        yield
    except ValueError as error:
        _complain(error)
        raise typer.Exit(2) from error
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):  # main names the extra that brings it
            raise
        _complain(error)  # fsspec names the package that reads such a URL
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        _complain("stopped; the last checkpoint stays")
        raise typer.Exit(128 + signal.SIGINT) from error
    except (OSError, RuntimeError) as error:
        _complain(error)
        raise typer.Exit(1) from error


def _complain(message: object) -> None:
    """One line, in which nothing that a name or a foreign file holds reaches the terminal."""
    print(f"interloom-train: {one_line(message)}", file=sys.stderr)


def main() -> None:
    # transformers prints there what stands in a model's files; its bars need a terminal that obeys
    sys.stderr = cast("TextIO", PlainStream(sys.stderr))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # processes share the cores already
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        if message := error.format_message():
            _complain(message)
        raise SystemExit(error.exit_code) from error
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in {"training", "schemas"}:
            raise
        _complain(
            f"{error.name} is not installed; it comes with: pip install 'interloom[training]'"
        )
        raise SystemExit(2) from error
    raise SystemExit(code)


if __name__ == "__main__":
    main()

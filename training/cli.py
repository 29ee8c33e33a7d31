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
from typing import Annotated, TextIO, cast

import typer
from typer.exceptions import TyperException

from schemas.terminal import PlainStream, one_line, printable_lines

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
OfRun = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a training run.")]
Named = Annotated[str, typer.Option(help="tiny, small, idefics2-8b, or a TOML file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over the configuration.")
]
OfTokenizer = Annotated[str | None, typer.Option(help="Folder, .gguf or name on the hub.")]
Moved = Annotated[
    list[str] | None,
    typer.Option("--shards", metavar="DIR[=WEIGHT]", help="If not where fit had them."),
]
Images = Annotated[list[Path] | None, typer.Option("--image", help="A picture; again for more.")]


@app.command()
def fit(
    *,
    shards: Shards,
    output: Annotated[Path, typer.Option("--output", "-o", help="A rerun goes on.")],
    config: Named = "tiny",
    settings: Settings = None,
    tokenizer: OfTokenizer = None,
    language_model: Annotated[str | None, typer.Option(help="Pretrained, to start from.")] = None,
    vision_model: Annotated[str | None, typer.Option(help="Pretrained, to start from.")] = None,
) -> None:
    """Train over shards; torchrun starts it on several GPUs."""
    with user_errors():
        from training import commands  # noqa: PLC0415  # torch takes seconds to import

        asked = commands.ask(
            shards, config, settings, tokenizer=tokenizer, language_model=language_model,
            vision_model=vision_model,
        )  # fmt: skip
        stopped_by = commands.fit(output, asked)
    if stopped_by == signal.SIGINT:
        raise typer.Exit(128 + signal.SIGINT)


@app.command()
def evaluate(run: OfRun, *, shards: Moved = None) -> None:
    """Held-out loss of the last checkpoint, with real, blank and shuffled pictures."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        commands.evaluate(run, shards)


@app.command()
def generate(
    run: OfRun,
    *,
    image: Images = None,
    prompt: Annotated[str, typer.Option(help="Text, behind the pictures.")] = "",
    length: Annotated[int, typer.Option(min=1, help="Tokens at most.")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: the likeliest.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 0,
) -> None:
    """Continue pictures and a text with the last checkpoint."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        text = commands.generate(
            run, image or [], prompt, length=length, temperature=temperature, seed=seed
        )
        print(printable_lines(text))


@app.command()
def export(
    run: OfRun,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for transformers.")],
) -> None:
    """Write a folder that transformers' Idefics2ForConditionalGeneration loads."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        commands.export(run, output)


@app.command()
def data(
    run: OfRun,
    *,
    shards: Moved = None,
    step: Annotated[int, typer.Option(min=1, help="Of the run, counted from 1.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file.")] = None,
) -> None:
    """Render the documents of a step as the model gets them."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        commands.data(run, shards, step, output)


@app.command()
def plan(
    *,
    shards: Shards,
    config: Named = "tiny",
    settings: Settings = None,
    tokenizer: OfTokenizer = None,
    gpus: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    gpu: Annotated[str, typer.Option(help="Of which kind.")] = "H100",
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="Share of its peak.")] = 0.4,
) -> None:
    """What a training run would be: samples, tokens, patches, fill, FLOPs and days."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        asked = commands.ask(shards, config, settings, tokenizer=tokenizer)
        commands.plan(asked, gpus=gpus, gpu=gpu, mfu=mfu)


@app.command()
def index(*, shards: Shards, tokenizer: Annotated[str, typer.Option(help="As for fit.")]) -> None:
    """Count the tokens of shards once, so that training plans without reading them."""
    with user_errors():
        from training import commands  # noqa: PLC0415

        commands.index(shards, tokenizer)


@contextmanager
def user_errors() -> Iterator[None]:
    """ValueError is for the user to mend (2); a failure ends the run with its reason (1)."""
    try:
        yield
    except ValueError as error:
        _complain(error)
        raise typer.Exit(2) from error
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError):  # main tells which extra brings it
            raise
        _complain(error)  # fsspec's: what reads such a URL
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
    # transformers tells there what stands in a model's files; its bars need a terminal that obeys
    sys.stderr = cast("TextIO", PlainStream(sys.stderr))
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        code = app(standalone_mode=False)
    except TyperException as error:
        if told := error.format_message():
            _complain(told)
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

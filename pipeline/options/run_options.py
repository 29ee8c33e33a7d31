"""RunOptions: every option of the commands that do stages, declared once, by groups of the help.

In:   the command line, by typer.
Out:  RunOptions; `--help`; the names among which beam.py looks for what was misspelt.
None is what was not given: then a rerun takes what run.json has, a first start the default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any, Final, TypeVar, get_type_hints

from typer import Option

O = TypeVar("O")  # noqa: E741  # a dataclass of options
INPUT: Final = "Input"
RECIPE: Final = "Recipe"
FETCHING: Final = "Fetching"
OUTPUT: Final = "Output"
RUNNING: Final = "Running"

Text = str | None
Number = int | None
Share = float | None


def _option(text: str, panel: str | None = None) -> Any:  # noqa: ANN401  # typer's, which has no type
    return Option(help=text, rich_help_panel=panel)


# of several commands
RecipeName = Annotated[Text, _option("obelics, off, or a TOML file; default obelics.", RECIPE)]
LidModel = Annotated[Text, _option("Language identifier of your own (lid.176.ftz).", RECIPE)]
Contact = Annotated[
    Text,
    _option(
        "Your mail address or page, sent to every server that is asked for an image.", FETCHING
    ),
]
Rates = Annotated[Text, _option("TOML file: requests a second by host.", FETCHING)]
FetchDeadline = Annotated[
    Share, _option("Seconds that fetching may take; the rest is deferred.", FETCHING)
]
Workers = Annotated[
    Number, _option("Local processes; default 1, or one per core from 128 MB of input on.", RUNNING)
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What `interloom run` takes, beside its inputs and its output."""

    base: Annotated[Text, _option("Prefix of relative names in lists.", INPUT)] = None
    limit: Annotated[
        Number, _option("Only the first N records of each input (of each, not of all).", INPUT)
    ] = None
    part_size: Annotated[
        Share, _option("MiB of input a part; default 64, or a sixteenth of all.", INPUT)
    ] = None
    unreadable: Annotated[
        Share, _option("Share of records that may end as unreadable_record; default 0.001.", INPUT)
    ] = None
    recipe: RecipeName = None
    language: Annotated[Text, _option("ISO 639-1; default that of the recipe.", RECIPE)] = None
    lid_model: LidModel = None
    stop_words: Annotated[Text, _option("Stop words of your own, a word a line.", RECIPE)] = None
    flagged_words: Annotated[Text, _option("Flagged words of your own, a word a line.", RECIPE)] = (
        None
    )
    common_words: Annotated[Text, _option("Common words of your own, a word a line.", RECIPE)] = (
        None
    )
    spam_words: Annotated[Text, _option("Spam words of your own, a word a line.", RECIPE)] = None
    contact: Contact = None
    fetch: Annotated[
        bool | None,
        Option(
            "--fetch/--no-fetch",
            help="Whether to ask for images that the crawl does not hold.",
            rich_help_panel=FETCHING,
        ),
    ] = None
    rates: Rates = None
    opt_out: Annotated[Text, _option("File: domains and URLs to leave out.", FETCHING)] = None
    opt_out_service: Annotated[Text, _option("URL of a service to ask about URLs.", FETCHING)] = (
        None
    )
    host_map: Annotated[Text, _option("File: hosts that lie on loopback, for tests.", FETCHING)] = (
        None
    )
    ports: Annotated[Text, _option("Ports that may be asked; default 80,443.", FETCHING)] = None
    requests: Annotated[Number, _option("Requests at once, per worker; default 128.", FETCHING)] = (
        None
    )
    fetch_deadline: FetchDeadline = None
    host_images: Annotated[
        Number, _option("Images of a host at most; the rest is deferred.", FETCHING)
    ] = None
    partitions: Annotated[
        Number, _option("Groups that image URLs are split into; default 16.", FETCHING)
    ] = None
    image_format: Annotated[
        Text, _option("Store what is fetched as jpeg, png or webp; default as it came.", FETCHING)
    ] = None
    longest_side: Annotated[
        Number, _option("Longest side of fetched images, in pixels; default as it came.", FETCHING)
    ] = None
    image_quality: Annotated[Number, _option("With --image-format: 1 to 100.", FETCHING)] = None
    shard_size: Annotated[Share, _option("MiB a shard; default 256.", OUTPUT)] = None
    heldout: Annotated[Share, _option("Share of documents held out; default 0.01.", OUTPUT)] = None
    heldout_by: Annotated[Text, _option("id or domain; default id.", OUTPUT)] = None
    stage: Annotated[Text, _option("Do only this stage.", RUNNING)] = None
    runner: Annotated[str, _option("Beam runner, by name.", RUNNING)] = "FnApiRunner"
    workers: Workers = None

    @property
    def word_files(self) -> Mapping[str, str]:
        """The user's word lists that were given, by kind."""
        kinds = [name for name in self.__slots__ if name.endswith("_words")]
        return {kind: path for kind in kinds if (path := getattr(self, kind)) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class RefetchOptions:
    """What `interloom refetch` takes, beside its run folder."""

    reason: Annotated[
        list[str] | None,
        _option("Only URLs that ended with this reason; default all that may pass."),
    ] = None
    contact: Contact = None
    rates: Rates = None
    fetch_deadline: FetchDeadline = None
    workers: Workers = None


def option_names(options: type[O]) -> list[str]:
    """The options of a dataclass as they are written on the command line."""
    names = []
    for name, hint in get_type_hints(options, include_extras=True).items():
        written = f"--{name.replace('_', '-')}"
        declared = hint.__metadata__[0].param_decls or ()
        slashed = (hint.__metadata__[0].default, *declared)
        spelt = [text for text in slashed if isinstance(text, str) and text.startswith("--")]
        names += spelt[0].split("/") if spelt else [written]
    return names


def with_options(options: type[O]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command for typer: its parameter `options` becomes an option for each field."""

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        plain = inspect.signature(command, eval_str=True)
        hints = get_type_hints(options, include_extras=True)
        of_command = [
            parameter for parameter in plain.parameters.values() if parameter.name != "options"
        ]
        of_options = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in fields(options)  # type: ignore[arg-type]  # a dataclass
        ]

        @wraps(command)
        def run(**values: Any) -> None:  # noqa: ANN401  # of any option
            chosen = {parameter.name: values.pop(parameter.name) for parameter in of_options}
            command(**values, options=options(**chosen))

        parameters = [*of_command, *of_options]
        run.__signature__ = plain.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return wrap

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


Base = Annotated[Text, _option("Prefix of relative names in lists.", INPUT)]
Limit = Annotated[
    Number, _option("Only the first N records of each input (of each, not of all).", INPUT)
]
PartSize = Annotated[
    Share, _option("MiB of input a part; default 64, or a sixteenth of all.", INPUT)
]
Unreadable = Annotated[
    Share, _option("Share of records that may end as unreadable_record; default 0.001.", INPUT)
]
RecipeName = Annotated[Text, _option("obelics, off, or a TOML file; default obelics.", RECIPE)]
Language = Annotated[Text, _option("ISO 639-1; default that of the recipe.", RECIPE)]
LidModel = Annotated[Text, _option("Language identifier of your own (lid.176.ftz).", RECIPE)]
StopWords = Annotated[Text, _option("Stop words of your own, a word a line.", RECIPE)]
FlaggedWords = Annotated[Text, _option("Flagged words of your own, a word a line.", RECIPE)]
CommonWords = Annotated[Text, _option("Common words of your own, a word a line.", RECIPE)]
SpamWords = Annotated[Text, _option("Spam words of your own, a word a line.", RECIPE)]
Contact = Annotated[
    Text,
    _option(
        "Your mail address or page, sent to every server that is asked for an image.", FETCHING
    ),
]
Fetch = Annotated[
    bool | None,
    Option(
        "--fetch/--no-fetch",
        help="Whether to ask for images that the crawl does not hold.",
        rich_help_panel=FETCHING,
    ),
]
Rates = Annotated[Text, _option("TOML file: requests a second by host.", FETCHING)]
OptOut = Annotated[Text, _option("File: domains and URLs to leave out.", FETCHING)]
OptOutService = Annotated[Text, _option("URL of a service to ask about URLs.", FETCHING)]
HostMap = Annotated[Text, _option("File: hosts that lie on loopback, for tests.", FETCHING)]
Ports = Annotated[Text, _option("Ports that may be asked; default 80,443.", FETCHING)]
Requests = Annotated[Number, _option("Requests at once, per worker; default 128.", FETCHING)]
FetchDeadline = Annotated[
    Share, _option("Seconds that fetching may take; the rest is deferred.", FETCHING)
]
HostImages = Annotated[Number, _option("Images of a host at most; the rest is deferred.", FETCHING)]
Partitions = Annotated[
    Number, _option("Groups that image URLs are split into; default 16.", FETCHING)
]
ImageFormat = Annotated[
    Text, _option("Store what is fetched as jpeg, png or webp; default as it came.", FETCHING)
]
LongestSide = Annotated[
    Number, _option("Longest side of fetched images, in pixels; default as it came.", FETCHING)
]
ImageQuality = Annotated[Number, _option("With --image-format: 1 to 100.", FETCHING)]
ShardSize = Annotated[Share, _option("MiB a shard; default 256.", OUTPUT)]
Heldout = Annotated[Share, _option("Share of documents held out; default 0.01.", OUTPUT)]
HeldoutBy = Annotated[Text, _option("id or domain; default id.", OUTPUT)]
StageOption = Annotated[Text, _option("Do only this stage.", RUNNING)]
Runner = Annotated[str, _option("Beam runner, by name.", RUNNING)]
Workers = Annotated[
    Number, _option("Local processes; default 1, or one per core from 128 MB of input on.", RUNNING)
]
Reasons = Annotated[
    list[str] | None, _option("Only URLs that ended with this reason; default all that may pass.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What `interloom run` takes, beside its inputs and its output."""

    base: Base = None
    limit: Limit = None
    part_size: PartSize = None
    unreadable: Unreadable = None
    recipe: RecipeName = None
    language: Language = None
    lid_model: LidModel = None
    stop_words: StopWords = None
    flagged_words: FlaggedWords = None
    common_words: CommonWords = None
    spam_words: SpamWords = None
    contact: Contact = None
    fetch: Fetch = None
    rates: Rates = None
    opt_out: OptOut = None
    opt_out_service: OptOutService = None
    host_map: HostMap = None
    ports: Ports = None
    requests: Requests = None
    fetch_deadline: FetchDeadline = None
    host_images: HostImages = None
    partitions: Partitions = None
    image_format: ImageFormat = None
    longest_side: LongestSide = None
    image_quality: ImageQuality = None
    shard_size: ShardSize = None
    heldout: Heldout = None
    heldout_by: HeldoutBy = None
    stage: StageOption = None
    runner: Runner = "FnApiRunner"
    workers: Workers = None

    @property
    def word_files(self) -> Mapping[str, str]:
        """The user's word lists that were given, by kind."""
        kinds = [name for name in self.__slots__ if name.endswith("_words")]
        return {kind: path for kind in kinds if (path := getattr(self, kind)) is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class RefetchOptions:
    """What `interloom refetch` takes, beside its run folder."""

    reason: Reasons = None
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

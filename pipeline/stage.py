"""Stage: one Beam job of a run, the unit of restart. What other modules know of a stage is here.

In:   the values in stages.py, beside their dataflows.
Out:  what is swept, watched, fingerprinted, accounted for, shown and compared.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.job import Job, Settings
from pipeline.store.store import NameForm

if TYPE_CHECKING:
    import apache_beam as beam


class Meter(Protocol):
    """What is counted of a stage."""

    unit: str
    about: str  # "about " before a total that is estimated

    @property
    def total(self) -> int: ...

    def look(self) -> tuple[int, str]:
        """How many are done, and what else there is to tell."""
        ...

    def end(self) -> int:
        """How many are done when the stage is whole."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """What it does, what it leaves, and what its bytes depend on."""

    name: str
    dataflow: Callable[[beam.Pipeline, Job], None]
    tables: Mapping[str, NameForm]  # by folder that it writes to, its files' names there
    last: Sequence[str]  # of these, where the file is that is written last of a part
    reads: str = ""  # the stage of whose parts each becomes one of this stage's
    sees: str = ""  # the stage whose kept documents, texts and images it has to account for
    keeps_parts: bool = False  # a killed run's parts, by the fingerprint in their last file
    keeps_all: bool = False  # its files are not swept; `tidy` removes those that are not used
    groups: bool = False  # a local runner holds what is grouped
    revision: int  # one more whenever the same input gives other bytes
    # the packages that shape its bytes, interloom aside. Word lists and the language identifier are
    # settings, by their digest; Beam only moves what others make (tests compare its runners). Those
    # of earlier stages count too: redoing one redoes this one.
    shaped_by: Sequence[str]
    settings: Callable[[Settings], dict[str, Any]]  # those that it reads; its manifest has them
    planned: Callable[[Job], int] | None = None  # about how many parts, where it cuts them itself
    meter: Callable[[Job], Meter] | None = None  # its progress, where it is not told by parts
    # removes leftovers; the parts are None at its start, and those it has when it is whole
    tidy: Callable[[Job, Sequence[str] | None], None] | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Of what shapes its bytes, as installed here; first its own revision."""
        return {
            self.name: str(self.revision),
            "interloom": version_of("interloom"),
            **{name: version_of(name) for name in self.shaped_by},
        }

    def changes(self, was: Settings, now: Settings) -> Iterator[str]:
        """In what its settings and versions differ between two starts, in words."""
        before, after = self.settings(was), self.settings(now)
        yield from (f"another {name}" for name in after if before.get(name) != after[name])
        before, after = dict(was.versions.get(self.name, {})), dict(now.versions[self.name])
        for name in dict.fromkeys((*after, *before)):
            old, new = before.get(name, "none"), after.get(name, "none")
            if old != new:
                yield f"{name} {new} in place of {old}"


@cache
def version_of(name: str) -> str:
    """Of Python only the tables of characters shape bytes: letters, capitals, white space."""
    return unicodedata.unidata_version if name == "unicode" else version(name)

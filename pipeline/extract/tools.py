"""Tools: what the process that reads parts loads once, and uses for every record."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from filters.signals import Lexicon
from pipeline.extract.document import Identify
from pipeline.job import Job
from pipeline.media.look import AheadLookers, look_ahead
from pipeline.words.language import Identifier, find_model
from pipeline.words.lexicon import load_lexicon


class Watcher(Protocol):
    """Is told which record is being read (reader.py)."""

    def over(self, offset: int, place: int) -> AbstractContextManager[None]: ...


@dataclass(kw_only=True)
class Tools:
    """Word lists, the language model, a decoding process."""

    job: Job
    watch: Watcher | None = None
    seconds: dict[str, float] = field(  # spent, for *.host.json alone
        default_factory=lambda: defaultdict(float)
    )

    def load(self) -> None:
        """Lists or a model that cannot be read are no fault of the record that needs them first."""
        _ = self.lexicon
        self.identify("any text")  # the model is read at its first use

    @property
    def decoder(self) -> AheadLookers:
        return look_ahead()

    @cached_property
    def lexicon(self) -> Lexicon:
        settings = self.job.settings
        return load_lexicon(settings.language, **settings.word_files)

    @cached_property
    def identify(self) -> Identify:
        return Identifier(find_model(self.job.settings.lid_model or None)).identify

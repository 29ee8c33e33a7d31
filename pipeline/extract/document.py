"""A page becomes a Document: its texts are measured, its language is identified.

In:   a Page, and where it came from; the word lists and the language identifier of a run (`Tools`).
Out:  a Document as it lies in documents/PART. extract and explain make theirs here, so that what
      a user is shown of a page is what a run makes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from filters.signals import Lexicon, measure
from pipeline.extract.page import Page
from pipeline.job import Job
from pipeline.media.look import AheadLookers, look_ahead
from pipeline.read.records import Record
from pipeline.words.language import Identifier, find_model
from pipeline.words.lexicon import load_lexicon
from pipeline.words.urls import registered_domain
from schemas.document import Document, Node, Role, TextNode, document_id

PROSE_WORDS: Final = 5  # of 115 English pages under .8 by all nodes, 58 pass by these
Identify = Callable[[str], tuple[str, float]]  # text -> language, score
Watch = Callable[[int, int], AbstractContextManager[None]]  # offset and place of a record


def document_of(
    page: Page, record: Record, *, source: str = "", lexicon: Lexicon, identify: Identify
) -> Document:
    """The document of a page in a record of an input, its source; its language is that of its
    prose, where it has any."""
    nodes = tuple(_measured(node, lexicon) for node in page.nodes)
    texts = [node for node in nodes if isinstance(node, TextNode)]
    language, score = identify("\n".join(node.text for node in _prose(texts) or texts))
    return Document(
        id=document_id(url=record.url, date=record.date, payload_sha256=record.payload_sha256),
        url=record.url,
        domain=registered_domain(record.url),
        date=record.date,
        input=source,
        offset=record.offset,
        length=record.length,
        title=page.title,
        language=language,
        language_score=score,
        charset=page.charset,
        extractor=page.extractor,
        signals=page.signals,
        nodes=nodes,
    )


def _prose(texts: list[TextNode]) -> list[TextNode]:
    """Running text. Labels, tables and code say little about a language, and lower its score."""
    return [
        node
        for node in texts
        if node.role not in {Role.CODE, Role.TABLE_ROW} and len(node.text.split()) >= PROSE_WORDS
    ]


def _measured(node: Node, lexicon: Lexicon) -> Node:
    if not isinstance(node, TextNode):
        return node
    counts = measure(node.text, lexicon)  # replace() would take as long
    return TextNode(text=node.text, role=node.role, caption_of=node.caption_of, counts=counts)


@dataclass(kw_only=True)
class Tools:
    """What the process that reads parts loads once: word lists, a language model, a decoder."""

    job: Job
    watch: Watch | None = None  # over the record that is being read (reader.py)
    seconds: dict[str, float] = field(  # spent, for *.host.json alone
        default_factory=lambda: defaultdict(float)
    )

    def load(self) -> None:
        """Load all now: lists or a model that cannot be read are no fault of the first record."""
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

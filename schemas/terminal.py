"""Terminal: text of others in, text that a terminal shows and does not obey out.

In:   names, paths, addresses, titles, messages: whatever a page, a tar, a model or a foreign folder
      may have put there.
Out:  the same, with an escape in place of each character that moves a cursor, sets a colour, a
      title or a clipboard, turns the direction of text, or ends a line. Other scripts, accents and
      emoji stay as they are.
Here, since the pipeline and the trainer print alike and have only schemas/ in common.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# C0, DEL and C1; marks of direction; separators of lines; halves of surrogate pairs
_OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: object) -> str:
    """In one line: a newline is escaped, too."""
    return _OBEYED.sub(_escape, str(text))


def printable_lines(text: object) -> str:
    """Line by line. Of JSON, whose texts hold no C0 character as such, it is the same JSON."""
    return "\n".join(map(printable, str(text).split("\n")))


def one_line(message: object) -> str:
    """A message that may be worded in several lines: they are joined by a space."""
    return printable(" ".join(line.strip() for line in str(message).splitlines()))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


class PlainConsole(Console):
    """Prints text as it is: what looks like markup or an emoji's name in it is none."""

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Whatever is printed, in a table and a bar too, passes here; rich's own controls stay."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


class PlainStream:
    """A stream of text of which nothing is obeyed, whoever writes to it: a library's log, too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(printable_lines(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

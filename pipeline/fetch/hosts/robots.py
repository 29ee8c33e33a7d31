"""Robots: what a site lets a crawler take. Its robots.txt and ai.txt in, yes or a Problem out.

RFC 9309: what answers 2xx is read (its first 500 KiB, 2.5); 4xx allows all (2.3.1.3); 5xx, no
answer, or anything else forbids all (2.3.1.4), and so does 429, which is a host in need of rest.
ai.txt (spawning.ai) has the same form, with patterns of files as its paths; it is read so too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from protego import Protego

from pipeline.fetching import AGENT
from pipeline.problem import Problem
from schemas.verdict import Reason

READ: Final = 500 << 10  # bytes of either file
FILES: Final = {"robots.txt": Reason.ROBOTS_TXT, "ai.txt": Reason.AI_TXT}
LONGEST_DELAY: Final = 60.0  # seconds; a longer one is taken for this
OTHER: Final = "other"
_AGENT_LINE: Final = re.compile(r"\s*user[- ]?agent\b[\s:]*([^\s#]*)", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[a-z_-]")  # characters of a product token
_BARE: Final = re.compile(rb"(?im)^([ \t]*(?:dis)?allow[ \t]*:[ \t]*)(?=[^/*\s#])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """One file of one site; `parsed` is None where it says nothing, `closed` where it failed."""

    reason: Reason
    parsed: Protego | None = None
    closed: Problem | None = None

    def refuse(self, url: str) -> Problem | None:
        if self.closed is not None:
            return self.closed
        if self.parsed is None or self.parsed.can_fetch(url, AGENT):
            return None
        return Problem(reason=self.reason)

    @property
    def delay(self) -> float | None:
        """Seconds between two requests, as far as the file asks for any."""
        delay = self.parsed.crawl_delay(AGENT) if self.parsed is not None else None
        return min(float(delay), LONGEST_DELAY) if delay else None


def closed(name: str, why: Problem) -> Rules:
    """Of a site whose file did not come: nothing may be asked for, for this reason."""
    return Rules(reason=FILES[name], closed=why)


def read_rules(name: str, *, status: int, body: bytes) -> Rules:
    """What robots.txt or ai.txt answered."""
    reason = FILES[name]
    if 400 <= status < 500 and status != 429:
        return Rules(reason=reason)
    if not 200 <= status < 300:
        return closed(name, Problem(reason=Reason.RULES_UNREACHABLE, value=status))
    if body[:512].removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        return Rules(reason=reason)  # a page that says "not found" with 200
    body = body[:READ]
    if name == "ai.txt":  # `*.jpg` and `images/` are paths anywhere
        body = _BARE.sub(rb"\1*", body)
    return Rules(reason=reason, parsed=Protego.parse(_of_two(body.decode("utf-8-sig", "replace"))))


def _of_two(text: str) -> str:
    """Its groups are for us, for all, or for one other: the parser gives a copy of every rule to
    each agent of its group, and a file of half agents and half rules would take hours (RFC 9309,
    2.2.1: a group is ours where its product token is).
    """
    named = ((line, _AGENT_LINE.match(line)) for line in text.splitlines())
    return "\n".join(line if found is None else _agent(found[1].lower()) for line, found in named)


def _agent(name: str) -> str:
    """The line of a group: ours, that of all, of nobody, or of somebody else."""
    ours = name.startswith(AGENT) and not _TOKEN.match(name[len(AGENT) :])
    return f"User-agent: {AGENT if ours else name if name in {'', '*'} else OTHER}"

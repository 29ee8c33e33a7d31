"""Request: one wanted URL, hop by hop, until there is a row to write or another partition's turn.

In:   an Errand: the wanted URL, and the one to ask now (another one behind a redirect).
Out:  Got (bytes to decode), Row of why there are none, or the Errand of another partition, since a
      registered domain is asked by its own partition alone.
Order: may this URL be asked at all (scheme, port, opt-out, robots.txt, ai.txt of its host), then
      what its answer asks for (noai, noimageai, tdm-reservation, as far as the recipe keeps them),
      then its bytes. Each hop anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from filters.rules import ConsentRule, refuse_asking
from pipeline.fetch.commits import Errand
from pipeline.fetch.hosts.host import Hosts, Reply
from pipeline.fetch.hosts.pace import Pace
from pipeline.fetch.hosts.permission import OptOuts
from pipeline.fetch.hosts.wire import Response
from pipeline.media.decode import sniff
from pipeline.problem import Problem
from pipeline.read.payload import Headers
from pipeline.words.consent import header_signals
from schemas.document import PageSignals
from schemas.tables import IMAGES
from schemas.verdict import ALLOWED, FORBIDDING, UNDECIDED, Reason

SNIFFED: Final = 64  # bytes that tell an image; fewer in the first piece tell nothing yet
NO_SIGNALS: Final = header_signals(())


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What became of an errand; `body` where there is something to decode."""

    errand: Errand
    problem: Problem | None = None
    decision: str = ALLOWED
    status: int | None = None  # HTTP
    signals: PageSignals = NO_SIGNALS
    body: bytes = field(default=b"", repr=False)
    response: Response | None = None  # whose body is held until it is released


@dataclass(kw_only=True)
class Requester:
    """Runs errands of one partition."""

    hosts: Hosts
    opt_outs: OptOuts
    consent: Sequence[ConsentRule]
    mine: Callable[[str], bool]  # whether a URL's domain is this partition's

    async def run(self, errand: Errand) -> Ending | Errand:
        """To its end, or to where it leaves this partition."""
        entered: set[Pace] = set()
        while True:
            if (ending := await self._refuse(errand)) is not None:
                return ending
            host = self.hosts.of(errand.at)
            if (full := host.let_in(entered)) is not None:
                return Ending(errand=errand, problem=full)
            wish = _Wish(self.consent)
            reply = await host.ask(errand.at, wish=wish, look=_look)
            if isinstance(reply, Problem) or reply.target is None:
                return _end(errand, reply, wish.signals)
            self.hosts.wire.release(reply)
            further = self._follow(errand, reply.target)
            if isinstance(further, Problem):
                return Ending(errand=errand, problem=further, status=reply.status)
            errand = further
            if not self.mine(errand.at):
                return errand

    async def _refuse(self, errand: Errand) -> Ending | None:
        """What may not even be asked for, and who forbids it."""
        url, decision = errand.at, UNDECIDED
        if (problem := self.hosts.wire.check(url)) is None:
            out = await self.opt_outs.opted_out(url)
            if out is None:
                problem = Problem(reason=Reason.DEFERRED)
            elif out:
                problem = Problem(reason=Reason.OPTED_OUT)
            else:
                problem = await self.hosts.of(url).refuse(url)
            if problem is None:
                return None
            if problem.reason in FORBIDDING:
                decision = problem.reason
            elif problem.reason is not Reason.DEFERRED:  # it could not be asked for its rules
                decision = Reason.RULES_UNREACHABLE
        return Ending(errand=errand, problem=problem, decision=decision)

    def _follow(self, errand: Errand, target: str) -> Errand | Problem:
        most = self.hosts.wire.fetching.redirects
        if errand.hops >= most:
            return Problem(reason=Reason.TOO_MANY_REDIRECTS, value=errand.hops + 1, limit=most)
        if not target:
            return Problem(reason=Reason.BAD_URL)
        return errand._replace(at=target, hops=errand.hops + 1)


@dataclass
class _Wish:
    """What a response asks for by its headers: refused where the recipe keeps to that."""

    consent: Sequence[ConsentRule]
    signals: PageSignals = NO_SIGNALS

    def __call__(self, headers: Headers) -> Problem | None:
        self.signals = header_signals(headers)
        refusal = refuse_asking(self.consent, self.signals)
        if refusal is None:
            return None
        return Problem(reason=refusal.reason, value=refusal.value, limit=refusal.limit)


def _look(first: bytes) -> Problem | None:
    """A page called an image need not be read to its end."""
    if len(first) < SNIFFED or sniff(first) is not None:
        return None
    return Problem(reason=Reason.NOT_AN_IMAGE)


def _end(errand: Errand, reply: Reply, signals: PageSignals) -> Ending:
    if isinstance(reply, Problem):
        return Ending(errand=errand, problem=reply, signals=signals)
    problem = None
    if reply.status != 200:
        problem = Problem(reason=Reason.HTTP_STATUS, value=reply.status, limit=200)
    elif not reply.body:
        problem = Problem(reason=Reason.EMPTY_PAYLOAD)
    return Ending(errand=errand, problem=problem, status=reply.status, signals=signals,
                  body=b"" if problem else reply.body, response=reply)  # fmt: skip


def row_of(ending: Ending, *, round_: int) -> dict[str, Any]:
    """A row of images/, without what is known of its pixels."""
    problem, now = ending.problem, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return dict.fromkeys(IMAGES.names) | {
        "url": ending.errand.url,
        "date": now,
        "status": str(problem.reason) if problem else None,
        "value": problem.value if problem else None,
        "limit": problem.limit if problem else None,
        "robots": list(ending.signals.robots),
        "tdm_reservation": ending.signals.tdm_reservation,
        "decision": ending.decision,
        "decided": now,
        "final_url": ending.errand.at,
        "http_status": ending.status,
        "attempt": round_,
    }

"""Opt-out: who is on the list or in the service is not asked, nor is who nobody can speak for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import pytest
from aiohttp import web

from pipeline.fetch.hosts.permission import (
    BATCH,
    KEY,
    TRIES,
    OptOuts,
    OptOutService,
    ask_spawning,
)
from pipeline.words.consent import OptOutList

LIST = """
# those who wrote to us
example.org
  Art.Example.   # a gallery
https://photos.example/by/ann
http://photos.example/by/bob/
"""


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/a.jpg",
        "http://example.org:8080/",
        "https://EXAMPLE.org/a.jpg",
        "https://www.deep.example.org/a.jpg",
        "https://art.example/a.jpg",
        "https://photos.example/by/ann/1.jpg",
        "https://photos.example/by/anna.jpg",
        "http://photos.example/by/bob/1.jpg",
    ],
)
def test_a_listed_domain_with_all_below_it_and_a_listed_beginning_are_out(url: str) -> None:
    assert url in OptOutList.parse(LIST)


@pytest.mark.parametrize(
    "url",
    [
        "https://notexample.org/a.jpg",
        "https://example.org.evil.test/a.jpg",
        "https://example.com/example.org/a.jpg",
        "https://example.com/?from=https://example.org/",
        "https://org/a.jpg",
        "https://gallery.example/a.jpg",
        "https://photos.example/by/carl.jpg",
        "https://photos.example/by/bob/1.jpg",
        "https://us/a.jpg",
    ],
)
def test_what_only_resembles_a_line_is_not_out(url: str) -> None:
    assert url not in OptOutList.parse(LIST)


def test_nothing_is_out_by_an_empty_list_or_one_of_comments() -> None:
    for text in ("", "\n\n", "# example.org\n  # https://example.org/\n"):
        assert OptOutList.parse(text) == OptOutList()
        assert "https://example.org/" not in OptOutList.parse(text)


@pytest.mark.parametrize(
    "line",
    [
        "example.org/photos",
        "example.org and others",
        "/by/ann",
        "p.test,",
        "p.test;q.test",
        "*",
        "https://",
        "http://*.p.test/",
    ],
)
def test_a_line_that_is_neither_domain_nor_url_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="write a domain, or a URL with https://") as told:
        OptOutList.parse(f"fine.example\n{line}\n")
    assert repr(line) in str(told.value)


@pytest.mark.parametrize(
    ("line", "url"),
    [
        ("b\u00fccher.example", "https://xn--bcher-kva.example/a.jpg"),
        ("*.example.org", "https://www.example.org/a.jpg"),
        (".example.org", "https://example.org/a.jpg"),
        ("https://example.org./by", "https://example.org/by/ann.jpg"),
        ("https://u@example.org/by", "https://example.org/by/ann.jpg"),
        ("example.org:443", "https://example.org/a.jpg"),
        ("https://Example.org/by", "https://example.org/by/ann.jpg"),
    ],
)
def test_a_line_in_another_spelling_counts_or_is_refused_but_never_ignored(
    line: str, url: str
) -> None:
    try:
        listed = OptOutList.parse(line)
    except ValueError:
        return
    assert url in listed


@dataclass(kw_only=True)
class Fake:
    """A service that fails a few times, and then says "out" where a URL says so itself."""

    failures: Sequence[Exception] = ()
    asked: list[list[str]] = field(default_factory=list)

    async def __call__(self, urls: Sequence[str]) -> Sequence[bool]:
        self.asked.append(list(urls))
        if len(self.asked) <= len(self.failures):
            raise self.failures[len(self.asked) - 1]
        return ["out" in url for url in urls]


def ask(service: Fake, urls: Sequence[str], listed: str = "") -> list[bool | None]:
    outs = OptOuts(listed=OptOutList.parse(listed), service=service, pause=0.001)
    return asyncio.run(answers(outs, urls))


async def answers(outs: OptOuts, urls: Sequence[str]) -> list[bool | None]:
    """As a partition does: asked ahead for all, and then for each."""
    await outs.ask_ahead(urls)
    return [await outs.opted_out(url) for url in urls]


@pytest.mark.parametrize(
    ("count", "batches"),
    [(0, []), (1, [1]), (1_000, [1_000]), (1_001, [1_000, 1]), (2_500, [1_000, 1_000, 500])],
)
def test_a_service_is_asked_for_a_thousand_at_most_and_each_gets_its_own_answer(
    count: int, batches: list[int]
) -> None:
    service = Fake()
    urls = [f"https://a.example/{'out' if n % 7 == 3 else 'in'}/{n}" for n in range(count)]
    assert ask(service, urls) == [n % 7 == 3 for n in range(count)]
    assert [len(batch) for batch in service.asked] == batches
    assert [url for batch in service.asked for url in batch] == urls
    assert BATCH == 1_000


def test_only_what_the_list_lets_through_is_asked_for() -> None:
    service = Fake()
    urls = ["https://a.example/in", "https://example.org/in", "https://b.example/out",
            "https://www.example.org/out", "https://c.example/in"]  # fmt: skip
    assert ask(service, urls, "example.org") == [False, True, True, True, False]
    assert service.asked == [[urls[0], urls[2], urls[4]]]


def test_one_that_was_not_asked_for_ahead_is_asked_for_by_itself_and_once() -> None:
    service = Fake()
    outs = OptOuts(service=service)

    async def run() -> None:
        await outs.ask_ahead(["https://a.example/in"])
        for _ in range(2):
            assert await outs.opted_out("https://b.example/out") is True
            assert await outs.opted_out("https://a.example/in") is False

    asyncio.run(run())
    assert service.asked == [["https://a.example/in"], ["https://b.example/out"]]


def test_a_service_is_not_asked_for_nothing() -> None:
    service = Fake()
    assert ask(service, ["https://example.org/1"], "example.org") == [True]
    assert service.asked == []


def test_without_a_service_the_list_alone_decides() -> None:
    outs = OptOuts(listed=OptOutList.parse("example.org"))
    urls = ["https://example.org/1", "https://a.example/1"]
    assert asyncio.run(answers(outs, urls)) == [True, False]


FAILURES = [aiohttp.ClientConnectionError(), OSError("gone"), TimeoutError()]


def test_a_service_that_fails_three_times_and_then_answers_has_answered() -> None:
    service = Fake(failures=FAILURES)
    assert ask(service, ["https://a.example/out", "https://a.example/in"]) == [True, False]
    assert len(service.asked) == len(FAILURES) + 1


def test_whom_a_silent_service_does_not_speak_for_nobody_knows() -> None:
    service = Fake(failures=[OSError("gone")] * 100)
    said = ask(service, ["https://a.example/in", "https://example.org/in"], "example.org")
    assert said == [None, True]
    assert len(service.asked) == TRIES


def test_one_batch_without_an_answer_takes_none_from_the_others() -> None:
    service = Fake(failures=[OSError("gone")] * TRIES)
    said = ask(service, [f"https://a.example/in/{n}" for n in range(BATCH + 2)])
    assert said == [None] * BATCH + [False] * 2


@asynccontextmanager
async def spawning(answer: Callable[[list[str]], object], status: int = 200) -> AsyncIterator[
    tuple[OptOutService, list[tuple[str, str, list[str]]]]
]:  # fmt: skip
    """The client, and what a server on loopback was sent: key, type, URLs."""
    seen: list[tuple[str, str, list[str]]] = []

    async def handle(request: web.Request) -> web.Response:
        urls = (await request.text()).split("\n")
        headers = request.headers
        seen.append((headers.get("Authorization", ""), headers["Content-Type"], urls))
        return web.json_response(answer(urls), status=status)

    app = web.Application()
    app.router.add_post("/opts", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as session:
            yield partial(ask_spawning, session, f"http://{host}:{port}/opts"), seen
    finally:
        await runner.cleanup()


def told(urls: list[str]) -> object:
    """As Spawning's service answers, in an order of its own."""
    return {"urls": [{"url": url, "optOut": "out" in url} for url in reversed(urls)]}


URLS = ["https://a.example/out", "https://a.example/in?x=1&y=2", "https://b.example/out%20"]


@pytest.mark.parametrize("key", ["", "secret"])
def test_spawnings_service_gets_lines_and_answers_for_each(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv(KEY, key)

    async def run() -> None:
        async with spawning(told) as (service, seen):
            assert await service(URLS) == [True, False, True]
            assert seen == [("API secret" if key else "", "text/plain", URLS)]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (told, 500),
        (told, 401),
        (lambda _: {"urls": []}, 200),
        (lambda urls: {"urls": [{"url": urls[0], "optOut": False}]}, 200),
        (lambda urls: {"urls": [{"url": url} for url in urls]}, 200),
        (lambda _: {"error": "busy"}, 200),
        (lambda _: [], 200),
        (lambda _: "no", 200),
        (lambda _: {"urls": None}, 200),
        (lambda urls: {"urls": urls}, 200),
    ],
)
def test_an_answer_that_does_not_speak_for_every_url_lets_nothing_pass(
    answer: Callable[[list[str]], object], status: int
) -> None:
    async def run() -> None:
        async with spawning(answer, status) as (service, seen):
            outs = OptOuts(service=service, pause=0.001)
            assert await answers(outs, URLS) == [None, None, None]
            assert len(seen) == TRIES

    asyncio.run(run())


def test_of_many_beginnings_each_finds_its_own() -> None:
    """Looked up by their lengths, so many of them cost little."""
    paths = ["/a", "/a/b", "/a-b", "/b/", "/b", "/c/d/e", "/c/d.jpg", "/z"]
    listed = OptOutList.parse("\n".join(f"https://x.example{path}" for path in paths))
    for tried in ("/a", "/a-", "/a/x", "/b", "/c", "/c/d", "/c/d/", "/c/d/e/f", "/c/d.jpg?x", "/y",
                  "/z/", "/"):  # fmt: skip
        url = f"https://x.example{tried}"
        assert (url in listed) == any(tried.startswith(path) for path in paths), tried


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org./a.jpg",
        "https://example.net./a/1.jpg",
        "https://u:p@example.net/a",
        "https://u@example.org/",
    ],
)
def test_a_dot_behind_a_name_or_a_user_before_it_does_not_get_past_the_list(url: str) -> None:
    assert url in OptOutList.parse("example.org\nhttps://example.net/a\n")

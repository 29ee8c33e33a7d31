"""Robots: what a site answers for robots.txt and ai.txt decides what is asked of it (RFC 9309)."""

from __future__ import annotations

import tracemalloc

import pytest

from pipeline.fetch.hosts.permission import LONGEST_DELAY, READ, Rules, read_rules
from pipeline.problem import Problem
from schemas.verdict import Reason

SITE = "https://site.example"
FORBIDDEN = Problem(reason=Reason.ROBOTS_TXT)


def robots(text: str | bytes, *, status: int = 200) -> Rules:
    body = text.encode() if isinstance(text, str) else text
    return read_rules("robots.txt", status=status, body=body)


def ai(text: str) -> Rules:
    return read_rules("ai.txt", status=200, body=text.encode())


def refused(rules: Rules, *paths: str) -> list[str]:
    return [path for path in paths if rules.refuse(SITE + path) is not None]


ALL = "User-agent: *\nDisallow: /\n"


@pytest.mark.parametrize("status", [200, 203, 206, 299])
def test_what_comes_with_2xx_is_obeyed(status: int) -> None:
    assert robots(ALL, status=status).refuse(SITE + "/a.jpg") == FORBIDDEN


@pytest.mark.parametrize("name", ["robots.txt", "ai.txt"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 499])
def test_a_site_without_the_file_is_open_whatever_its_error_page_says(
    name: str, status: int
) -> None:
    rules = read_rules(name, status=status, body=ALL.encode())
    assert rules.refuse(SITE + "/a.jpg") is None


@pytest.mark.parametrize("name", ["robots.txt", "ai.txt"])
@pytest.mark.parametrize("status", [100, 304, 302, 429, 500, 503, 599])
def test_a_site_that_does_not_say_what_it_allows_is_closed(name: str, status: int) -> None:
    rules = read_rules(name, status=status, body=b"")
    why = Problem(reason=Reason.RULES_UNREACHABLE, value=status)
    assert rules.refuse(SITE + "/a.jpg") == why
    assert rules.delay is None


def test_a_site_that_does_not_answer_is_closed_for_that_reason() -> None:
    silent = Problem(reason=Reason.TIMED_OUT)
    assert Rules(name="robots.txt", closed=silent).refuse(SITE + "/a.jpg") == silent


@pytest.mark.parametrize("start", ["<!doctype html>\n", " \r\n\t<html>\n", "\ufeff<p>\n"])
def test_a_page_in_place_of_the_file_forbids_nothing(start: str) -> None:
    """Told by its bytes: many a server calls a true robots.txt text/html."""
    assert robots(start + ALL).refuse(SITE + "/a.jpg") is None


def test_an_empty_file_forbids_nothing() -> None:
    assert robots("").refuse(SITE + "/a.jpg") is None


def test_500_kib_are_read_and_no_more() -> None:
    assert READ == 500 * 1024
    head, last, beyond = "User-agent: *\n", "Disallow: /last\n", "Disallow: /beyond\n"
    filler = "# " + "x" * 61 + "\n"
    room = READ - len(head) - len(last)
    text = head + filler * (room // len(filler)) + "#" * (room % len(filler) - 1) + "\n" + last
    assert len(text) == READ
    assert refused(robots(text + beyond), "/last", "/beyond") == ["/last"]


def test_the_group_that_names_us_counts_alone() -> None:
    text = "User-agent: *\nDisallow: /all\n\nUser-agent: Interloom\nDisallow: /ours\n"
    assert refused(robots(text), "/all", "/ours", "/free") == ["/ours"]


def test_groups_that_name_us_twice_are_one() -> None:
    text = "User-agent: interloom\nDisallow: /a\n\nUser-agent: INTERLOOM\nDisallow: /b\n"
    assert refused(robots(text), "/a", "/b", "/c") == ["/a", "/b"]


def test_a_group_of_somebody_else_is_none_of_our_business() -> None:
    text = "User-agent: otherbot\nDisallow: /\n"
    assert refused(robots(text), "/a") == []
    assert refused(robots("User-agent: otherbot\nUser-agent: interloom\nDisallow: /"), "/a")


def test_the_longest_rule_counts_and_of_equal_ones_the_one_that_allows() -> None:
    text = "User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nAllow: /x\nDisallow: /x\n"
    assert refused(robots(text), "/a/1", "/a/b/1", "/a/b/c/1", "/x") == ["/a/1", "/a/b/c/1"]


def test_a_star_stands_for_anything_and_a_dollar_for_the_end() -> None:
    text = "User-agent: *\nDisallow: /*.gif$\nDisallow: /img/*/large\nDisallow: /only$\n"
    shut = ["/a.gif", "/d/b.gif", "/img/7/large", "/img/7/8/large.png", "/only"]
    free = ["/a.gif?size=1", "/a.gift", "/img/large", "/only/this", "/only?x"]
    assert refused(robots(text), *shut, *free) == shut


def test_paths_are_compared_with_case_and_names_of_agents_without() -> None:
    text = "USER-AGENT: InterLoom\ndisallow: /Private\n"
    assert refused(robots(text), "/Private", "/private") == ["/Private"]


def test_a_path_is_the_same_however_it_is_escaped() -> None:
    text = "User-agent: *\nDisallow: /caf\u00e9\nDisallow: /a%3cd\n"
    assert refused(robots(text), "/caf%C3%A9", "/caf%c3%a9", "/a%3Cd") == [
        "/caf%C3%A9", "/caf%c3%a9", "/a%3Cd",
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_on_any_system(end: str) -> None:
    text = end.join(["User-agent: *  # us all", "", "Disallow: /shut # this", "Allow: /", ""])
    assert refused(robots(text), "/shut", "/free") == ["/shut"]


def test_a_mark_of_byte_order_hides_no_rule() -> None:
    assert robots(b"\xef\xbb\xbf" + ALL.encode()).refuse(SITE + "/a.jpg") == FORBIDDEN


def test_bytes_that_are_no_text_spoil_only_their_line() -> None:
    body = b"User-agent: *\nDisallow: /\xff\xfe\n\x00\x01\nDisallow: /shut\n"
    assert refused(robots(body), "/shut", "/free") == ["/shut"]


@pytest.mark.parametrize(
    ("told", "delay"),
    [
        ("0.5", 0.5),
        ("10", 10.0),
        ("60", LONGEST_DELAY),
        ("61", LONGEST_DELAY),
        ("1e9", LONGEST_DELAY),
        ("0", None),
        ("-3", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_a_crawl_delay_is_kept_up_to_its_bound(told: str, delay: float | None) -> None:
    assert robots(f"User-agent: *\nCrawl-delay: {told}\nDisallow: /x\n").delay == delay


def test_the_delay_is_that_of_our_group() -> None:
    text = "User-agent: *\nCrawl-delay: 9\n\nUser-agent: interloom\nCrawl-delay: 2\n"
    assert robots(text).delay == 2
    assert robots("User-agent: other\nCrawl-delay: 9\n").delay is None
    assert robots(text, status=404).delay is None


def test_ai_txt_names_kinds_of_files_and_folders_anywhere() -> None:
    rules = ai("User-Agent: *\nDisallow: *.jpg\nDisallow: images/\nDisallow: .png\nAllow: /\n")
    shut = ["/a.jpg", "/d/e/a.jpg", "/images/a.webp", "/d/images/a.webp", "/a.png"]
    free = ["/a.webp", "/image/a.webp", "/images"]
    assert refused(rules, *shut, *free) == shut
    assert rules.refuse(SITE + "/a.jpg") == Problem(reason=Reason.AI_TXT)


def test_ai_txt_may_allow_what_it_forbids_elsewhere() -> None:
    rules = ai("User-Agent: *\nDisallow: /\nAllow: open/\nallow : *.svg\n")
    assert refused(rules, "/a.jpg", "/d/open/a.jpg", "/a.svg") == ["/a.jpg"]


def test_ai_txt_has_paths_from_the_root_too_and_comments() -> None:
    text = "User-Agent: *\nDisallow: /art/ # images/\nDisallow: # nothing\nDisallow:\n"
    assert refused(ai(text), "/art/a", "/d/art/a", "/images/a") == ["/art/a"]


def test_a_bare_path_of_robots_txt_is_not_read_as_one_of_ai_txt() -> None:
    assert refused(robots("User-agent: *\nDisallow: images/\n"), "/d/images/a") == []


@pytest.mark.parametrize(
    ("name", "closed"),
    [("interloom", True), ("Interloom/0.1", True), ("INTERLOOM", True), ("*", True),
     ("interloomer", False), ("inter", False), ("other", False), ("", False)],
)  # fmt: skip
def test_a_group_is_ours_by_its_product_token(name: str, closed: bool) -> None:  # noqa: FBT001
    body = f"User-agent: {name}\nDisallow: /\n".encode()
    rules = read_rules("robots.txt", status=200, body=body)
    assert (rules.refuse("https://a.example/1.jpg") is not None) == closed


def test_a_file_of_half_agents_and_half_rules_costs_what_its_bytes_cost() -> None:
    """The parser alone would hold 400 million rules of it."""
    agents = b"".join(b"User-agent:%d\n" % number for number in range(20_000))
    rules = b"".join(b"Disallow:/%d\n" % number for number in range(20_000))
    body = agents + b"User-agent: *\n" + rules
    tracemalloc.start()
    try:
        read = read_rules("robots.txt", status=200, body=body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20
    assert read.refuse("https://a.example/19999") is not None
    assert read.refuse("https://a.example/a.jpg") is None

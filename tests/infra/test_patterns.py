"""Patterns: no regular expression of ours takes more than linear time, whatever it is run over.

Every pattern is found by itself: those that modules hold, and those that functions give to `re`.
Each is run over texts made of its own parts: one part over and over behind the beginning of a
match, and matches that almost end. Four times the text may take six times as long.
"""

from __future__ import annotations

import ast
import gc
import importlib
import math
import pkgutil
import re
import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Final

import pytest

PACKAGES: Final = ("filters", "pipeline", "schemas", "training")
Parsed = Any  # the standard library has no types for its parser
PARSER: Final[Any] = importlib.import_module("re._parser")
COMPILER: Final[Any] = importlib.import_module("re._compiler")
SIZES: Final = (64, 256, 1_024, 4_096, 16_384, 65_536)  # characters
GROWTH: Final = 6.0  # of the time, for four times the text
FAST: Final = 0.001  # seconds that tell at once that QUICK characters are no trouble
QUICK: Final = 8_192
FLOOR: Final = 0.005  # less is not told apart from chance
ENDLESS: Final = 5.0  # by the clock
CHARACTERS: Final = " \n\ta0A_-/<>\"'=,;.:#?&!|(){}[]%+~é中"
KINDS: Final = 3  # characters tried of a set

EVERYWHERE: Final = frozenset(("search", "finditer", "findall", "split", "sub", "subn"))
FUNCTIONS: Final = frozenset(
    f"re.{name}" for name in (*EVERYWHERE, "compile", "match", "fullmatch")
)

# what was slow, or would be
SLOW: Final = (
    rb"<meta\s[^>]{0,1000}?charset\s*=\s*[\"']?\s*([^\s\"'/>;]+)",
    r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)",
    r"(\w+)? +(\w+) +([\d,]+) +([\d,]+) +([\d,]+)( .*)?",
    r".*@",
    r"\s+$",
    r"(a+)+b",
    r"<!--.*?-->",
    r"(?:[a-z]+-?)+:",
    r"\d+\.?\d+x",
)


@dataclass(kw_only=True)
class Used:
    """A pattern, and the methods that are called of it."""

    pattern: re.Pattern[Any]
    methods: set[str] = field(default_factory=set)


def modules() -> Iterator[ModuleType]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not found.name.endswith(".__main__"):
                yield importlib.import_module(found.name)


def used_patterns() -> dict[str, Used]:
    """By module and variable. What is used in another way than by a method may be used by any."""
    found: dict[int, Used] = {}
    names: dict[str, Used] = {}
    for module in modules():
        tree = ast.parse(Path(str(module.__file__)).read_text("utf-8"))
        uses = uses_of_names(tree)
        for name, value in vars(module).items():
            for pattern in held([] if name.startswith("__") else [value]):
                used = found.setdefault(id(pattern), Used(pattern=pattern))
                used.methods |= uses.get(name, set()) if pattern is value else EVERYWHERE
                if used not in names.values():
                    names[f"{module.__name__} {name}"] = used
        for call in calls_in_functions(tree):
            given, where = call.args[0], f"{module.__name__}, line {call.lineno}"
            assert isinstance(given, ast.Constant), f"{where}: no test finds this pattern"
            names[where] = Used(pattern=re.compile(given.value), methods={"search"})
    return names


def held(values: Iterable[object]) -> Iterator[re.Pattern[Any]]:
    for value in values:
        if isinstance(value, re.Pattern):
            yield value
        elif isinstance(value, dict):
            yield from held(value.values())
        elif isinstance(value, list | tuple | frozenset):
            yield from held(value)


def uses_of_names(tree: ast.AST) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = defaultdict(set)
    called: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            uses[node.value.id].add(node.attr)
            called.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in called:
            uses[node.id] |= EVERYWHERE
    return uses


def calls_in_functions(tree: ast.Module) -> Iterator[ast.Call]:
    """What is given to `re` where no variable of a module holds it."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in FUNCTIONS:
                yield node


PATTERNS: Final = used_patterns()


def pieces(parsed: Parsed) -> Iterator[str]:
    """Texts that the parts of a pattern match, at any depth."""
    for node in parsed:
        yield from samples(node, parsed.state, least=False)
        for inner in inside(node):
            yield from pieces(inner)


def beginnings(parsed: Parsed, before: str, *, least: bool) -> Iterator[str]:
    """Beginnings of what a pattern matches, up to each of its parts; `least`: the shortest."""
    for node in parsed:
        yield before
        for inner in inside(node):
            yield from beginnings(inner, before, least=least)
        before += samples(node, parsed.state, least=least)[0]
    yield before


def inside(node: Parsed) -> list[Parsed]:
    name, value = str(node[0]), node[1]
    if name == "SUBPATTERN":
        return [value[3]]
    if name == "ATOMIC_GROUP":
        return [value]
    if name.endswith("_REPEAT"):
        return [value[2]]
    return list(value[1]) if name == "BRANCH" else []


def samples(node: Parsed, state: Parsed, *, least: bool) -> list[str]:
    """Texts that a part matches; "" for one that looks around only."""
    name, value = str(node[0]), node[1]
    if name == "LITERAL":
        return [chr(value)]
    if name in {"IN", "NOT_LITERAL", "ANY", "RANGE"}:
        one = COMPILER.compile(PARSER.SubPattern(state, [node]))
        text = isinstance(state.str, str)
        found = [c for c in CHARACTERS if one.fullmatch(c if text else c.encode()[:1])]
        return found[:KINDS] or [first_of(value)]
    if name.endswith("_REPEAT"):
        times = value[0] if least else max(1, value[0])
        return [one * times for one in joined(value[2], state, least=least)]
    return [one for inner in inside(node) for one in joined(inner, state, least=least)] or [""]


def first_of(value: Parsed) -> str:
    """A character of a set of rare ones."""
    kind, least = value[0] if isinstance(value, list) else ("", 0)
    return chr(least[0] if isinstance(least, tuple) else least) if str(kind) != "NEGATE" else "x"


def joined(parsed: Parsed, state: Parsed, *, least: bool) -> list[str]:
    parts = [samples(node, state, least=least) for node in parsed]
    if len(parts) == 1:
        return parts[0]
    return ["".join(part[0] for part in parts)]


def worst_cases(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], str | bytes]]:
    """Texts that a pattern may be slow at, each of any length."""
    parsed = PARSER.parse(pattern.pattern, pattern.flags)
    starts = {s for least in (False, True) for s in beginnings(parsed, "", least=least)}
    for piece in sorted({*pieces(parsed), *starts} - {""}):
        for start, end in product(sorted(starts), ("", "\0")):
            yield partial(repeated, start, piece, end, text=isinstance(pattern.pattern, str))


def repeated(start: str, piece: str, end: str, size: int, *, text: bool) -> str | bytes:
    whole = start + piece * (size // len(piece) + 1) + end
    return whole if text else whole.encode()


def seconds(used: Used, text: str | bytes) -> float:
    """To find it at every place, where it is searched for, and to match the whole."""
    pattern = used.pattern
    signal.setitimer(signal.ITIMER_REAL, ENDLESS)
    started = time.process_time()
    try:
        if used.methods & EVERYWHERE:
            deque(pattern.finditer(text), maxlen=0)
        pattern.match(text)
        pattern.fullmatch(text)
    except TimeoutError:
        return math.inf
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return time.process_time() - started


def growth(used: Used, text_of: Callable[[int], str | bytes]) -> float:
    """How much longer four times the text takes, where that can be told first."""
    before = 0.0
    for size in SIZES:
        text = text_of(size)
        took = min(seconds(used, text) for _ in range(3))
        if took > FLOOR:
            return took / before if before else math.inf
        before = took
    return 0.0


def slow_text(used: Used) -> str | bytes | None:
    """A text whose time grows faster than its length, None where none is known."""
    for text_of in worst_cases(used.pattern):
        took = seconds(used, text_of(QUICK))
        if took == math.inf or (
            took > FAST and all(growth(used, text_of) > GROWTH for _ in range(3))
        ):
            return text_of(100)
    return None


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    gc.disable()  # what other tests have left is no part of the time
    yield
    gc.enable()
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("used", PATTERNS.values(), ids=PATTERNS)
def test_no_pattern_takes_time_with_the_square_of_its_text(used: Used) -> None:
    slow = slow_text(used)
    assert slow is None, f"{used.pattern.pattern!r} is slow at {slow!r}"


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_that_does_is_found(pattern: str | bytes) -> None:
    assert slow_text(Used(pattern=re.compile(pattern, re.IGNORECASE), methods={"search"}))


def test_the_patterns_of_all_packages_are_found() -> None:
    names = " ".join(PATTERNS)
    for module in (
        "filters.signals",
        "pipeline.extract.html.charset",
        "training.data.counts",
    ):
        assert module in names
    assert len(PATTERNS) >= 60

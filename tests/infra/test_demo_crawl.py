"""The demo's crawl: a folder becomes a WARC that any reader reads, the same bytes each time."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from infra.demo import __main__ as demo
from infra.demo import packages
from infra.demo.folder_to_warc import Site, media_type, write_warc

PAGE = b"<!doctype html><title>t</title><p>words</p><img src='pictures/a b.png'>"
NOON = 1_700_000_000


def put(folder: Path, name: str, data: bytes = PAGE) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (NOON, NOON))
    return path


def site_of(folder: Path) -> Site:
    return Site(folder=folder, base="https://docs.example/manual/", origin="manual 1.0")


def responses(path: Path) -> dict[str, tuple[str, bytes, str]]:
    """URL -> media type, body, date; through warcio, which checks what it reads."""
    found = {}
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, check_digests="raise"):
            if record.rec_type == "response":
                url = record.rec_headers.get_header("WARC-Target-URI")
                kind = record.http_headers.get_header("Content-Type")
                date = record.rec_headers.get_header("WARC-Date")
                found[url] = (kind, record.content_stream().read(), date)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path / "site", "index.html")
    put(tmp_path / "site", "pictures/a b.png", b"\x89PNG picture")
    put(tmp_path / "site", "style.css", b"p {}")
    return tmp_path / "site"


def test_a_file_is_one_response_at_its_url_with_its_type_and_its_own_date(
    folder: Path, tmp_path: Path
) -> None:
    put(folder, "align+(1),a=b@c.png", b"\x89PNG another")  # as browsers ask for it
    written = write_warc(site_of(folder), tmp_path / "out.warc.gz")
    date = "2023-11-14T22:13:20Z"
    assert responses(tmp_path / "out.warc.gz") == {
        "https://docs.example/manual/align+(1),a=b@c.png": ("image/png", b"\x89PNG another", date),
        "https://docs.example/manual/index.html": ("text/html", PAGE, date),
        "https://docs.example/manual/pictures/a%20b.png": ("image/png", b"\x89PNG picture", date),
        "https://docs.example/manual/style.css": ("text/css", b"p {}", date),
    }
    assert (written.pages, written.others, written.left_out) == (1, 3, 0)


def test_records_are_those_of_a_crawler_each_with_an_id_of_its_own(
    folder: Path, tmp_path: Path
) -> None:
    write_warc(site_of(folder), tmp_path / "out.warc.gz")
    with (tmp_path / "out.warc.gz").open("rb") as stream:
        records = [record.rec_headers for record in ArchiveIterator(stream)]
    kinds = Counter(headers.get_header("WARC-Type") for headers in records)
    assert kinds == {"warcinfo": 1, "response": 3, "request": 3}
    assert len({headers.get_header("WARC-Record-ID") for headers in records}) == 7


def test_the_same_folder_elsewhere_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)  # copies dates too
    write_warc(site_of(folder), tmp_path / "one" / "out.warc.gz")
    write_warc(site_of(elsewhere), tmp_path / "two" / "out.warc.gz")
    first = (tmp_path / "one/out.warc.gz").read_bytes()
    assert first == (tmp_path / "two/out.warc.gz").read_bytes()
    os.utime(elsewhere / "style.css", (NOON + 1, NOON + 1))
    write_warc(site_of(elsewhere), tmp_path / "two" / "out.warc.gz")
    assert first != (tmp_path / "two/out.warc.gz").read_bytes()


def test_a_second_call_leaves_an_unchanged_warc_untouched(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.warc.gz"
    write_warc(site_of(folder), out)
    os.utime(out, (1, 1))
    write_warc(site_of(folder), out)
    assert out.stat().st_mtime == 1
    put(folder, "more.html")
    write_warc(site_of(folder), out)
    assert out.stat().st_mtime != 1
    assert list(tmp_path.glob("*.part")) == []


def test_hidden_files_and_links_that_lead_out_are_counted_and_left_out(
    folder: Path, tmp_path: Path
) -> None:
    put(folder, ".git/config")
    put(folder, ".htaccess")
    put(tmp_path, "secret.html")
    (folder / "leak.html").symlink_to(tmp_path / "secret.html")
    (folder / "dangling.html").symlink_to(folder / "nowhere.html")
    (folder / "again.html").symlink_to(folder / "index.html")  # stays inside
    written = write_warc(site_of(folder), tmp_path / "out.warc.gz")
    assert (written.pages, written.others, written.left_out) == (2, 2, 4)


def test_a_folder_without_a_page_is_refused_with_what_it_has(tmp_path: Path) -> None:
    put(tmp_path / "site", "a.png")
    with pytest.raises(ValueError, match=r"has 1 files, but none ends in \.htm, \.html"):
        write_warc(site_of(tmp_path / "site"), tmp_path / "out.warc.gz")
    assert not (tmp_path / "out.warc.gz").exists()


def test_what_is_no_folder_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder: SITE= takes a folder"):
        site_of(tmp_path / "absent")
    assert demo.main([str(tmp_path / "cache"), "--site", str(tmp_path / "absent")]) == 2


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: not name.startswith("."))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(names=st.sets(NAMES, max_size=6))
def test_every_file_name_gives_one_ascii_url_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, names: set[str]
) -> None:
    at = tmp_path_factory.mktemp("names")
    put(at / "site", "index.html")
    for name in names - {"index.html"}:
        put(at / "site", name, name.encode())
    write_warc(site_of(at / "site"), at / "out.warc.gz")
    found = responses(at / "out.warc.gz")
    assert len(found) == len(names | {"index.html"})
    assert all(url.isascii() and " " not in url for url in found)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html"),
        ("A.HTML", "text/html"),
        ("a.jpg", "image/jpeg"),
        ("a.webp", "image/webp"),
        ("a.svg", "image/svg+xml"),
        ("a.js", "text/javascript"),
        ("a.woff2", "font/woff2"),
        ("LICENSE", "application/octet-stream"),
    ],
)
def test_the_type_is_told_by_the_ending_alike_on_every_system(name: str, kind: str) -> None:
    assert media_type(Path(name)) == kind


def test_without_apt_the_wheel_is_tried_and_without_both_each_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # neither apt-get nor dpkg-deb
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert demo.main([str(tmp_path / "cache")]) == 2
    said = capfd.readouterr().err
    assert "no apt-get here, so no Debian package; pip download pygame==2.6.1 ended with 1" in said
    assert "make demo SITE=FOLDER_OF_HTML or make demo WARC=PATH_OR_URL" in said


def test_a_fetched_wheel_is_served_from_the_cache_with_its_own_dates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wheel").mkdir()
    with zipfile.ZipFile(tmp_path / "wheel/pygame-2.6.1-any.whl", "w") as archive:
        for name in ("pygame/docs/generated/ref/draw.html", "pygame/draw.so", "pygame/docs/a.html"):
            archive.writestr(zipfile.ZipInfo(name, (2024, 9, 29, 11, 12, 34)), PAGE)
    monkeypatch.setattr(packages, "debian_manual", _none_here)
    assert demo.main([str(tmp_path)]) == 0
    out = Path(capsys.readouterr().out.strip())
    assert out == tmp_path / "pygame_2.6.1.warc.gz"
    url = "https://www.pygame.org/docs/ref/draw.html"
    assert responses(out) == {url: ("text/html", PAGE, "2024-09-29T11:12:34Z")}


def _none_here(cache: Path) -> Site:
    raise packages.UnavailableError("not in this test")


@pytest.mark.parametrize("release", ["2.10.34-2", "3.0.2+ds-1"])
def test_a_debian_package_is_unpacked_as_any_user_and_its_series_is_in_the_url(
    tmp_path: Path, release: str
) -> None:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb here: only Debian has it")
    at = tmp_path / "cache" / "debian"
    at.mkdir(parents=True)
    built = tmp_path / "build"
    put(built / packages.MANUAL_ROOT, "en/index.html")
    about = f"Package: {packages.MANUAL}\nVersion: {release}\nArchitecture: all\n"
    put(built, "DEBIAN/control", (about + "Maintainer: a <a@b.c>\nDescription: d\n").encode())
    deb = at / f"{packages.MANUAL}_{release}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(built), str(deb)],
        check=True,
        capture_output=True,
    )
    site = packages.debian_manual(tmp_path / "cache")
    assert site.base == f"https://docs.gimp.org/{'.'.join(release.split('.')[:2])}/"
    assert site.origin == f"gimp-help-en {release}"
    write_warc(site, tmp_path / "out.warc.gz")
    found = responses(tmp_path / "out.warc.gz")
    assert found == {site.base + "en/index.html": ("text/html", PAGE, "2023-11-14T22:13:20Z")}

"""A crawl of pages only, its images fetched, gives the documents and images of the full crawl."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from pipeline.store import parquet
from pipeline.verify import verify
from tests.crawl import responses, write_crawl, write_responses
from tests.fetch.nginx import NGINX, nginx
from tests.fetch.stage import CONTACT
from tests.fetch.world import World, world
from tests.pipeline.bad_crawls import command
from tests.pipeline.runs import SMALL, counts, rows
from tests.verify.damage import flip_byte, rewrite

PAGES: Final = 16
FETCHING: Final = [option for option in SMALL if option != "--no-fetch"]
FAST: Final = "requests = inf\nconnections = 8\ndomain_requests = inf\n"


def samples(run: Path) -> dict[str, list[Any]]:
    """By URL of the page: what a sample tells of itself, and the bytes of its images."""
    found: dict[str, list[Any]] = {}
    for path in sorted((run / "shards").glob("*.tar")):
        with tarfile.open(path) as tar:
            held = {member.name: tar.extractfile(member) for member in tar}
            read = {name: file.read() for name, file in held.items() if file is not None}
        for name, data in read.items():
            if name.endswith(".json"):
                told = json.loads(data)
                key = name.removesuffix(".json")
                images = [read[other] for other in sorted(read) if other.startswith(f"{key}.0")]
                found[told["url"]] = [told["id"], told["date"], told["nodes"], images]
    return found


def images() -> dict[str, bytes]:
    return {one.url: one.body for one in responses(1, PAGES)
            if one.media.startswith("image/") and one.status.startswith("200")}  # fmt: skip


def plan_of(files: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    plan: dict[str, dict[str, Any]] = {}
    for url, body in files.items():
        place = urlsplit(url)
        plan.setdefault(place.netloc, {})[place.path] = {
            "base64": base64.b64encode(body).decode(),
            "headers": {"Content-Type": "image/jpeg"},
        }
    return plan


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full")
    crawl = write_crawl(folder / "crawl", pages=PAGES, warcs=1)
    ended = command("run", *crawl, "-o", folder / "run", *SMALL, "--workers=1")
    assert ended.code == 0, ended.err
    return folder / "run"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The crawl without its images."""
    found = [one for one in responses(1, PAGES) if not one.media.startswith("image/")]
    return write_responses(tmp_path_factory.mktemp("pages"), found, name="crawl-1", warcs=1)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    files = images()
    names = sorted({urlsplit(url).netloc for url in files})
    patch = pytest.MonkeyPatch()
    with world(plan_of(files), tmp_path_factory.mktemp("served"), secure=names) as served:
        for name, value in served.trust.items():
            patch.setenv(name, value)
        yield served
    patch.undo()


def options(servers: World) -> list[str]:
    (servers.folder / "map.txt").write_text(f"* 127.0.0.1:{servers.secure}\n")
    (servers.folder / "rates.toml").write_text(FAST)
    return [f"--contact={CONTACT}", f"--host-map={servers.folder / 'map.txt'}",
            f"--rates={servers.folder / 'rates.toml'}", "--workers=1"]  # fmt: skip


@pytest.fixture(scope="module")
def fetched(pages: list[Path], servers: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("fetched") / "run"
    ended = command("run", *pages, "-o", output, *FETCHING, *options(servers))
    assert ended.code == 0, ended.out[-2000:] + ended.err
    assert "bytes an image fetched" in ended.out
    return output


def test_pages_alone_give_what_the_full_crawl_gives(full: Path, fetched: Path) -> None:
    assert len(samples(full)) > PAGES // 2
    assert samples(fetched) == samples(full)
    told = counts(fetched, "fetch")
    assert told["wanted.kept"] > PAGES
    assert told["wanted.seen"] == told["wanted.kept"] + sum(
        count for name, count in told.items() if name.startswith("wanted.dropped.")
    )
    checked = verify(str(fetched))
    assert checked.ok, [(check.stage, check.kind, check.note) for check in checked.failed]


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
def test_the_same_comes_of_what_nginx_serves(
    full: Path, pages: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, dict[str, bytes]] = {}
    for url, body in images().items():
        place = urlsplit(url)
        files.setdefault(place.netloc, {})[place.path] = body
    output = tmp_path / "run"
    with nginx(files, tmp_path, secure=sorted(files)) as served:
        monkeypatch.setenv("SSL_CERT_FILE", served.trust["SSL_CERT_FILE"])
        assert command("run", *pages, "-o", output, *FETCHING, *options(served)).code == 0
    asked = {one["path"] for one in served.asked}
    assert asked >= {urlsplit(row["url"]).path for row in rows(output, "images")}
    assert samples(output) == samples(full)


def test_what_a_run_without_images_is_told_to_do_fetches_them(
    full: Path, pages: list[Path], servers: World, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    ended = command("run", *pages, "-o", output, *SMALL, "--workers=1")
    assert ended.code == 3
    assert f"interloom run -o {output} --contact you@example.org fetches them" in ended.out
    assert command("run", "-o", output, *options(servers)).code == 0
    assert samples(output) == samples(full)


def test_a_rerun_with_another_recipe_asks_no_server_again(
    fetched: Path, servers: World, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(fetched, tmp_path / "run"))
    before, asked = rows(run, "images"), len(servers.asked)
    assert command("run", "-o", run, "--recipe=off", "--workers=1").code == 0
    known = {row["url"] for row in before}
    again = [f"https://{one['host']}{one['path']}" for one in servers.asked[asked:]]
    assert not known & set(again)
    assert known <= {row["url"] for row in rows(run, "images")}
    assert command("run", "-o", run, "--recipe=obelics", "--workers=1").code == 0
    assert samples(run) == samples(fetched)
    assert verify(str(run)).ok


def test_what_failed_is_asked_for_again_by_a_refetch_and_nothing_else(
    full: Path, pages: list[Path], servers: World, tmp_path: Path
) -> None:
    files = images()
    plan = plan_of(files)
    broken = sorted(files)[::3]
    for url in broken:
        place = urlsplit(url)
        plan[place.netloc][place.path] = {"status": 404}
    closed = urlsplit(sorted(files)[1]).netloc
    plan[closed]["/robots.txt"] = {"status": 503}
    (tmp_path / "half").mkdir()
    output = tmp_path / "run"
    with (
        world(plan, tmp_path / "half", secure=sorted(plan)) as half,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SSL_CERT_FILE", half.trust["SSL_CERT_FILE"])
        assert command("run", *pages, "-o", output, *FETCHING, *options(half)).code == 0
    found = {row["url"]: row["status"] for row in rows(output, "images")}
    failed = {url for url, status in found.items() if status != "ok"}
    assert {found[url] for url in failed} == {"http_status", "rules_unreachable"}
    assert verify(str(output)).ok
    assert samples(output) != samples(full)
    ended = command("refetch", output, "--reason=timed_out", "--workers=1")
    assert ended.code == 0, ended.err
    run_json = json.loads((output / "run.json").read_text())
    run_json["settings"]["fetching"]["host_map"] = f"* 127.0.0.1:{servers.secure}\n"
    asked = len(servers.asked)
    (output / "run.json").write_text(json.dumps(run_json, indent=1, ensure_ascii=False) + "\n")
    ended = command("refetch", output, "--workers=1")
    assert ended.code == 0, ended.err
    assert "round 3 of fetching" in ended.out
    paths = {one["path"] for one in servers.asked[asked:]} - {"/robots.txt", "/ai.txt"}
    assert paths == {urlsplit(url).path for url in failed}
    assert samples(output) == samples(full)
    assert verify(str(output)).ok
    refused = command("refetch", output, "--reason=no_image")
    assert refused.code == 2
    assert "reason is 'no_image': choose of" in refused.err


def test_images_of_img2dataset_are_taken_in_place_of_asking(
    full: Path, pages: list[Path], tmp_path: Path
) -> None:
    tar = tmp_path / "00000.tar"
    with tarfile.open(tar, "w") as out:
        for number, (url, body) in enumerate(images().items()):
            told = json.dumps({"url": url, "status": "success"}).encode()
            for ending, data in (("jpg", body), ("json", told)):
                member = tarfile.TarInfo(f"{number:09d}.{ending}")
                member.size = len(data)
                out.addfile(member, io.BytesIO(data))
    output = tmp_path / "run"
    started = command("run", *pages, "-o", output, *SMALL, "--stage=extract", "--workers=1")
    assert started.code == 0, started.err
    early = command("import-images", output, tar)
    assert early.code == 2
    assert "--stage filter_text first" in early.err
    assert command("run", "-o", output, "--stage=filter_text", "--workers=1").code == 0
    nothing = tmp_path / "00001.tar"  # as img2dataset leaves it where no image came
    tarfile.open(nothing, "w").close()
    ended = command("import-images", output, nothing, tar)
    assert ended.code == 0, ended.err
    assert "1  tars without an image" in ended.out
    assert command("import-images", output, tar).code == 0  # twice is once
    assert command("run", "-o", output, "--workers=1").code == 0
    assert samples(output) == samples(full)
    assert {row["decision"] for row in rows(output, "images")} == {"imported"}
    assert verify(str(output)).ok
    wrong = command("import-images", output, pages[0])
    assert wrong.code == 2


def test_what_an_import_cannot_take_is_counted_and_who_opted_out_is_not_taken(
    pages: list[Path], tmp_path: Path
) -> None:
    (url, body), (out, _), *_ = images().items()
    told = [b"[1]", b"[" * 100_000, b"{", json.dumps({"url": 7}).encode(), b"{}",
            json.dumps({"url": "https://nobody.example/1.jpg"}).encode(),
            json.dumps({"url": url}).encode(), json.dumps({"url": out}).encode()]  # fmt: skip
    tar = tmp_path / "00000.tar"
    with tarfile.open(tar, "w") as held:
        for number, text in enumerate(told):
            for ending, data in (("json", text), ("jpg", body)):
                member = tarfile.TarInfo(f"{number:09d}.{ending}")
                member.size = len(data)
                held.addfile(member, io.BytesIO(data))
    output, listed = tmp_path / "run", tmp_path / "list.txt"
    listed.write_text(f"{out}\n")
    for stage in ("extract", "filter_text"):
        inputs = pages if stage == "extract" else []
        ended = command("run", *inputs, "-o", output, *SMALL, f"--opt-out={listed}",
                        f"--stage={stage}", "--workers=1")  # fmt: skip
        assert ended.code == 0, ended.err
    ended = command("import-images", output, tar)
    assert ended.code == 0, ended.err
    assert "5  without a URL beside it" in ended.out
    assert "1  not wanted" in ended.out
    assert command("run", "-o", output, "--workers=1").code == 0
    found = {row["url"]: (row["status"], row["decision"]) for row in rows(output, "images")
             if row["attempt"]}  # fmt: skip
    assert found == {url: ("ok", "imported"), out: ("opted_out", "opted_out")}
    assert verify(str(output)).ok


def test_a_list_given_later_binds_pages_and_images_wherever_they_came_from(
    full: Path, fetched: Path, servers: World, tmp_path: Path
) -> None:
    """Of the run, of the crawl, of what was brought; and taken back, all is as it was."""
    first, second = sorted({urlsplit(url).netloc for url in images()})[:2]
    a_page = next(url for url in samples(full) if urlsplit(url).netloc not in {first, second})
    listed, none = tmp_path / "list.txt", tmp_path / "none.txt"
    shown = [image["url"] for row in rows(full, "kept") for image in row["images"]]
    an_image = [url for url in shown if urlsplit(url).netloc not in {first, second}][-1]
    lines = [f"{first}  # who wrote to us", f"https://{second}/", a_page, an_image]
    listed.write_text("\n".join(lines))
    none.write_text("# nobody\n")
    for name, run in (("brought", fetched), ("crawled", full)):
        output = Path(shutil.copytree(run, tmp_path / name))
        asked = len(servers.asked)
        ended = command("run", "-o", output, f"--opt-out={listed}", "--workers=1")
        assert ended.code == 0, ended.err
        assert "another opt_out: filter_text and all after it start again" in ended.out
        assert len(servers.asked) == asked
        left = samples(output)
        assert left
        assert not [url for url in left if urlsplit(url).netloc in {first, second}]
        assert a_page not in left
        kept = [image["url"] for row in rows(output, "kept") for image in row["images"]]
        assert kept
        assert an_image not in kept
        assert not [url for url in kept if urlsplit(url).netloc in {first, second}]
        assert counts(output, "filter_text")["documents.dropped.opted_out"] > 0
        assert counts(output, "filter_images")["images.dropped.opted_out"] > 0
        assert verify(str(output)).ok
        (kept_list,) = output.glob("opt-out-*.txt")
        kept_list.write_text("other.example\n")
        assert not verify(str(output), inputs=False).ok
        assert command("run", "-o", output, f"--opt-out={none}", "--workers=1").code == 0
        assert samples(output) == samples(run)
        assert list(output.glob("opt-out-*.txt")) == []
        assert verify(str(output)).ok


def test_what_verify_advises_brings_the_crawl_s_images_back(full: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(full, tmp_path / "run"))
    pack = sorted((run / "packs").glob("0*.tar"))[0]
    with tarfile.open(pack) as tar:
        flip_byte(pack, tar.getnames()[0], at=500)
    refused = command("run", "-o", run, "--shard-size=0.25", "--workers=1")
    assert refused.code == 1
    assert "interloom verify names what to remove" in refused.err
    follow(run, command("verify", run).out)
    assert command("run", "-o", run, "--shard-size=0.125", "--workers=1").code == 0
    assert samples(run) == samples(full)
    assert verify(str(run)).ok


def test_what_verify_advises_asks_for_what_is_damaged_and_for_no_more(
    fetched: Path, servers: World, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(fetched, tmp_path / "run"))
    pack = sorted((run / "packs").glob("fetch-*"))[0]
    with tarfile.open(pack) as tar:
        lost = len(tar.getnames())
        flip_byte(pack, tar.getnames()[0], at=500)
    told = command("verify", run).out
    assert pack.name in told
    pack.unlink()
    follow(run, told)
    asked = len(servers.asked)
    assert command("run", "-o", run, "--workers=1").code == 0
    again = [one["path"] for one in servers.asked[asked:]]
    assert lost <= len([path for path in again if not path.endswith(".txt")]) <= lost + 2
    assert samples(run) == samples(fetched)
    assert verify(str(run)).ok


def follow(run: Path, told: str) -> None:
    """Remove what the remedy of verify names."""
    (names,) = re.findall(r"remove (.*?), give the command", " ".join(told.split()))
    for name in names.split(", "):
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.parametrize("damage", ["row", "byte", "pack", "stray", "decision"])
def test_damage_to_what_was_fetched_names_fetch(damage: str, fetched: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(fetched, tmp_path / "run"))
    part = next(path for path in sorted((run / "images").glob("fetch-*"))
                if any(row["pack"] for row in rows_of(path)))  # fmt: skip
    pack = sorted((run / "packs").glob("fetch-*"))[0]
    match damage:
        case "row":
            rewrite(part, lambda rows: rows.pop(0))
        case "byte":
            with tarfile.open(pack) as tar:
                flip_byte(pack, tar.getnames()[0], at=500)
        case "pack":
            pack.unlink()
        case "stray":
            shutil.copyfile(pack, run / "packs" / "fetch-00000-1-00000000-9-0.tar")
        case "decision":
            rewrite(part, lambda rows: rows[0].update(decision="robots_txt"))
    assert verify(str(run), inputs=False).stages == ("fetch",)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(parquet.read_rows(str(path)))

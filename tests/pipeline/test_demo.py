"""The demo's crawls, whole: the funnel to the unit, by the version of the package it came from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from infra.demo.folder_to_warc import Site, write_warc
from infra.demo.packages import debian_manual, wheel_documentation
from pipeline.account.funnel import as_text, funnel_of
from pipeline.stages import NAMES
from pipeline.verify import verify
from schemas.manifest import Ledger
from tests.pipeline.runs import ROOT, counts, interloom

GOLDEN = Path(__file__).parent / "golden"
SOURCES = {"gimp": debian_manual, "pygame": wheel_documentation}


@pytest.mark.parametrize("name", SOURCES)
def test_the_funnel_of_a_packaged_site_is_known_to_the_unit(name: str, tmp_path: Path) -> None:
    site = packaged(name)
    crawl = tmp_path / "crawl.warc.gz"
    write_warc(site, crawl)
    output = tmp_path / "run"
    interloom("run", crawl, "-o", output, "--workers=1", "--no-fetch")
    found = {stage: counts(output, stage) for stage in NAMES}
    checked = verify(str(output))
    assert checked.ok, checked.failed
    golden = GOLDEN / f"{slug(site)}.json"
    if not golden.exists():
        pytest.skip(f"nothing is pinned for {site.origin}, which gave {found}")
    assert found == json.loads(golden.read_text())


def packaged(name: str) -> Site:
    """The unpacked package, kept where `make demo` keeps it."""
    try:
        return SOURCES[name](ROOT / "demo" / "crawl")
    except (ValueError, OSError) as error:
        pytest.skip(f"the package of {name} cannot be had here: {error}")


def slug(site: Site) -> str:
    return re.sub(r"[^\w.+~-]+", "_", site.origin)


def test_the_funnel_in_the_readme_is_that_of_the_demo() -> None:
    (pinned,) = GOLDEN.glob("gimp-help-en_*.json")
    counted = json.loads(pinned.read_text())
    rows = [row for stage in NAMES for row in funnel_of(stage, Ledger(counted[stage]))]
    shown = re.search(r"```text\n(stage .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == as_text(rows) + "\n"

"""The demo's crawl: a packaged site, or a folder, in; the path of its WARC out, on stdout.

  python -m infra.demo CACHE              a packaged manual, kept in CACHE
  python -m infra.demo CACHE --site DIR   any folder of HTML, served as http://site.example/

What happens is told on stderr. Ends with 2 and one line where no crawl can be made.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from infra.demo.folder_to_warc import Site, Written, write_warc
from infra.demo.packages import packaged_site


def main(arguments: list[str] | None = None) -> int:
    """Make the WARC and print its path; the exit code."""
    ask = argparse.ArgumentParser(prog="infra.demo", description=__doc__.splitlines()[0])
    ask.add_argument("cache", type=Path, help="folder for downloads and the WARC")
    ask.add_argument("--site", type=Path, help="a folder of HTML instead of a package")
    told = ask.parse_args(arguments)
    try:
        site = packaged_site(told.cache) if told.site is None else folder_site(told.site)
        path = told.cache / (re.sub(r"[^\w.+~-]+", "_", site.origin) + ".warc.gz")
        if told.site is None and path.exists():  # a package of one version does not change
            print(f"{site.origin}: {path} is there already", file=sys.stderr)
            print(path)
            return 0
        written = write_warc(site, path)
    except (ValueError, OSError) as error:
        print(f"no crawl: {error}", file=sys.stderr)
        return 2
    print(_said(site, written, path), file=sys.stderr)
    print(path)
    return 0


def folder_site(folder: Path) -> Site:
    """A folder of the user's, under a name that no one can own (RFC 2606)."""
    name = folder.resolve().name
    return Site(folder=folder, base="http://site.example/", origin=f"site {name}")


def _said(site: Site, written: Written, path: Path) -> str:
    parts = [f"{written.pages:,} pages", f"{written.others:,} other files"]
    if written.left_out:
        parts.append(f"{written.left_out:,} hidden or outside and so left out")
    size = path.stat().st_size / 1e6
    return f"{site.origin}, as {site.base}: {', '.join(parts)}: {path} ({size:.1f} MB)"


if __name__ == "__main__":
    sys.exit(main())

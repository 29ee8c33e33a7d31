"""Pages: the templates of this folder and how numbers are written in them.

Out:  a jinja environment that escapes everything and fails for a name that was not given.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import jinja2

from pipeline.account.funnel import in_units
from pipeline.shard.report.samples import printable

HERE: Final = Path(__file__).parent


def environment() -> jinja2.Environment:
    """Escapes in every template; a name that is not given is an error, not a blank."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "count": "{:,}".format,
        "percent": percent,
        "big": big,
        "short": short,
        "units": in_units,
        "printable": printable,
        "words": lambda name: name.replace("_", " "),
    }
    return made


def percent(share: float) -> str:
    """Whole percents, or two digits of what is smaller, so that a little is not 0%."""
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{100 * share:.2g}%"


def big(number: float) -> str:
    """353M, 115B: as papers write them."""
    for unit, size in (("B", 1e9), ("M", 1e6)):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:,.0f}"


def short(number: int) -> str:
    """12k over a column that is no wider than that."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if number >= 10 * size:
            return f"{number / size:.0f}{unit}"
    return f"{number:,}"

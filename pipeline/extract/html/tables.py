"""Tables: whether a `<table>` holds data, or only places things on the page.

In:   the element.
Out:  True for data (each row becomes one text node), False for layout (each cell is read as any
      other block), as in the GIMP manual's notes and on most pages before 2005.
The signs are those of Gecko's and Readability's guess at layout tables, in their order, with one
more: a table without a header whose cells hold images or long text places things. `summary` is
no sign: DocBook writes it on notes and navigation.
"""

from __future__ import annotations

from typing import Final

from selectolax.lexbor import LexborNode

_HEADER: Final = "th, caption, thead, tfoot, col, colgroup"
_PLACED: Final = "td h1, td h2, td h3, td h4, td pre, td form, td article, td section"
_LONG_CELL: Final = 200  # characters, mean over cells
_FEW_CELLS: Final = 4  # an icon beside a title and a text: a note
DEEPEST: Final = 8  # tables open at once (real pages: 6); the last ones are searched in each
_MANY_ROWS, _MANY_COLUMNS, _MANY_CELLS = 10, 5, 10  # Readability: _markDataTables


def is_data_table(table: LexborNode) -> bool:
    """Whether its rows are to be read as rows."""
    attributes = table.attributes
    role = (attributes.get("role") or "").lower()
    if (
        role in {"presentation", "none"}
        or attributes.get("datatable") == "0"
        or table.css_first("td table, th table")  # soon told, where tables lie in tables
    ):
        return False
    rows = table.css("tr")
    columns = max((_cells(row) for row in rows), default=0)
    if len(rows) < 2 or columns < 2:
        return False
    if table.css_first(_PLACED):
        return False
    if table.css_first(_HEADER):
        return len(rows) * columns > _FEW_CELLS or not table.css_first("img")
    if table.css_first("img") or len(table.text()) > _LONG_CELL * columns * len(rows):
        return False
    return len(rows) >= _MANY_ROWS or columns >= _MANY_COLUMNS or len(rows) * columns > _MANY_CELLS


def _cells(row: LexborNode) -> int:
    return sum(cell.tag in {"td", "th"} for cell in row.iter())

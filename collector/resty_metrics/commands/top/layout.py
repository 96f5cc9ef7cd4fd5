"""A table as lines of one width: columns that go when there is no room, names that are cut.

Rule: a line never has more cells of a terminal than there are, whatever the names are written in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from resty_metrics.commands.top.figures import marked
from resty_metrics.commands.top.tables import Cell, Column, Table

_GAP = 2
_LEAST_NAME, _LEAST_NUMBER = 12, 5
_ELLIPSIS = "…"
_BAD, _SORTED = "bold red", "bold reverse"


@dataclass(frozen=True, slots=True)
class Field:
    """A column with its place among the cells, and its width."""

    at: int
    column: Column
    width: int


def cut(text: str, width: int) -> str:
    """Cut a text to ``width`` cells at most, and mark the cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + _ELLIPSIS if width else ""


def fields(table: Table, rows: Sequence[tuple[Cell, ...]], width: int, kept: int) -> list[Field]:
    """Return the columns that fit. ``kept``: the column that stays, since the table is sorted by it."""
    chosen = [Field(i, column, _natural_width(column, i, rows, i == kept)) for i, column in enumerate(table.columns)]
    while _needed(chosen) > width:
        going = max(chosen, key=lambda field: (field.at != kept) * field.column.weight)
        if going.column.weight == 0 or going.at == kept:
            break
        chosen.remove(going)
    return _fitted(chosen, width)


def _natural_width(column: Column, at: int, rows: Sequence[tuple[Cell, ...]], is_sorted: bool) -> int:
    least = 0 if column.kind == "text" else _LEAST_NUMBER
    title = len(column.title) + 2 * is_sorted
    return max(least, title, *(cell_len(marked(row[at], column)) for row in rows), 0)


def _needed(fields: Sequence[Field]) -> int:
    widths = (min(field.width, _LEAST_NAME) if field.column.kind == "text" else field.width for field in fields)
    return sum(widths) + _GAP * (len(fields) - 1)


def _fitted(fields: Sequence[Field], width: int) -> list[Field]:
    """Give the names the room that the numbers leave, in equal shares.

    A name that needs less leaves the rest to the others.
    """
    names = sorted((field for field in fields if field.column.kind == "text"), key=lambda field: field.width)
    room = width - _GAP * (len(fields) - 1) - sum(field.width for field in fields if field.column.kind != "text")
    widths = {}
    for left, field in zip(range(len(names), 0, -1), names, strict=True):
        widths[field.at] = max(1, min(field.width, room // left))
        room -= widths[field.at]
    return [Field(field.at, field.column, widths.get(field.at, field.width)) for field in fields]


def heading(fields: Sequence[Field], kept: int, descending: bool) -> Text:
    """Write the titles, and mark the column that the table is sorted by."""
    line = Text()
    for i, field in enumerate(fields):
        title = f"{field.column.title} {'↓' if descending else '↑'}" if field.at == kept else field.column.title
        _append(line, i, field, title, _SORTED if field.at == kept else "bold")
    return line


def row(fields: Sequence[Field], cells: tuple[Cell, ...]) -> Text:
    line = Text()
    for i, field in enumerate(fields):
        cell, column = cells[field.at], field.column
        _append(line, i, field, marked(cell, column), _BAD if column.marks(cell) else "")
    return line


def _append(line: Text, i: int, field: Field, text: str, style: str) -> None:
    text = cut(text, field.width)
    blanks = " " * (field.width - cell_len(text))
    line.append(" " * _GAP * (i > 0))
    if field.column.kind == "text":
        line.append(text, style).append(blanks)
    else:
        line.append(blanks).append(text, style)

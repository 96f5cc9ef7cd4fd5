"""A table as lines of one width: columns that go when there is no room, names that are cut.

Rule: a line never has more cells of a terminal than there are, whatever the names are written in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from resty_metrics.commands.top.figures import shown
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
    every = [Field(i, one, _wanted(one, i, rows, i == kept)) for i, one in enumerate(table.columns)]
    while _needed(every) > width:
        going = max(every, key=lambda one: (one.at != kept) * one.column.weight)
        if going.column.weight == 0 or going.at == kept:
            break
        every.remove(going)
    return _fitted(every, width)


def _wanted(column: Column, at: int, rows: Sequence[tuple[Cell, ...]], is_sorted: bool) -> int:
    least = 0 if column.kind == "text" else _LEAST_NUMBER
    title = len(column.title) + 2 * is_sorted
    return max(least, title, *(cell_len(shown(row[at], column.kind)) for row in rows), 0)


def _needed(every: Sequence[Field]) -> int:
    widths = (min(one.width, _LEAST_NAME) if one.column.kind == "text" else one.width for one in every)
    return sum(widths) + _GAP * (len(every) - 1)


def _fitted(every: Sequence[Field], width: int) -> list[Field]:
    """Give the names the room that the numbers leave, in equal shares.

    A name that needs less leaves the rest to the others.
    """
    names = sorted((one for one in every if one.column.kind == "text"), key=lambda one: one.width)
    room = width - _GAP * (len(every) - 1) - sum(one.width for one in every if one.column.kind != "text")
    given = {}
    for left, one in zip(range(len(names), 0, -1), names, strict=True):
        given[one.at] = max(1, min(one.width, room // left))
        room -= given[one.at]
    return [Field(one.at, one.column, given.get(one.at, one.width)) for one in every]


def heading(every: Sequence[Field], kept: int, descending: bool) -> Text:
    """Write the titles, and mark the column that the table is sorted by."""
    line = Text()
    for i, one in enumerate(every):
        title = f"{one.column.title} {'↓' if descending else '↑'}" if one.at == kept else one.column.title
        _append(line, i, one, title, _SORTED if one.at == kept else "bold")
    return line


def row(every: Sequence[Field], cells: tuple[Cell, ...]) -> Text:
    line = Text()
    for i, one in enumerate(every):
        cell, bad = cells[one.at], one.column.bad
        is_bad = bad is not None and isinstance(cell, float) and cell >= bad
        _append(line, i, one, shown(cell, one.column.kind), _BAD if is_bad else "")
    return line


def _append(line: Text, i: int, one: Field, text: str, style: str) -> None:
    text = cut(text, one.width)
    blanks = " " * (one.width - cell_len(text))
    line.append(" " * _GAP * (i > 0))
    if one.column.kind == "text":
        line.append(text, style).append(blanks)
    else:
        line.append(blanks).append(text, style)

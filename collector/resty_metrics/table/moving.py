"""Rows on their way into a family: restored rows, or rows that move to another shape.

A family has each label set once, so rows of equal labels are added up. The rows are collected beside the family, which
stays as it is until all of them are there. So the loop gets its turn between two steps, a page rendered meanwhile shows
the family as it was, and a bug on the way costs no row.
"""

from collections.abc import Iterable, Sequence

from resty_metrics.process.steps import Steps
from resty_metrics.shapes.shape import Conversion, Labels, Shape
from resty_metrics.shapes.sums import plus, sums_of
from resty_metrics.table.room import RowSize
from resty_metrics.table.rows import Row

STEP_NUMBERS = 20_000  # moved in one step, which takes a few milliseconds
_ROW_COST = 20  # the fixed cost of a row, in numbers, besides its labels and its own numbers


class Rows:
    """Rows in the order of their creation, each label set once, with the room in the table that they take."""

    __slots__ = ("bytes", "index", "rows", "size")

    def __init__(self, shape: Shape) -> None:
        self.size = RowSize(shape)
        self.bytes = 0
        self.rows: list[Row] = []
        self.index: dict[Labels, Row] = {}

    def place(self, row: Row) -> None:
        """Append a row, or add its numbers to the row that has the same labels."""
        first = self.index.setdefault(row.labels, row)
        if first is row:
            self.rows.append(row)
            self.bytes += self.size.of(row.labels)
        else:
            first.sums = plus(first.sums, row.sums, row.width)
            first.used = max(first.used, row.used)


def placed(shape: Shape, rows: Iterable[Row]) -> Rows:
    """Collect rows of this shape. Rows of equal labels are added up in the first of them."""
    together = Rows(shape)
    for row in rows:
        together.place(row)
    return together


def moved(rows: Sequence[Row], old: Shape, new: Shape) -> Steps[Rows]:
    """Convert rows to another shape, in steps. Rows whose labels become equal are added up in the oldest of them."""
    conversion, together = Conversion(old, new), Rows(new)
    labels, numbers, width = conversion.labels, conversion.numbers, new.width
    length = max(1, STEP_NUMBERS // (_ROW_COST + old.width + width + len(new.labels)))
    for first in range(0, len(rows), length):
        if first:
            yield
        for row in rows[first : first + length]:
            sums = row.sums if conversion.keeps_numbers else sums_of(numbers(row.numbers))
            together.place(Row(labels(row.labels), sums, width, row.created, row.used))
    return together

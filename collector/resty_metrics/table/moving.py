"""Rows on their way into a family, which has each label set once: restored ones, or those of another shape.

They are put together beside the family, which stays as it is until all are there: so the loop has its turn between two
steps, a page meanwhile shows the family as it was, and a bug on the way costs no row.
"""

from collections.abc import Iterable, Sequence

from resty_metrics.process.steps import Steps
from resty_metrics.shapes.shape import Conversion, Labels, Shape
from resty_metrics.shapes.sums import plus, sums_of
from resty_metrics.table.room import RowSize
from resty_metrics.table.rows import Row

STEP_NUMBERS = 20_000  # are moved in a step: a few milliseconds
_ROW_COST = 20  # of a row, besides its labels and numbers


class Rows:
    """Rows in the order of their creation, each label set once, and what they take of the table's room."""

    __slots__ = ("bytes", "index", "rows", "size")

    def __init__(self, shape: Shape) -> None:
        self.size = RowSize(shape)
        self.bytes = 0
        self.rows: list[Row] = []
        self.index: dict[Labels, Row] = {}

    def place(self, row: Row) -> None:
        """Put a row behind the others, or add it to the one that has its labels."""
        first = self.index.setdefault(row.labels, row)
        if first is row:
            self.rows.append(row)
            self.bytes += self.size.of(row.labels)
        else:
            first.sums = plus(first.sums, row.sums, row.width)
            first.used = max(first.used, row.used)


def placed(shape: Shape, rows: Iterable[Row]) -> Rows:
    """Return rows of this shape together; those of equal labels are added up in the first."""
    together = Rows(shape)
    for row in rows:
        together.place(row)
    return together


def moved(rows: Sequence[Row], old: Shape, new: Shape) -> Steps[Rows]:
    """Return the rows in another shape. Those that become one are added up in the older."""
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

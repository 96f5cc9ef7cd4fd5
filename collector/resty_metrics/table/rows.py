"""A row of the table, the number that it gets at its creation, and the rendered text of a run of rows."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from resty_metrics.shapes.shape import Labels
from resty_metrics.shapes.sums import Numbers, Sums, reader


@dataclass(slots=True)
class Creation:
    """The counter of created rows, over all families of a table. ``next`` is the number of the next new row."""

    next: int = 0


class Row:
    """A label set with its running totals. When the family changes its shape, its rows are replaced by new ones.

    ``sums`` holds its ``width`` numbers in their stored form, a new object after each change. ``used`` is the running
    time of its last delta. ``kept``: the text in its family's block is up to date; False after a change.
    """

    __slots__ = ("created", "kept", "labels", "sums", "used", "width")

    def __init__(self, labels: Labels, sums: Sums, width: int, created: int, used: float) -> None:
        self.labels = labels
        self.sums = sums
        self.width = width
        self.created = created
        self.used = used
        self.kept = False

    @property
    def numbers(self) -> Numbers:
        return reader(self.width)(self.sums)


@dataclass(frozen=True, slots=True)
class Block:
    """The rendered text of a run of rows. ``lines``: for each metric the lines of all rows, as one text. ``ends``: for
    each metric the offset in it at which each row ends.

    Text is by far the largest part of a row. Kept as one text per block it has no overhead per row, and a page includes
    it as it is.
    """

    lines: tuple[bytes, ...]
    ends: tuple[Sequence[int], ...]

    @property
    def rows(self) -> int:
        return len(self.ends[0])


def places(lengths: Sequence[int]) -> Sequence[int]:
    """Return the offsets at which texts of these lengths end when they follow each other, as a compact array."""
    return array("I", accumulate(lengths))

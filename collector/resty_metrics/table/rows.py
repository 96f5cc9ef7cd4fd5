"""A row of the table, the number that each gets at its creation, and the text of many."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from resty_metrics.shapes.shape import Labels
from resty_metrics.shapes.sums import Numbers, Sums, reader


@dataclass(slots=True)
class Creation:
    """The running number of rows created, over all families of a table; ``next`` is not given yet."""

    next: int = 0


class Row:
    """One label set with its running numbers. Another shape of the family has other rows.

    ``sums`` are its numbers as they are kept, ``width`` of them: another object after each change. ``used`` is the
    running time of its last delta. ``kept``: its family's block has its text as it is; False after a change.
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
    """The rendered text of a run of rows: for each metric the lines of all of them, and the place where each row's end.

    Text is by far the largest part of a row. As one text per block it costs no memory but its own, and a page takes it
    as it is.
    """

    lines: tuple[bytes, ...]
    ends: tuple[Sequence[int], ...]

    @property
    def rows(self) -> int:
        return len(self.ends[0])


def places(lengths: Sequence[int]) -> Sequence[int]:
    """Where each ends, if they stand one behind the other; compact."""
    return array("I", accumulate(lengths))

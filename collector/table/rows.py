"""A row of the table, and the number that each gets at its creation."""

from dataclasses import dataclass

from collector.table.shapes import Labels, Numbers


@dataclass(slots=True)
class Creation:
    """The running number of rows created, over all families of a table; ``next`` is not given yet."""

    next: int = 0


class Row:
    """One label set with its running numbers.

    ``used`` is the running time of its last delta. ``text`` is its rendered lines; None after a change.
    """

    __slots__ = ("created", "labels", "numbers", "text", "used")

    def __init__(self, labels: Labels, numbers: Numbers, created: int, used: float) -> None:
        self.labels = labels
        self.numbers = numbers
        self.created = created
        self.used = used
        self.text: tuple[bytes, ...] | None = None

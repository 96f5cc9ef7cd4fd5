"""The room that all families of a table share, so that the bounds of families, rows and labels do not multiply.

Rules:
- A row takes its estimated memory, mostly that of its cached text on the page. So wide rows with long labels take more.
- A full table has no room for new label sets: they give up labels, as in a family at its cap. A tenth above that they
  give up all labels, so that each family gains at most one more row.
- Caches (clean values, aliases, conversions) are bounded over all families too. They change no result: a replay with
  other caches makes the same table.
"""

from collections.abc import Collection

from resty_metrics.shapes.labels import MAX_LABEL_BYTES
from resty_metrics.shapes.shape import Conversion, Labels, Shape
from resty_metrics.table.rows import Row

# 100,000 rows of 22 series each took about 350 MB, and a page of them 240 MB of text.
MAX_TABLE_ROWS = 100_000
MAX_TABLE_BYTES = 256 << 20
SCAN_SECONDS = 1.0  # between two searches for idle rows in a full table; each one searches one family

_ROW_BYTES = 512  # the objects that hold a row
_NUMBER_BYTES = 10
_LINE_BYTES = 24  # suffix, "le" and value of a line on the page
_MAX_VALUES = 8_192
_MAX_CONVERSIONS = 64
_MAX_ALIAS_BYTES = 16 << 20
_STRING_BYTES = 64  # the object that holds a short string


class Room:
    """The room for the rows of all families, and how much of it they take.

    ``scanned``: running time of the last search for idle rows. ``values`` and ``conversions`` are caches that the
    families share.
    """

    __slots__ = ("alias_bytes", "bytes", "conversions", "max_bytes", "max_rows", "rows", "scanned", "values")

    def __init__(self, max_rows: int = MAX_TABLE_ROWS, max_bytes: int = MAX_TABLE_BYTES) -> None:
        self.max_rows = max_rows
        self.max_bytes = max_bytes
        self.rows = 0
        self.bytes = 0
        self.scanned = 0.0
        self.alias_bytes = 0
        self.values: dict[str, str] = {}
        self.conversions: dict[tuple[Shape, Shape], Conversion] = {}

    @property
    def used(self) -> float:
        """The ratio of the room that is taken, by rows or by bytes, whichever is larger; at most a little above 1.1."""
        return max(self.rows / self.max_rows, self.bytes / self.max_bytes)

    @property
    def full(self) -> bool:
        return self.rows >= self.max_rows or self.bytes >= self.max_bytes

    @property
    def overfull(self) -> bool:
        """True from a tenth above the bound: even a row that has given up some of its labels finds no room."""
        return self.rows >= self.max_rows * 1.1 or self.bytes >= self.max_bytes * 1.1

    def remember_value(self, raw: str, clean: str) -> None:
        """Keep the clean form of a label value, so that equal values of many rows share one object."""
        if len(self.values) >= _MAX_VALUES:
            self.values.clear()
        self.values[raw] = clean

    def conversion(self, old: Shape, new: Shape) -> Conversion:
        """Return the conversion of rows from one shape to another, from the cache if possible."""
        conversion = self.conversions.get((old, new))
        if conversion is None:
            if len(self.conversions) >= _MAX_CONVERSIONS:
                self.conversions.clear()
            conversion = self.conversions[old, new] = Conversion(old, new)
        return conversion


class RowSize:
    """The estimated memory of a row of one shape, in bytes. ``largest``: that of a row whose labels are all of the
    greatest length.
    """

    __slots__ = ("_fixed", "_lines", "largest")

    def __init__(self, shape: Shape) -> None:
        # Lines besides the buckets: a histogram has its sum and count, requests their counters too (page/templates.py).
        self._lines = shape.buckets + {"counter": 1, "histogram": 2, "requests": 3}[shape.type]
        line = _LINE_BYTES + len(shape.name) + len(shape.instance) + sum(len(name) + 4 for name in shape.labels)
        self._fixed = _ROW_BYTES + shape.width * _NUMBER_BYTES + self._lines * line
        self.largest = self._fixed + self._lines * len(shape.labels) * MAX_LABEL_BYTES

    def of(self, labels: Labels) -> int:
        """Return the memory of a row with these labels, in bytes."""
        return self._fixed + self._lines * len("".join(labels).encode())


class Share:
    """The part of the room that the rows of one family take. ``size`` computes how much one row takes."""

    __slots__ = ("_bytes", "_room", "_rows", "size")

    def __init__(self, room: Room, shape: Shape) -> None:
        self.size = RowSize(shape)
        self._room = room
        self._rows = 0
        self._bytes = 0

    def take(self, labels: Labels) -> None:
        """Add a row with these labels."""
        self._add(1, self.size.of(labels))

    def give_back(self, rows: Collection[Row]) -> None:
        """Give back the room of these rows."""
        self._add(-len(rows), -sum([self.size.of(row.labels) for row in rows]))

    def retake(self, rows: int, size: RowSize, total: int) -> None:
        """Take the room of other rows instead of all that was taken: so many ``rows`` with ``total`` bytes in all."""
        self.release()
        self.size = size
        self._add(rows, total)

    def release(self) -> None:
        """Give back all that was taken."""
        self._add(-self._rows, -self._bytes)

    def _add(self, rows: int, size: int) -> None:
        self._rows += rows
        self._bytes += size
        self._room.rows += rows
        self._room.bytes += size


class Aliases(dict[Labels, Labels]):
    """The clean label sets of one family, by raw ones. New ones are not kept when the room for all families is full."""

    def __init__(self, room: Room) -> None:
        super().__init__()
        self._room = room

    def __setitem__(self, key: Labels, labels: Labels) -> None:
        size = _size(key)
        if key not in self and self._room.alias_bytes + size <= _MAX_ALIAS_BYTES:
            self._room.alias_bytes += size
            super().__setitem__(key, labels)

    def clear(self) -> None:
        self._room.alias_bytes -= sum(map(_size, self))
        super().clear()


def _size(key: Labels) -> int:
    return sum([_STRING_BYTES + len(value) for value in key])

"""A family: all rows of one kind, in the shape of the stream that was born last, bounded.

The hot path is one dictionary look-up and one addition of tuples per row; whatever is slow (cleaning labels, deciding
on overflow, changing shape) happens when a label set is seen for the first time.

Rules:
- Rows stay in the order of their creation, and a row keeps its creation number when the family changes shape.
- At ``max_rows`` a new label set gives up the user's labels (``other``); where there are none left to give, the
  server. A tenth above that everything becomes ``other``, so a family is bounded whatever is sent.
- Raw label sets that were seen before are remembered, unless they are long; the memory of them is bounded too.
- Rows that went to an overflow row are counted, each time: they are not remembered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add

from collector.table.labels import MAX_LABEL_BYTES, OTHER, clean
from collector.table.shapes import Conversion, FamilyBatch, Labels, Numbers, RawRow, Shape

MAX_ROWS = 10_000
_MAX_CONVERSIONS = 16
_MAX_SHARED_VALUES = 1_024


@dataclass(slots=True)
class Creation:
    """The running number of rows created, over all families of a table; ``next`` is not given yet."""

    next: int = 0


class Row:
    """One label set with its running numbers. ``text`` is its rendered lines; None after a change."""

    __slots__ = ("created", "labels", "numbers", "text")

    def __init__(self, labels: Labels, numbers: Numbers, created: int) -> None:
        self.labels = labels
        self.numbers = numbers
        self.created = created
        self.text: tuple[bytes, ...] | None = None


@dataclass(frozen=True, slots=True)
class FamilyState:
    """All that a family is, to be kept beyond this process: its rows as (creation number, labels, numbers).

    Numbers are never changed in place, so a captured state stays as it was while the family goes on.
    """

    shape: Shape
    help: str
    birth_ms: int
    overflow: int
    rows: Sequence[tuple[int, Labels, Numbers]]


class Family:
    """All rows of one family name. ``overflow`` counts the rows that were added to an overflow row."""

    def __init__(self, shape: Shape, creation: Creation, max_rows: int = MAX_ROWS) -> None:
        self.shape = shape
        self.help = ""
        self.birth_ms = 0
        self.rows: list[Row] = []
        self.overflow = 0
        self._creation = creation
        self._max_rows = max_rows
        self._hard_limit = max_rows + max_rows // 10
        self._index: dict[Labels, Row] = {}
        self._aliases: dict[Labels, Row] = {}
        self._conversions: dict[Shape, Conversion] = {}
        self._values: dict[str, str] = {}

    def merge(self, batch: FamilyBatch, birth_ms: int) -> None:
        """Add the deltas of a batch, sent by a stream born at ``birth_ms``."""
        if not batch.inherited and birth_ms >= self.birth_ms:
            self._follow(batch, birth_ms)
        if batch.shape == self.shape:
            self._add(batch.rows)
            return
        conversion, old = self._conversion(batch.shape), len(batch.shape.labels)
        self._add([conversion.labels(raw[:old]) + conversion.numbers(raw[old:]) for raw in batch.rows])

    def capture(self) -> FamilyState:
        rows = [(row.created, row.labels, row.numbers) for row in self.rows]
        return FamilyState(self.shape, self.help, self.birth_ms, self.overflow, rows)

    def restore(self, state: FamilyState) -> None:
        """Become what was captured; meant for a family that has no rows yet."""
        self.shape, self.help = state.shape, state.help
        self.birth_ms, self.overflow = state.birth_ms, state.overflow
        self.rows = [Row(labels, numbers, created) for created, labels, numbers in state.rows]
        self._index = {row.labels: row for row in self.rows}

    def _add(self, rows: Iterable[RawRow]) -> None:
        known, labels = self._aliases.get, len(self.shape.labels)
        for raw in rows:
            row = known(raw[:labels])
            if row is None:
                row = self._find(raw[:labels])
            row.numbers = [*map(add, row.numbers, raw[labels:])]
            row.text = None

    def _find(self, key: Labels) -> Row:
        """The row for a raw label set that is not remembered; made if need be."""
        values = self._values
        labels = tuple([values.get(label) or self._value(label) for label in key])
        row = self._index.get(labels)
        if row is None and len(self.rows) >= self._max_rows:
            self.overflow += 1
            return self._overflow_row(labels)
        if row is None:
            row = self._create(labels)
        if all(len(label) <= MAX_LABEL_BYTES for label in key):
            if len(self._aliases) >= 2 * self._max_rows:
                self._aliases.clear()
            self._aliases[row.labels if labels == key else key] = row
        return row

    def _value(self, raw: str) -> str:
        """A clean label value; equal values of many rows share one object."""
        value = clean(raw)
        if len(raw) <= MAX_LABEL_BYTES:
            if len(self._values) >= _MAX_SHARED_VALUES:
                self._values.clear()
            self._values[raw] = value
        return value

    def _overflow_row(self, labels: Labels) -> Row:
        ours = self.shape.built_in_labels
        kept = labels[:ours] + (OTHER,) * (len(labels) - ours)
        if kept == labels:
            kept = (OTHER, *labels[1:])
        if kept not in self._index and len(self.rows) >= self._hard_limit:
            kept = (OTHER,) * len(labels)
        return self._index.get(kept) or self._create(kept)

    def _create(self, labels: Labels) -> Row:
        row = Row(labels, (0,) * self.shape.width, self._creation.next)
        self._creation.next += 1
        self._index[labels] = row
        self.rows.append(row)
        return row

    def _follow(self, batch: FamilyBatch, birth_ms: int) -> None:
        """Take over shape and help of a stream born later; of two shapes from one stream the first stays."""
        if birth_ms > self.birth_ms:
            if batch.shape != self.shape:
                self._reshape(batch.shape)
            self.birth_ms = birth_ms
        if batch.help and batch.shape == self.shape:
            self.help = batch.help

    def _reshape(self, shape: Shape) -> None:
        """Move every row to another shape; rows that become one are added up in the older."""
        conversion = Conversion(self.shape, shape)
        rows, self.rows = self.rows, []
        self.shape = shape
        for forgotten in (self._index, self._aliases, self._conversions):
            forgotten.clear()
        for row in rows:
            labels, numbers = conversion.labels(row.labels), conversion.numbers(row.numbers)
            first = self._index.get(labels)
            if first is None:
                row.labels, row.numbers, row.text = labels, numbers, None
                self._index[labels] = row
                self.rows.append(row)
            else:
                first.numbers = [*map(add, first.numbers, numbers)]

    def _conversion(self, shape: Shape) -> Conversion:
        conversion = self._conversions.get(shape)
        if conversion is None:
            if len(self._conversions) >= _MAX_CONVERSIONS:
                self._conversions.clear()
            conversion = self._conversions[shape] = Conversion(shape, self.shape)
        return conversion

"""A family: all rows of one kind, in the shape of the sender that was born last, bounded.

The hot path is one dictionary look-up and one addition per row (shapes/sums.py). Slow work (cleaning labels, deciding
on overflow, changing shape) happens when a label set is seen for the first time.

Rules:
- Rows stay in the order of their creation, and a row keeps its creation number when the family changes shape.
- At ``max_rows``, rows that were idle for an hour are evicted first. The family searches for them at most once a
  minute.
- If that frees no room, a new label set gives up labels (``overflow``). A tenth above ``max_rows`` all of them become
  ``other``, so a family is bounded whatever is sent.
- The rows of all families share one room; in a table without room a new label set gives up labels too.
- A raw label set that is not clean is remembered with its clean form, unless it is long. The number of them is bounded.
- A label set that went to an overflow row is not remembered, so every row that goes there is counted.
- ``now`` is running time, passed in by the caller: the same batches at the same times make the same family.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from operator import attrgetter

from resty_metrics.process.steps import Steps, finish
from resty_metrics.shapes.labels import MAX_LABEL_BYTES, clean
from resty_metrics.shapes.shape import FamilyBatch, Labels, Shape
from resty_metrics.shapes.sums import Deltas, Sums, guard, pack_rows, plus, rows_of, split
from resty_metrics.table import overflow
from resty_metrics.table.moving import Rows, moved, placed
from resty_metrics.table.room import Aliases, Room, Share
from resty_metrics.table.rows import Block, Creation, Row

MAX_ROWS = 10_000
_FEW_ROWS = 16  # up to this many, removal searches for each row instead of walking over all


@dataclass(frozen=True, slots=True)
class FamilyState:
    """The state of a family, for the journal. ``rows`` holds (creation number, labels, sums, used) of each row.

    Sums are never changed in place, so a captured state stays as it was while the family changes.
    """

    shape: Shape
    help: str
    birth_ms: int
    overflow: int
    evicted: int
    scanned: float
    rows: Sequence[tuple[int, Labels, Sums, float]]
    used: float = 0.0
    expired: int = 0


class Family:
    """All rows of one family. ``overflow`` counts the rows that were added to an overflow row, ``evicted`` those that
    made room, ``expired`` those that were forgotten (expiry.py). ``used`` is the running time of its last batch; the
    table sets it. ``share`` is the part of the table's room that its rows take. ``blocks`` is the rendered text of its
    rows, from the first on, stored here by the renderer; it becomes a new, empty list as soon as a row leaves its
    place.
    """

    def __init__(self, shape: Shape, creation: Creation, max_rows: int = MAX_ROWS, room: Room | None = None) -> None:
        self.shape = shape
        self.help = ""
        self.birth_ms = 0
        self.rows: list[Row] = []
        self.blocks: list[Block] = []
        self.overflow = 0
        self.evicted = 0
        self.expired = 0
        self.used = 0.0
        self.max_rows = max_rows
        self._scanned = 0.0
        self._now = 0.0
        self._below_zero = False  # True once a sum was below 0, until a reset
        self._values_by_label: dict[str, int] | None = None
        self._creation = creation
        self._hard_limit = max_rows + max_rows // 10
        self._room = room or Room()
        self.share = Share(self._room, shape)
        self._index: dict[Labels, Row] = {}
        self._aliases = Aliases(self._room)
        self._values = self._room.values

    def merge(self, batch: FamilyBatch, birth_ms: int, now: float) -> None:
        """Add the deltas of a batch that a sender born at ``birth_ms`` sent and that arrived at ``now``."""
        self._now = now
        finish(self.follow(batch, birth_ms))
        if batch.reset:
            self._remove(set(self.rows))
            self._below_zero = False
        if batch.shape == self.shape:
            self._delete(batch.deleted)
            self._add(batch.labels, batch.deltas)
            return
        conversion = self._room.conversion(batch.shape, self.shape)
        self._delete(map(conversion.labels, batch.deleted))
        rows = [*map(conversion.numbers, rows_of(batch.deltas, batch.shape.width))]
        self._add([*map(conversion.labels, batch.labels)], pack_rows(rows))

    def follow(self, batch: FamilyBatch, birth_ms: int) -> Steps[None]:
        """Adopt the shape and the help text of a sender born later. Of two shapes from one sender the first stays.

        Rows move to another shape in steps, and the family stays as it was until the last step. ``merge`` does the
        same in one go if it has not been done before.
        """
        if batch.inherited or birth_ms < self.birth_ms:
            return
        if batch.shape != self.shape and birth_ms > self.birth_ms:
            rows = yield from moved(() if batch.reset else self.rows, self.shape, batch.shape)
            self.shape = batch.shape
            self._take(rows)
        self.birth_ms = birth_ms
        if batch.help and batch.shape == self.shape:
            self.help = batch.help

    @property
    def values_by_label(self) -> dict[str, int]:
        """The number of different values of each label, over all rows."""
        if self._values_by_label is None:
            columns = zip(*[row.labels for row in self.rows], strict=True)
            self._values_by_label = {
                name: len(set(column)) for name, column in zip(self.shape.labels, columns, strict=False)
            }
        return self._values_by_label

    @property
    def signed(self) -> bool:
        """True if a sum may be negative or NaN: one was, or a bucket bound is below 0."""
        return self._below_zero or bool(self.shape.bounds and self.shape.bounds[0] < 0)

    def capture(self) -> FamilyState:
        rows = [(row.created, row.labels, row.sums, row.used) for row in self.rows]
        counts = (self.overflow, self.evicted)
        return FamilyState(self.shape, self.help, self.birth_ms, *counts, self._scanned, rows, self.used, self.expired)

    def restore(self, state: FamilyState) -> None:
        """Restore a captured state into a family without rows. Rows of equal labels are added up."""
        self.shape, self.help = state.shape, state.help
        self.birth_ms, self.overflow = state.birth_ms, state.overflow
        self.evicted, self.expired, self._scanned = state.evicted, state.expired, state.scanned
        width = self.shape.width
        rows = (Row(labels, sums, width, created, used) for created, labels, sums, used in state.rows)
        self._take(placed(self.shape, rows))
        self._below_zero = any(map(_is_below_zero, self.rows))
        self.used = max([state.used, *[row.used for row in self.rows]])

    def repair(self) -> None:
        """Make rows and index agree again after a merge that failed half-way. Every row keeps its numbers."""
        rows = (Row(row.labels, row.sums, row.width, row.created, row.used) for row in self.rows)
        self._take(placed(self.shape, rows))

    def leave(self) -> None:
        """Release the room of all rows. The family must not be used afterwards."""
        self.share.release()
        self._aliases.clear()

    def scan(self, now: float) -> bool:
        """Evict rows that were idle for an hour, to make room in a full table. Return False if the last search of this
        family is less than a minute ago; then nothing is done.
        """
        if now - self._scanned < overflow.SCAN_SECONDS:
            return False
        self._now = self._scanned = now
        for give in overflow.LEVELS:
            if self._room.full:
                self._evict(overflow.idle(self.shape, self.rows, now, give))
        return True

    def forget(self, rows: Set[Row]) -> None:
        """Forget rows that have expired. Their numbers are added to no other row."""
        self.expired += len(rows)
        self._remove(rows)

    def _add(self, labels: Sequence[Labels], deltas: Deltas) -> None:
        if isinstance(deltas, bytes):
            self._add_packed(labels, deltas)
            return
        known, width, now = self._index.get, self.shape.width, self._now
        for key, numbers in zip(labels, deltas, strict=True):
            row = known(key) or self._row(key)
            row.sums, row.kept, row.used = plus(row.sums, numbers, width), False, now
            if numbers[-1] < 0:
                self._below_zero = self._below_zero or _is_below_zero(row)

    def _add_packed(self, labels: Sequence[Labels], deltas: bytes) -> None:
        known, width, now = self._index.get, self.shape.width, self._now
        full = guard(width)
        for key, packed in zip(labels, split(deltas, width), strict=True):
            row = known(key) or self._row(key)
            sums = row.sums
            if type(sums) is int and not (total := sums + packed) & full:
                row.sums = total
            else:
                row.sums = plus(sums, packed, width)
            row.kept, row.used = False, now

    def _row(self, key: Labels) -> Row:
        """Return the row for a raw label set. Create it if it is missing and there is room."""
        row = self._index.get(key)
        if row is None and (labels := self._aliases.get(key)) is not None:
            row = self._index.get(labels)
        return row or self._find(key)

    def _find(self, key: Labels) -> Row:
        """Return the row for a raw label set that is not remembered."""
        labels = self._clean(key)
        if labels not in self._index and not self._has_room() and labels not in self._index:
            self.overflow += 1
            return self._overflow_row(labels)
        row = self._row_of(labels)
        if labels != key and all(len(label) <= MAX_LABEL_BYTES for label in key):
            if len(self._aliases) >= 2 * self.max_rows:
                self._aliases.clear()
            self._aliases[key] = labels
        return row

    def _clean(self, key: Labels) -> Labels:
        values = self._values
        return tuple([values.get(label) or self._value(label) for label in key])

    def _value(self, raw: str) -> str:
        """Return the clean form of a label value. Equal values of many rows share one object."""
        value = clean(raw)
        if len(raw) <= MAX_LABEL_BYTES:
            self._room.remember_value(raw, value)
        return value

    def _has_room(self) -> bool:
        """Return True if there is room for one more row, after idle rows were evicted if necessary."""
        if len(self.rows) >= self.max_rows and self._now - self._scanned >= overflow.SCAN_SECONDS:
            self._scanned = self._now
            for give in overflow.LEVELS:
                if len(self.rows) >= self.max_rows:
                    self._evict(overflow.idle(self.shape, self.rows, self._now, give))
        return len(self.rows) < self.max_rows and not self._room.full

    def _evict(self, idle: dict[Row, Labels]) -> None:
        """Remove idle rows, and add the numbers of each to the row with the labels given for it."""
        self.evicted += len(idle)
        self._remove(idle.keys())
        for row, labels in idle.items():
            taker = self._row_of(labels, row.used)
            taker.sums = plus(taker.sums, row.sums, row.width)
            taker.kept, taker.used = False, max(taker.used, row.used)

    def _overflow_row(self, labels: Labels) -> Row:
        remaining = overflow.give_up(self.shape, labels)
        if remaining not in self._index and (len(self.rows) >= self._hard_limit or self._room.overfull):
            remaining = overflow.give_up_all(self.shape, labels)
        return self._row_of(remaining)

    def _delete(self, keys: Iterable[Labels]) -> None:
        rows = (self._index.get(self._clean(key)) for key in keys)
        self._remove({row for row in rows if row is not None})

    def _remove(self, removed: Set[Row]) -> None:
        if not removed:
            return
        self.share.give_back(removed)
        if len(removed) <= _FEW_ROWS:
            for row in removed:
                del self.rows[bisect_left(self.rows, row.created, key=attrgetter("created"))]
        else:
            self.rows = [row for row in self.rows if row not in removed]
        self.blocks = []
        for row in removed:
            del self._index[row.labels]
        self._values_by_label = None

    def _row_of(self, labels: Labels, used: float | None = None) -> Row:
        """Return the row with these clean labels. Create it if it is missing, last used at ``used``; None: now.

        Rows are created nowhere else: making room may itself create the row that was missing a moment before.
        """
        row = self._index.get(labels)
        if row is None:
            row = Row(labels, 0, self.shape.width, self._creation.next, self._now if used is None else used)
            self._creation.next += 1
            self.share.take(labels)
            self._index[labels] = row
            self.rows.append(row)
            self._values_by_label = None
        return row

    def _take(self, rows: Rows) -> None:
        """Replace all rows by these."""
        self.rows, self._index, self.blocks = rows.rows, rows.index, []
        self._values_by_label = None
        self._aliases.clear()
        self.share.retake(len(rows.rows), rows.size, rows.bytes)


def _is_below_zero(row: Row) -> bool:
    """Return True if the row's last number is below 0 or NaN."""
    return isinstance(row.sums, tuple) and not row.sums[-1] >= 0

"""The table: all rows of all families, the running totals that the page shows.

It holds committed batches only: intake hands over a batch when it is safe, so whoever reads the table never sees a
number that a restart could take back.

Rules:
- The number of families is bounded; rows of a family beyond that are lost, and counted.
- The table never looks at a clock: the same batches in the same order make the same table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from collector.table.families import MAX_ROWS, Creation, Family, FamilyState
from collector.table.shapes import REQUESTS, FamilyBatch

MAX_FAMILIES = 256


@dataclass(frozen=True, slots=True)
class TableState:
    """All that a table is. The caps are part of it: overflow is decided by them, also when batches are merged anew."""

    max_rows: int
    max_families: int
    next_creation: int
    lost_rows: int
    families: Sequence[FamilyState]


class Table:
    """All families by name. ``lost_rows`` counts rows that came when there were too many families."""

    def __init__(self, max_rows: int = MAX_ROWS, max_families: int = MAX_FAMILIES) -> None:
        self.families: dict[str, Family] = {}
        self.lost_rows = 0
        self._creation = Creation()
        self._max_rows = max_rows
        self._max_families = max_families

    @property
    def next_creation(self) -> int:
        """The creation number that the next new row will get; every existing row has a smaller one."""
        return self._creation.next

    @property
    def requests(self) -> int:
        """All requests that are counted."""
        family = self.families.get(REQUESTS)
        if family is None:
            return 0
        return int(sum(sum(row.numbers[: family.shape.buckets]) for row in family.rows))

    def capture(self) -> TableState:
        """All of it, as it is now; cheap: the rows' numbers are shared, not copied."""
        families = [family.capture() for family in self.families.values()]
        return TableState(self._max_rows, self._max_families, self._creation.next, self.lost_rows, families)

    @classmethod
    def restore(cls, state: TableState) -> "Table":
        """The table that was captured."""
        table = cls(state.max_rows, state.max_families)
        table._creation.next = state.next_creation
        table.lost_rows = state.lost_rows
        for one in state.families:
            family = table.families[one.shape.name] = Family(one.shape, table._creation, state.max_rows)
            family.restore(one)
        return table

    def merge(self, batches: Iterable[FamilyBatch], birth_ms: int) -> None:
        """Add one batch of a stream born at ``birth_ms`` (Unix milliseconds)."""
        for batch in batches:
            family = self.families.get(batch.shape.name) or self._create(batch)
            if family is None:
                self.lost_rows += len(batch.rows)
            else:
                family.merge(batch, birth_ms)

    def _create(self, batch: FamilyBatch) -> Family | None:
        if len(self.families) >= self._max_families:
            return None
        family = Family(batch.shape, self._creation, self._max_rows)
        family.help = batch.help
        self.families[batch.shape.name] = family
        return family

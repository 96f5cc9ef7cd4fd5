"""The table: all rows of all families, the running totals that the page shows.

It holds committed batches only: the intake merges a batch once it is safe, so a reader of the table never sees a number
that a restart could take back.

Rules:
- The number of nginx instances is bounded, and the number of families of each, so one instance takes no places from
  another. An eighth of the places is reserved for built-in families: the user's metrics cannot displace them.
- Where all places are taken, an nginx or a family that was idle for an hour gives way (``places``). Its series end, and
  start again from 0 if it returns. The rows of a family that finds no place are lost, and counted.
- The rows of all families share one room (``room``), and the number of all families is bounded too, so the bounds above
  do not multiply. A row that finds no room is counted as ``other`` in its family. A full table evicts rows that were
  idle for an hour, from its largest families first.
- A family has one type. If a sender born later declares another type, the family starts again from 0. Rows of the other
  type that older senders still send are lost, and counted.
- The table never reads a clock: the same batches in the same order make the same table.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from resty_metrics.process.steps import Steps, finish
from resty_metrics.shapes.shape import FamilyBatch, FamilyKey, Shape
from resty_metrics.table.expiry import Expiry
from resty_metrics.table.families import MAX_ROWS, Family, FamilyState
from resty_metrics.table.places import Search
from resty_metrics.table.room import MAX_TABLE_BYTES, MAX_TABLE_ROWS, SCAN_SECONDS, Room
from resty_metrics.table.rows import Creation

# The families of one instance: a worker makes at most 1,000 of the user's, 64 scopes and some of its own.
MAX_FAMILIES = 2_048
MAX_INSTANCES = 64
MAX_TABLE_FAMILIES = 4_096  # of all instances together


@dataclass(frozen=True, slots=True)
class TableState:
    """The state of a table, for the journal. The caps are part of it: a replay must decide on overflow as before."""

    max_rows: int
    max_families: int
    next_creation: int
    lost_rows: int
    mistyped_rows: int
    families: Sequence[FamilyState]
    max_instances: int = MAX_INSTANCES
    refused_rows: int = 0
    failed_rows: int = 0
    max_table_rows: int = MAX_TABLE_ROWS
    max_table_bytes: int = MAX_TABLE_BYTES
    max_table_families: int = MAX_TABLE_FAMILIES
    scanned: float = 0.0
    evicted_instances: int = 0
    evicted_families: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure to add the ``rows`` of one family in one batch. Some of them may be lost."""

    family: FamilyKey
    rows: int
    error: Exception


class Table:
    """The families by key, and the counts of rows that could not be added.

    ``lost_rows``: rows of families that found no place. ``refused_rows``: rows of instances that found no place.
    ``mistyped_rows``: rows of a type that their family no longer has. ``failed_rows``: rows that a bug kept from being
    added. ``evicted_instances`` and ``evicted_families`` count those that gave way. ``room`` is shared by all rows.
    """

    def __init__(
        self,
        max_rows: int = MAX_ROWS,
        max_families: int = MAX_FAMILIES,
        max_instances: int = MAX_INSTANCES,
        max_table_families: int = MAX_TABLE_FAMILIES,
        room: Room | None = None,
    ) -> None:
        self.room = room or Room()
        self.families: dict[FamilyKey, Family] = {}
        self.lost_rows = 0
        self.refused_rows = 0
        self.mistyped_rows = 0
        self.failed_rows = 0
        self.evicted_instances = 0
        self.evicted_families = 0
        self._creation = Creation()
        self._max_rows = max_rows
        self._max_families = max_families
        self._max_table_families = max_table_families
        self._max_instances = max_instances
        self._sizes: Counter[str] = Counter()  # families by instance
        self._search = Search()

    @property
    def next_creation(self) -> int:
        """The creation number of the next new row; every existing row has a smaller one."""
        return self._creation.next

    @property
    def instances(self) -> Collection[str]:
        """The names of all nginx instances that have families, in the order of their first family."""
        return dict.fromkeys(key.instance for key in self.families)

    @property
    def requests(self) -> int:
        """The number of all counted requests."""
        families = [family for family in self.families.values() if family.shape.type == "requests"]
        return int(sum(row.numbers[0] for family in families for row in family.rows))

    def capture(self) -> TableState:
        """Return the current state. This is cheap: the rows' numbers are shared, not copied."""
        families = [family.capture() for family in self.families.values()]
        return TableState(
            self._max_rows,
            self._max_families,
            self._creation.next,
            self.lost_rows,
            self.mistyped_rows,
            families,
            self._max_instances,
            self.refused_rows,
            self.failed_rows,
            self.room.max_rows,
            self.room.max_bytes,
            self._max_table_families,
            self.room.scanned,
            self.evicted_instances,
            self.evicted_families,
        )

    @classmethod
    def restore(cls, state: TableState) -> "Table":
        """Return a table with the captured state."""
        room = Room(state.max_table_rows, state.max_table_bytes)
        room.scanned = state.scanned
        table = cls(state.max_rows, state.max_families, state.max_instances, state.max_table_families, room)
        table._creation.next = state.next_creation
        table.lost_rows, table.mistyped_rows = state.lost_rows, state.mistyped_rows
        table.refused_rows, table.failed_rows = state.refused_rows, state.failed_rows
        table.evicted_instances, table.evicted_families = state.evicted_instances, state.evicted_families
        for captured in state.families:
            family = table.families[captured.shape.key] = Family(captured.shape, table._creation, state.max_rows, room)
            family.restore(captured)
            table._sizes[captured.shape.instance] += 1
        return table

    def merge_in_steps(self, batches: Iterable[FamilyBatch], birth_ms: int, now: float) -> Steps[list[Failure]]:
        """Add one batch of a sender born at ``birth_ms`` (Unix milliseconds) that arrived at ``now`` (running time).

        A step adds the rows of one family. Consecutive entries of one family are one step: a page rendered between a
        reset and the rows that follow it would lack these rows. If a family changes its shape, its rows move to the new
        one in steps first.

        Return the failures, which only a bug can cause. A failure costs at most the rows of its family in this batch;
        they are counted in ``failed_rows``.
        """
        failures: list[Failure] = []
        if self.room.full and now - self.room.scanned >= SCAN_SECONDS:
            failures += self._make_room(now)
            yield
        for _, group in groupby(batches, key=lambda batch: batch.shape.key):
            for batch in group:
                failures += yield from self._try(batch, birth_ms, now)
            yield
        return failures

    def merge(self, batches: Iterable[FamilyBatch], birth_ms: int, now: float) -> list[Failure]:
        """Do the work of ``merge_in_steps`` in one go."""
        return finish(self.merge_in_steps(batches, birth_ms, now))

    def expire(self, key: FamilyKey, expiry: Expiry) -> None:
        """Forget the rows of a family that the expiry covers. A family without rows stays."""
        family = self.families.get(key)
        if family is not None:
            family.forget(set(expiry.covered(family.rows)))

    def expire_in_steps(self, keys: Iterable[FamilyKey], expiry: Expiry) -> Steps[None]:
        """Forget the rows of these families that the expiry covers, those of one family in each step."""
        for key in keys:
            self.expire(key, expiry)
            yield

    def _try(self, batch: FamilyBatch, birth_ms: int, now: float) -> Steps[Sequence[Failure]]:
        try:
            yield from self._merge(batch, birth_ms, now)
        except Exception as error:
            return (self._fail(batch.shape.key, len(batch.labels), error),)
        return ()

    def _fail(self, key: FamilyKey, rows: int, error: Exception) -> Failure:
        """Count the rows that a bug may have lost, and repair their family. Return the failure to report."""
        self.failed_rows += rows
        if (family := self.families.get(key)) is not None:
            with suppress(Exception):  # report the first error, not that of the repair
                family.repair()
        return Failure(key, rows, error)

    def _merge(self, batch: FamilyBatch, birth_ms: int, now: float) -> Steps[None]:
        family = self.families.get(batch.shape.key) or self._create(batch, now)
        if family is not None and family.shape.type != batch.shape.type:
            family = self._change_type(family, batch, birth_ms)
        if family is not None:
            family.used = now
            yield from family.follow(batch, birth_ms)
            family.merge(batch, birth_ms, now)

    def _make_room(self, now: float) -> Sequence[Failure]:
        """Evict the idle rows of one family: the largest that was not searched for them in the last minute."""
        self.room.scanned = now
        for family in sorted(self.families.values(), key=lambda family: -len(family.rows)):
            try:
                if family.scan(now):
                    break
            except Exception as error:
                return (self._fail(family.shape.key, 0, error),)
        return ()

    def _create(self, batch: FamilyBatch, now: float) -> Family | None:
        shape, rows = batch.shape, len(batch.labels)
        known = shape.instance in self._sizes
        if not known and len(self._sizes) >= self._max_instances and not self._evict_nginx(None, now):
            self.refused_rows += rows
            return None
        if not self._has_place(shape, now):
            self.lost_rows += rows
            return None
        self._sizes[shape.instance] += 1
        return self._begin(batch)

    def _has_place(self, shape: Shape, now: float) -> bool:
        """Return True if there is a place for one more family, after idle ones have given way if necessary."""
        most = _most(self._max_table_families, shape.custom)
        known = shape.instance in self._sizes
        while len(self.families) >= most and self._evict_nginx(shape.instance if known else None, now):
            pass
        full = self._sizes[shape.instance] >= _most(self._max_families, shape.custom)
        if not full and len(self.families) < most:
            return True
        return self._evict_family(shape.custom, shape.instance if full else None, now)

    def _evict_nginx(self, own: str | None, now: float) -> bool:
        """Remove the families of the nginx that is idle longest. Return False if none is idle. Arguments as in
        ``Search.idle_nginx``.
        """
        evicted = self._search.idle_nginx(self.families, own, now)
        if evicted is None:
            return False
        for key in [key for key in self.families if key.instance == evicted]:
            self._remove(key)
        self.evicted_instances += 1
        return True

    def _evict_family(self, custom: bool, own: str | None, now: float) -> bool:
        """Remove the family that is idle longest. Return False if none is idle. Arguments as in
        ``Search.idle_family``.
        """
        evicted = self._search.idle_family(self.families, custom, own, now)
        if evicted is None:
            return False
        self._remove(evicted)
        self.evicted_families += 1
        return True

    def _remove(self, key: FamilyKey) -> None:
        self.families.pop(key).leave()
        self._sizes[key.instance] -= 1
        if not self._sizes[key.instance]:
            del self._sizes[key.instance]

    def _change_type(self, family: Family, batch: FamilyBatch, birth_ms: int) -> Family | None:
        if batch.inherited or birth_ms <= family.birth_ms:
            self.mistyped_rows += len(batch.labels)
            return None
        family.leave()
        return self._begin(batch)

    def _begin(self, batch: FamilyBatch) -> Family:
        family = self.families[batch.shape.key] = Family(batch.shape, self._creation, self._max_rows, self.room)
        family.help = batch.help
        return family


def _most(families: int, custom: bool) -> int:
    """Return the number of families at which no more of this kind are admitted. An eighth is for the built-in ones."""
    return families - families // 8 if custom else families

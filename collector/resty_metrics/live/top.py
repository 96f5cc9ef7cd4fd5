"""The busiest rows of the last minute or two, compared with a baseline from their beginning.

Rules:
- Each minute the counts of all rows are noted, and kept for two minutes; of a table with more than MAX_ROWS rows only
  the first are noted.
- A row is identified by its creation number, which no other row of the table ever gets.
- ``now`` is seconds of a monotonic clock.
"""

from collections.abc import Iterable, Sequence
from heapq import nlargest

from resty_metrics.live.facts import Row, Top
from resty_metrics.page.instances import label_names, labels_of
from resty_metrics.shapes.shape import Labels
from resty_metrics.shapes.sums import reader
from resty_metrics.table.families import Family

NOTE_SECONDS = 60.0
MAX_ROWS = 20_000
SHOWN = 12


class Baselines:
    """The counts of the rows a minute ago and before."""

    def __init__(self, most: int = MAX_ROWS) -> None:
        self._most = most
        self._older: tuple[float, dict[int, float]] | None = None
        self._newer: tuple[float, dict[int, float]] | None = None

    def observe(self, families: Iterable[Family], now: float) -> None:
        """Note the counts of the rows, if it is time to do so."""
        if self._newer is None or now - self._newer[0] >= NOTE_SECONDS:
            self._older, self._newer = self._newer, (now, dict(_counts(families, self._most)))

    def top(self, families: Iterable[Family], now: float) -> Top:
        """Return the rows that grew most since the older baseline."""
        families = tuple(families)
        total = sum(len(family.rows) for family in families)
        began, before = self._older or self._newer or (now, {})
        if now <= began:
            return Top((), None, min(total, self._most), total)
        counts = dict(_counts(families, self._most))
        busiest = nlargest(SHOWN, ((count - before.get(key, 0), key) for key, count in counts.items()))
        grown = {key: by for by, key in busiest if by > 0}
        seconds = now - began
        rows = {
            row.created: Row(_labels(family, row.labels), grown[row.created] / seconds)
            for family in families
            for row in family.rows
            if row.created in grown
        }
        return Top([rows[key] for key in grown], seconds, len(counts), total)


def _labels(family: Family, values: Labels) -> Sequence[tuple[str, str]]:
    labels = tuple(zip(label_names(family.shape.labels, family.shape.instance), values, strict=True))
    return (*labels_of(family.shape.instance).items(), *labels)


def _counts(families: Iterable[Family], room: int) -> Iterable[tuple[int, float]]:
    """Yield requests by row, of no more rows than there is room for."""
    for family in families:
        numbers = reader(family.shape.width)
        for row in family.rows[:room]:
            yield row.created, numbers(row.sums)[0]
        room -= min(room, len(family.rows))

"""Overflow at the cap of a family: the labels that a row gives up, and the rows that are evicted.

Rules:
- A label set that finds no room gives up the user's labels, which become ``other``; a row of upstream attempts also
  gives up its peer. A family that has none of these labels gives up its first label. The worker does the same
  (lua/resty/metrics/overflow.lua).
- The label ``scope`` is never given up: rows of two scopes share one metric name and would become one series.
- Rows that were idle for an hour are evicted, so that one flood of values does not fill a family for ever. A row that
  has no label left to give up is evicted only if evicting the others was not enough. It then gives up all labels.
- Of rows with very many buckets only some are evicted at once: adding up all of them would block the loop for long.
"""

from collections.abc import Callable, Iterable
from itertools import islice

from resty_metrics.shapes.labels import OTHER
from resty_metrics.shapes.shape import SCOPE_LABEL, Labels, Shape
from resty_metrics.table.rows import Row

IDLE_SECONDS = 3600.0
SCAN_SECONDS = 60.0
EVICTED_NUMBERS = 500_000  # in all rows that are evicted at once


def give_up(shape: Shape, labels: Labels) -> Labels:
    """Return the label set of the overflow row for this one, or the same label set if nothing is left to give up."""
    first, last = shape.given_up
    return (*labels[:first], *(OTHER,) * (last - first), *labels[last:])


def give_up_all(shape: Shape, labels: Labels) -> Labels:
    """Return the label set with every label given up that may be: that of the family's last row."""
    kept = SCOPE_LABEL if shape.scope else None
    return tuple([label if name == kept else OTHER for name, label in zip(shape.labels, labels, strict=True)])


GiveUp = Callable[[Shape, Labels], Labels]
LEVELS: tuple[GiveUp, ...] = (give_up, give_up_all)


def idle(shape: Shape, rows: Iterable[Row], now: float, give: GiveUp = give_up) -> dict[Row, Labels]:
    """Return the idle rows to evict, each with the label set whose row takes its numbers.

    A row that takes the numbers of others stays. ``give`` decides which labels a row gives up.
    """
    candidates = {row: give(shape, row.labels) for row in rows if now - row.used >= IDLE_SECONDS}
    taking = set(candidates.values())
    going = ((row, labels) for row, labels in candidates.items() if row.labels not in taking)
    return dict(islice(going, EVICTED_NUMBERS // shape.width))

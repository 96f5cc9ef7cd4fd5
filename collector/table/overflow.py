"""What happens at the cap of a family: which labels a row gives up, and which rows make room.

Rules:
- A label set that finds no room gives up the user's labels (``other``); where there are none left to give, the server.
- The label ``scope`` is never given up: rows of two scopes stand under one name, and would become one series.
- Rows that were idle for an hour make room: so one flood of values does not fill a family for ever. A row into which
  others would go, or which has nothing left to give, stays.
"""

from collections.abc import Iterable

from collector.table.labels import OTHER
from collector.table.rows import Row
from collector.table.shapes import REQUEST_LABELS, Labels, Shape

IDLE_SECONDS = 3600.0
SCAN_SECONDS = 60.0


def give_up(shape: Shape, labels: Labels) -> Labels:
    """The label set of the overflow row for this one; itself where it has nothing left to give."""
    ours = shape.built_in_labels
    kept = labels[:ours] + (OTHER,) * (len(labels) - ours)
    return (OTHER, *labels[1:]) if kept == labels and labels else kept


def give_up_all(shape: Shape, labels: Labels) -> Labels:
    """The label set of the last row of all."""
    place = len(REQUEST_LABELS) if shape.scope else None
    return tuple([label if index == place else OTHER for index, label in enumerate(labels)])


def idle(shape: Shape, rows: Iterable[Row], now: float) -> dict[Row, Labels]:
    """The rows that are to make room, each with the label set that it gives its numbers to."""
    candidates = {row: give_up(shape, row.labels) for row in rows if now - row.used >= IDLE_SECONDS}
    taking = set(candidates.values())
    return {row: labels for row, labels in candidates.items() if row.labels not in taking}

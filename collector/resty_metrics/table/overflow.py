"""What happens at the cap of a family: which labels a row gives up, and which rows make room.

Rules:
- A label set that finds no room gives up the user's labels (``other``), and of upstream attempts the peer; where
  a family has none of these, its first label. The worker does the same (lua/resty/metrics/overflow.lua).
- The label ``scope`` is never given up: rows of two scopes stand under one name, and would become one series.
- Nor is the status of upgraded connections (101): their durations would stand among those of requests.
- Rows that were idle for an hour make room: so one flood of values does not fill a family for ever. What has nothing
  left to give makes room only where that of the others was not enough, and gives up everything then.
- Of rows with very many buckets only some make room at once: to add up all of them would hold the loop for long.
"""

from collections.abc import Callable, Iterable
from itertools import islice

from resty_metrics.shapes.labels import OTHER
from resty_metrics.shapes.shape import REQUEST_LABELS, Labels, Shape
from resty_metrics.table.rows import Row

UPGRADED = "101"
_STATUS = REQUEST_LABELS.index("status")
IDLE_SECONDS = 3600.0
SCAN_SECONDS = 60.0
EVICTED_NUMBERS = 500_000  # of rows that make room at once


def give_up(shape: Shape, labels: Labels) -> Labels:
    """The label set of the overflow row for this one; itself where it has nothing left to give."""
    first, last = shape.given_up
    return (*labels[:first], *(OTHER,) * (last - first), *labels[last:])


def give_up_all(shape: Shape, labels: Labels) -> Labels:
    """The label set of the last row of all."""
    kept = {len(REQUEST_LABELS)} if shape.scope else set()
    if shape.type == "requests" and labels[_STATUS] == UPGRADED:
        kept.add(_STATUS)
    return tuple([label if index in kept else OTHER for index, label in enumerate(labels)])


GiveUp = Callable[[Shape, Labels], Labels]
LEVELS: tuple[GiveUp, ...] = (give_up, give_up_all)


def idle(shape: Shape, rows: Iterable[Row], now: float, give: GiveUp = give_up) -> dict[Row, Labels]:
    """The rows that are to make room, each with the label set that takes its numbers; one that takes others stays."""
    candidates = {row: give(shape, row.labels) for row in rows if now - row.used >= IDLE_SECONDS}
    taking = set(candidates.values())
    going = ((row, labels) for row, labels in candidates.items() if row.labels not in taking)
    return dict(islice(going, EVICTED_NUMBERS // shape.width))

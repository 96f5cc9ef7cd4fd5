"""The rows of the table as metric families: requests of nginx, what workers count, and the user's own.

A row's lines are rendered once and kept with the row until it changes.

Rules:
- A page is of one moment: ``capture`` takes what the table's rows are, and ``in_steps`` renders that, however the table
  goes on between two steps (docs/decisions/0013-a-page-in-steps.md).
- A row that is new to a scraper is shown at 0 in all of its samples, so that its histogram stays consistent.
- The scopes of requests are families of their own in the table and stand under one name on the page.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from collector.page.exposition import MetricFamily, MetricType
from collector.page.templates import DURATION, REQUEST_BYTES, RESPONSE_BYTES, RESPONSES, Lines, template
from collector.table.families import Family
from collector.table.rows import Row
from collector.table.shapes import Labels, Numbers, Shape
from collector.table.table import Table

STEP_ROWS = 500  # some milliseconds where all of them have changed

Metric = tuple[str, MetricType, str]
_REQUEST_METRICS: tuple[Metric, ...] = (
    (RESPONSES, "counter", "Responses sent to clients, by the final status of the request."),
    (DURATION, "histogram", "Time from a request's first byte to its log entry."),
    (REQUEST_BYTES, "counter", "Bytes received from clients: request line, headers and body."),
    (RESPONSE_BYTES, "counter", "Bytes sent to clients: headers and body."),
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A family at one moment. ``labels``, ``numbers`` and ``texts`` are those of ``rows``, one by one: a row that
    changes gets new ones, so these stay as they were. Rows from the place ``known`` on are shown at 0.
    """

    shape: Shape
    metrics: Sequence[Metric]
    rows: Sequence[Row]
    labels: Sequence[Labels]
    numbers: Sequence[Numbers]
    texts: Sequence[Lines | None]
    known: int


def capture(table: Table, shown_before: int | None = None) -> list[Snapshot]:
    """The table as it is now. Rows created from ``shown_before`` on are to be shown at 0; None: all as they are."""
    return [_capture_family(family, shown_before) for family in table.families.values()]


def _capture_family(family: Family, shown_before: int | None) -> Snapshot:
    rows = family.rows[:]
    known = len(rows)
    if shown_before is not None:
        known = bisect_left(rows, shown_before, key=attrgetter("created"))
    return Snapshot(
        family.shape,
        _metrics(family),
        rows,
        [row.labels for row in rows],
        [row.numbers for row in rows],
        [row.text for row in rows],
        known,
    )


def in_steps(snapshots: Iterable[Snapshot]) -> Iterator[list[MetricFamily]]:
    """Every family of the snapshots, in steps of at most STEP_ROWS rows; what a step has finished, mostly nothing."""
    for snapshot in snapshots:
        columns: list[list[bytes]] = [[] for _ in snapshot.metrics]
        for first in range(0, len(snapshot.rows), STEP_ROWS):
            texts = _texts(snapshot, range(first, min(first + STEP_ROWS, len(snapshot.rows))))
            for column, lines in zip(columns, zip(*texts, strict=True), strict=True):
                column.append(b"".join(lines))
            yield []
        yield [
            MetricFamily(name, kind, text, lines, snapshot.shape.custom)
            for (name, kind, text), lines in zip(snapshot.metrics, columns, strict=True)
        ]


def render(table: Table, shown_before: int | None = None) -> list[MetricFamily]:
    """Every family of the table, in one go."""
    return [family for step in in_steps(capture(table, shown_before)) for family in step]


def _metrics(family: Family) -> tuple[Metric, ...]:
    name, kind = family.shape.name, family.shape.type
    if kind == "requests":
        return _REQUEST_METRICS
    return ((name, kind, family.help or f"{kind.capitalize()} {name} of the nginx configuration."),)


def _texts(snapshot: Snapshot, places: range) -> list[Lines]:
    make, known = template(snapshot.shape).render, snapshot.known
    zeros = (0,) * snapshot.shape.width
    texts = []
    for place in places:
        text = snapshot.texts[place] if place < known else make(snapshot.labels[place], zeros)
        if text is None:
            row, numbers = snapshot.rows[place], snapshot.numbers[place]
            text = make(snapshot.labels[place], numbers)
            if row.numbers is numbers:
                row.text = text
        texts.append(text)
    return texts

"""The rows of the table as metric families: requests of nginx, what workers count, and the user's own.

Rows are rendered in blocks (page/blocks.py), and their text is kept until one of them changes.

Rules:
- A page is of one moment: ``capture`` takes what the table's rows are, and ``in_steps`` renders that, however the table
  goes on between two steps (docs/decisions/0018-a-page-in-steps.md).
- A row that is new to a scraper is shown at 0 in all of its samples, so that its histogram stays consistent.
- The scopes of requests are families of their own in the table and stand under one name on the page.
"""

from collections.abc import Iterable, Iterator

from collector.page.blocks import Snapshot, capture_family, render_blocks
from collector.page.exposition import MetricFamily, MetricType
from collector.page.templates import DURATION, REQUEST_BYTES, RESPONSE_BYTES, RESPONSES
from collector.table.shapes import Shape
from collector.table.table import Table

Metric = tuple[str, MetricType, str]
_REQUEST_METRICS: tuple[Metric, ...] = (
    (RESPONSES, "counter", "Responses sent to clients, by the final status of the request."),
    (DURATION, "histogram", "Time from a request's first byte to its log entry."),
    (REQUEST_BYTES, "counter", "Bytes received from clients: request line, headers and body."),
    (RESPONSE_BYTES, "counter", "Bytes sent to clients: headers and body."),
)


def capture(table: Table, shown_before: int | None = None) -> list[Snapshot]:
    """The table as it is now. Rows created from ``shown_before`` on are to be shown at 0; None: all as they are."""
    return [capture_family(family, shown_before) for family in table.families.values()]


def in_steps(snapshots: Iterable[Snapshot]) -> Iterator[list[MetricFamily]]:
    """Every family of the snapshots, a block of rows in each step; what a step has finished, mostly nothing."""
    for snapshot in snapshots:
        metrics = _metrics(snapshot.shape, snapshot.help)
        columns: list[list[bytes]] = [[] for _ in metrics]
        for lines in render_blocks(snapshot):
            for column, one in zip(columns, lines, strict=True):
                column.append(one)
            yield []
        yield [
            MetricFamily(name, kind, text, column, snapshot.shape.custom, snapshot.shape.instance)
            for (name, kind, text), column in zip(metrics, columns, strict=True)
        ]


def render(table: Table, shown_before: int | None = None) -> list[MetricFamily]:
    """Every family of the table, in one go."""
    return [family for step in in_steps(capture(table, shown_before)) for family in step]


def _metrics(shape: Shape, text: str) -> tuple[Metric, ...]:
    if shape.type == "requests":
        return _REQUEST_METRICS
    return ((shape.name, shape.type, text or f"{shape.type.capitalize()} {shape.name} of the nginx configuration."),)

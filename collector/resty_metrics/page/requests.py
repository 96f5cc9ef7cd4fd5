"""The rows of the table as metric families: requests of nginx, counts of workers, and the user's own metrics.

Rows are rendered in blocks (page/blocks.py), and their text is kept until one of them changes.

Rules:
- A page shows one moment: ``capture`` captures the table's rows, and ``in_steps`` renders the capture, however the
  table changes between two steps (docs/decisions/0018-a-page-in-steps.md).
- A row that is new to a scraper is shown at 0 in all of its samples, so that its histogram stays consistent.
- The scopes of requests are separate families in the table, and share one name on the page.
- A histogram is ``signed`` if any histogram of its name is: on the page all of them are one.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from resty_metrics.exposition.text import PARTS, MetricFamily, MetricType
from resty_metrics.page import instances
from resty_metrics.page.blocks import Snapshot, capture_family, render_blocks
from resty_metrics.page.templates import REQUEST_BYTES, RESPONSE_BYTES, RESPONSES, by_sample, count_samples
from resty_metrics.table.table import Table

Metric = tuple[str, MetricType, str]
_REQUEST_METRICS: tuple[Metric, ...] = (
    (RESPONSES, "counter", "Responses sent to clients, by the final status of the request."),
    (REQUEST_BYTES, "counter", "Bytes received from clients: request line, headers and body."),
    (RESPONSE_BYTES, "counter", "Bytes sent to clients: headers and body."),
)


def capture(table: Table, shown_before: int | None = None) -> list[Snapshot]:
    """Capture the table as it is now.

    Rows created from ``shown_before`` on will be shown at 0; None: all as they are.
    """
    signed = {key.name for key, family in table.families.items() if family.signed}
    return [
        capture_family(family, shown_before, family.shape.type == "histogram" and key.name in signed)
        for key, family in table.families.items()
    ]


def in_steps(snapshots: Iterable[Snapshot]) -> Iterator[list[MetricFamily]]:
    """Render every family, a block of rows in each step. Yield the families that a step finished, mostly none."""
    for snapshot in snapshots:
        names = PARTS if snapshot.signed else _metrics(snapshot)
        columns: list[list[bytes]] = [[] for _ in names]
        for block in render_blocks(snapshot):
            lines = by_sample(block[0], snapshot.shape.buckets) if snapshot.signed else block
            for column, chunk in zip(columns, lines, strict=True):
                column.append(chunk)
            yield []
        yield _families(snapshot, columns)


def _families(snapshot: Snapshot, columns: Sequence[Sequence[bytes]]) -> list[MetricFamily]:
    """Build the families of a snapshot.

    ``columns``: the lines of each metric, or of each sample of a signed histogram.
    """
    shape = snapshot.shape
    parts = tuple(columns) if snapshot.signed else ()
    texts = [list(chain.from_iterable(columns))] if snapshot.signed else columns
    sent = shape.type != "requests" and not shape.custom
    labels = instances.label_set(shape.labels, shape.instance, shape.scope)
    samples = count_samples(shape, len(snapshot.rows))
    return [
        MetricFamily(name, kind, text, lines, shape.custom, shape.instance, sent, labels, parts, count)
        for (name, kind, text), lines, count in zip(_metrics(snapshot), texts, samples, strict=True)
    ]


def render(table: Table, shown_before: int | None = None) -> list[MetricFamily]:
    """Render every family of the table at once."""
    return [family for step in in_steps(capture(table, shown_before)) for family in step]


def _metrics(snapshot: Snapshot) -> tuple[Metric, ...]:
    shape = snapshot.shape
    if shape.type == "requests":
        return _REQUEST_METRICS
    text = snapshot.help or f"{shape.type.capitalize()} {shape.name} of the nginx configuration."
    return ((shape.name, shape.type, text),)

"""The rows of the table as metric families: requests of nginx, what workers count, and the user's own.

A row's lines are rendered once and kept with the row until it changes.

Rules:
- A row that is new to a scraper is shown at 0 in all of its samples, so that its histogram stays consistent.
- The scopes of requests are families of their own in the table and stand under one name on the page.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from collector.page.exposition import MetricFamily, MetricType
from collector.page.templates import DURATION, REQUEST_BYTES, RESPONSE_BYTES, RESPONSES, Lines, template
from collector.table.families import Family
from collector.table.table import Table

Metric = tuple[str, MetricType, str]
_REQUEST_METRICS: tuple[Metric, ...] = (
    (RESPONSES, "counter", "Responses sent to clients, by the final status of the request."),
    (DURATION, "histogram", "Time from a request's first byte to its log entry."),
    (REQUEST_BYTES, "counter", "Bytes received from clients: request line, headers and body."),
    (RESPONSE_BYTES, "counter", "Bytes sent to clients: headers and body."),
)


def render(table: Table, shown_before: int | None = None) -> list[MetricFamily]:
    """Every family of the table. Rows created from ``shown_before`` on are shown at 0; None: all as they are."""
    return [metric for family in table.families.values() for metric in _render_family(family, shown_before)]


def _render_family(family: Family, shown_before: int | None) -> list[MetricFamily]:
    texts = _texts(family, shown_before)
    chunks: Sequence[Sequence[bytes]] = list(zip(*texts, strict=True)) or [()] * len(_metrics(family))
    return [
        MetricFamily(name, kind, text, lines, family.shape.custom, family.shape.instance)
        for (name, kind, text), lines in zip(_metrics(family), chunks, strict=True)
    ]


def _metrics(family: Family) -> tuple[Metric, ...]:
    name, kind = family.shape.name, family.shape.type
    if kind == "requests":
        return _REQUEST_METRICS
    return ((name, kind, family.help or f"{kind.capitalize()} {name} of the nginx configuration."),)


def _texts(family: Family, shown_before: int | None) -> list[Lines]:
    make = template(family.shape).render
    rows = family.rows
    known = len(rows)
    if shown_before is not None:
        known = bisect_left(rows, shown_before, key=attrgetter("created"))
    texts = []
    for row in rows[:known]:
        text = row.text
        if text is None:
            text = row.text = make(row, row.numbers)
        texts.append(text)
    zeros = (0,) * family.shape.width
    texts.extend([make(row, zeros) for row in rows[known:]])
    return texts

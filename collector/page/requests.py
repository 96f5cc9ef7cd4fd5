"""The rows of the table as metric families: requests of nginx, and the user's own counters.

A row's lines are rendered once and kept with the row until it changes; a changed row costs one ``%`` on a template
that all rows of its shape share.

Rules:
- Milliseconds become seconds here, buckets become cumulative here.
- ``le`` and numbers are written the same in every format, as prometheus-client writes them.
- A row that is new to a scraper is shown at 0 in all of its samples, so that its histogram stays consistent.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from operator import attrgetter

from prometheus_client.utils import floatToGoString

from collector.page.exposition import MetricFamily, MetricType, escape_label
from collector.table.families import Family, Row
from collector.table.shapes import Labels, Numbers, Shape
from collector.table.table import Table

RESPONSES = "nginx_http_responses_total"
DURATION = "nginx_http_request_duration_seconds"
REQUEST_BYTES = "nginx_http_request_bytes_total"
RESPONSE_BYTES = "nginx_http_response_bytes_total"

# Where the labels go in a line; no metric and no label name holds it.
_LABELS = b"\x01"

Metric = tuple[str, MetricType, str]
_REQUEST_METRICS: tuple[Metric, ...] = (
    (RESPONSES, "counter", "Responses sent to clients, by the final status of the request."),
    (DURATION, "histogram", "Time from a request's first byte to its log entry."),
    (REQUEST_BYTES, "counter", "Bytes received from clients: request line, headers and body."),
    (RESPONSE_BYTES, "counter", "Bytes sent to clients: headers and body."),
)


@dataclass(frozen=True, slots=True)
class _Template:
    """The lines of a row of one shape, one chunk for each metric its family feeds.

    A chunk is what stands between the copies of the labels; ``%a`` is a number (bytes know no other conversion that
    suits int and float).
    """

    shape: Shape
    labels: str
    chunks: tuple[tuple[bytes, ...], ...]

    def render(self, row: Row, numbers: Numbers) -> tuple[bytes, ...]:
        """The lines of a row with these numbers in place of its own."""
        labels = self._label_block(row.labels)
        if self.shape.type == "counter":
            (counter,) = self.chunks
            return (labels.join(counter) % tuple(numbers),)
        *buckets, duration_ms, request_bytes, response_bytes = numbers
        cumulative = list(accumulate(buckets))
        count = cumulative[-1]
        responses, duration, received, sent = self.chunks
        return (
            labels.join(responses) % count,
            labels.join(duration) % (*cumulative, duration_ms / 1000, count),
            labels.join(received) % request_bytes,
            labels.join(sent) % response_bytes,
        )

    def _label_block(self, labels: Labels) -> bytes:
        """The labels of a row as they stand in a line, with ``%`` doubled for the formatting that follows."""
        every = "".join(labels)
        if '"' in every or "\\" in every or "\n" in every or "%" in every:
            labels = tuple([escape_label(label).replace("%", "%%") for label in labels])
        return (self.labels % labels).encode()


def _le(bound_ms: int) -> str:
    text: str = floatToGoString(bound_ms / 1000)  # type: ignore[no-untyped-call]
    return text


@lru_cache(maxsize=64)
def _template(shape: Shape) -> _Template:
    mark = _LABELS.decode()
    block = f"{{{mark}}}" if shape.labels else ""
    chunks = [f"{shape.name}{block} %a\n"]
    if shape.bounds is not None:
        bounds = [*map(_le, shape.bounds), "+Inf"]
        histogram = "".join([f'{DURATION}_bucket{{{mark},le="{bound}"}} %a\n' for bound in bounds])
        chunks = [
            f"{RESPONSES}{block} %a\n",
            f"{histogram}{DURATION}_sum{block} %a\n{DURATION}_count{block} %a\n",
            f"{REQUEST_BYTES}{block} %a\n",
            f"{RESPONSE_BYTES}{block} %a\n",
        ]
    labels = ",".join([f'{name}="%s"' for name in shape.labels])
    return _Template(shape, labels, tuple([tuple(chunk.encode().split(_LABELS)) for chunk in chunks]))


def render(table: Table, shown_before: int | None = None) -> list[MetricFamily]:
    """Every family of the table. Rows created from ``shown_before`` on are shown at 0; None: all as they are."""
    return [metric for family in table.families.values() for metric in _render_family(family, shown_before)]


def _render_family(family: Family, shown_before: int | None) -> list[MetricFamily]:
    texts = _texts(family, shown_before)
    chunks: Sequence[Sequence[bytes]] = list(zip(*texts, strict=True)) or [()] * len(_metrics(family))
    return [
        MetricFamily(name, kind, text, lines)
        for (name, kind, text), lines in zip(_metrics(family), chunks, strict=True)
    ]


def _metrics(family: Family) -> tuple[Metric, ...]:
    if family.shape.type == "requests":
        return _REQUEST_METRICS
    return ((family.shape.name, "counter", family.help or f"Counter {family.shape.name} of the nginx configuration."),)


def _texts(family: Family, shown_before: int | None) -> list[tuple[bytes, ...]]:
    template = _template(family.shape)
    rows = family.rows
    known = len(rows)
    if shown_before is not None:
        known = bisect_left(rows, shown_before, key=attrgetter("created"))
    texts = []
    for row in rows[:known]:
        text = row.text
        if text is None:
            text = row.text = template.render(row, row.numbers)
        texts.append(text)
    zeros = (0,) * family.shape.width
    texts.extend([template.render(row, zeros) for row in rows[known:]])
    return texts

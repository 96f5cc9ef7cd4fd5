"""Sample rows like those of a busy site, as datagrams and as a table.

Each label set has a row of requests and a row of durations with the same labels: 21 numbers and 22 samples. With the
default labels of durations a site has fewer rows of durations. These are as many as one can choose, so that a figure
"per row" (of requests, with its durations) or "per sample" does not depend on the choice.
"""

import os
import random
from collections.abc import Iterator, Sequence

from resty_metrics.shapes.shape import (
    DURATION_SCALE,
    DURATIONS,
    HISTOGRAM_COLUMNS,
    REQUEST_COLUMNS,
    REQUEST_LABELS,
    REQUESTS,
    SCOPE_LABEL,
    Shape,
    family_batch,
)
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

BOUNDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000)
DURATION_NUMBERS = len(BOUNDS) + 1 + len(HISTOGRAM_COLUMNS)
NUMBERS = len(REQUEST_COLUMNS) + DURATION_NUMBERS
SAMPLES_PER_ROW = 22
ROWS_PER_BATCH = 400
BATCH_BYTES, ROW_BYTES = 50_000, 110  # ROW_BYTES: of the two rows of a label set, without their servers
FAMILY_ROWS = 10_000  # the cap of a family: more rows are more scopes

RawRow = list[str | int]


def make_rows(count: int, seed: int = 1, server: str = "www{}.example.com") -> list[RawRow]:
    """Make label values and the numbers of both rows: a count and two sums; 17 buckets, most of them small, a sum."""
    source = random.Random(seed)
    rows: list[RawRow] = []
    for number in range(count):
        requests = source.randrange(1, 2000)
        buckets = [0] * 17
        for _ in range(8):
            buckets[min(16, int(source.expovariate(0.3)))] += requests // 8 + 1
        labels = [server.format(number // 40), ("GET", "POST")[number % 2], str(200 + number // 2 % 20)]
        counted = [sum(buckets), requests * 500, requests * source.randrange(20000)]
        rows.append([*labels, *counted, *buckets, requests * source.randrange(40)])
    return rows


def scopes(rows: int) -> Iterator[tuple[str, int]]:
    """Yield (scope, number of its rows): no scope has more rows than a family may have."""
    for number, first in enumerate(range(0, rows, FAMILY_ROWS)):
        yield f"scope-{number}", min(FAMILY_ROWS, rows - first)


def shapes(scope: str) -> tuple[Shape, Shape]:
    """Return the shapes of requests and of their durations."""
    labels = (*REQUEST_LABELS, SCOPE_LABEL)
    requests = Shape(REQUESTS, "requests", labels, None, REQUEST_COLUMNS, scope=scope)
    return requests, Shape(DURATIONS, "histogram", labels, BOUNDS, HISTOGRAM_COLUMNS, DURATION_SCALE, scope)


def _of_both(scope: str, rows: Sequence[RawRow]) -> tuple[list[RawRow], list[RawRow]]:
    """Return the rows of requests and those of durations."""
    labels, numbers = len(REQUEST_LABELS), len(REQUEST_LABELS) + len(REQUEST_COLUMNS)
    requests: list[RawRow] = [[*row[:labels], scope, *row[labels:numbers]] for row in rows]
    return requests, [[*row[:labels], scope, *row[numbers:]] for row in rows]


def make_table(rows: int, server: str = "www{}.example.com") -> Table:
    table = Table()
    for scope, count in scopes(rows):
        both = _of_both(scope, make_rows(count, server=server))
        batches = [
            family_batch(shape, "", False, [tuple(row) for row in of_shape])
            for shape, of_shape in zip(shapes(scope), both, strict=True)
        ]
        table.merge(batches, 1, 0.0)
    return table


def _body(scope: str, rows: Sequence[RawRow]) -> dict[str, object]:
    requests, durations = (
        {
            "name": shape.name,
            "type": shape.type,
            "scope": scope,
            "labels": list(shape.labels),
            "columns": list(shape.columns),
            "rows": of_shape,
        }
        for shape, of_shape in zip(shapes(scope), _of_both(scope, rows), strict=True)
    )
    return {"families": [requests, durations | {"bounds": list(BOUNDS), "scale": DURATION_SCALE}]}


class Senders:
    """The workers that send the same rows again and again. ``datagrams`` returns the next datagrams of all of them."""

    def __init__(self, count: int, rows: int, server: str = "www{}.example.com") -> None:
        self.names = [os.urandom(16) for _ in range(count)]
        self._next = dict.fromkeys(self.names, 1)
        self._bodies = [
            _body(scope, chunk)
            for scope, number in scopes(rows)
            for chunk in _chunks(make_rows(number, server=server), _rows_per_batch(server))
        ]
        self.rows = rows

    def datagrams(self) -> list[bytes]:
        """Return datagrams with all rows once, distributed over the senders."""
        encoded = []
        for place, body in enumerate(self._bodies):
            name = self.names[place % len(self.names)]
            sequence = self._next[name]
            self._next[name] += 1
            encoded.append(write_datagram(Header(VERSION, Kind.BATCH, name, 1, sequence, sequence), body))
        return encoded


def _rows_per_batch(server: str) -> int:
    """Return the number of label sets that fit into a datagram."""
    return min(ROWS_PER_BATCH, BATCH_BYTES // (ROW_BYTES + 2 * len(server.format(0))))


def _chunks(rows: Sequence[RawRow], size: int) -> Iterator[Sequence[RawRow]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]

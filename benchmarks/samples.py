"""Sample rows like those of a busy site, as datagrams and as a table."""

import os
import random
from collections.abc import Iterator, Sequence

from resty_metrics.shapes.shape import REQUEST_COLUMNS, REQUEST_LABELS, REQUEST_SCALE, REQUESTS, Shape, family_batch
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

BOUNDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000)
NUMBERS = len(BOUNDS) + 1 + len(REQUEST_COLUMNS)
SAMPLES_PER_ROW = 22
ROWS_PER_BATCH = 500
BATCH_BYTES, ROW_BYTES = 50_000, 80  # ROW_BYTES: of a row without its server
FAMILY_ROWS = 10_000  # the cap of a family: more rows are more scopes

RawRow = list[str | int]


def make_rows(count: int, seed: int = 1, server: str = "www{}.example.com") -> list[RawRow]:
    """Make rows of label values and numbers: 17 buckets, most of them small, and three sums."""
    source = random.Random(seed)
    rows: list[RawRow] = []
    for number in range(count):
        requests = source.randrange(1, 2000)
        buckets = [0] * 17
        for _ in range(8):
            buckets[min(16, int(source.expovariate(0.3)))] += requests // 8 + 1
        labels = [server.format(number // 40), ("GET", "POST")[number % 2], str(200 + number // 2 % 20)]
        sums = [requests * source.randrange(40), requests * 500, requests * source.randrange(20000)]
        rows.append([*labels, *buckets, *sums])
    return rows


def scopes(rows: int) -> Iterator[tuple[str, int]]:
    """Yield (scope, number of its rows): no scope has more rows than a family may have."""
    for number, first in enumerate(range(0, rows, FAMILY_ROWS)):
        yield f"scope-{number}", min(FAMILY_ROWS, rows - first)


def shape(scope: str) -> Shape:
    return Shape(REQUESTS, "requests", (*REQUEST_LABELS, "scope"), BOUNDS, REQUEST_COLUMNS, REQUEST_SCALE, scope)


def make_table(rows: int, server: str = "www{}.example.com") -> Table:
    table = Table()
    for scope, count in scopes(rows):
        raw = [(*row[:3], scope, *row[3:]) for row in make_rows(count, server=server)]
        table.merge([family_batch(shape(scope), "", False, raw)], 1, 0.0)
    return table


def _body(scope: str, rows: Sequence[RawRow]) -> dict[str, object]:
    family = {
        "name": REQUESTS,
        "type": "requests",
        "scope": scope,
        "labels": [*REQUEST_LABELS, "scope"],
        "bounds": list(BOUNDS),
        "columns": list(REQUEST_COLUMNS),
        "rows": [[*row[:3], scope, *row[3:]] for row in rows],
    }
    return {"families": [family]}


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
    """Return the number of rows that fit into a datagram."""
    return min(ROWS_PER_BATCH, BATCH_BYTES // (ROW_BYTES + len(server.format(0))))


def _chunks(rows: Sequence[RawRow], size: int) -> Iterator[Sequence[RawRow]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]

"""A flood of label values: memory stays flat, what was known stays exact, the family opens again."""

import tracemalloc

import pytest
from resty_metrics.page.requests import render
from resty_metrics.shapes.shape import REQUEST_COLUMNS, REQUEST_LABELS, Shape, family_batch
from resty_metrics.table.families import MAX_ROWS
from resty_metrics.table.table import Table

SHAPE = Shape("http_requests", "requests", (*REQUEST_LABELS, "tenant"), None, REQUEST_COLUMNS)
VALUES = 1_000_000
PER_BATCH = 500
SECONDS_PER_BATCH = 10.0  # so the flood takes five and a half hours of running time
KNOWN = 200


def send(table: Table, tenants: list[str], now: float) -> None:
    rows = [("s", "GET", "200", tenant, 1, 3, 4) for tenant in tenants]
    table.merge([family_batch(SHAPE, "", False, rows)], 1, now)


@pytest.mark.slow
def test_a_million_values() -> None:
    table, known, peaks = Table(), [f"known {number}" for number in range(KNOWN)], []
    tracemalloc.start()
    for number in range(VALUES // PER_BATCH):
        now = number * SECONDS_PER_BATCH
        send(table, [f"{number}-{value}" for value in range(PER_BATCH)], now)
        send(table, known, now)
        if number % 100 == 99:
            render(table)
            peaks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    (family,) = table.families.values()
    counts = {row.labels[3]: row.numbers[0] for row in family.rows}
    assert {counts[tenant] for tenant in known} == {VALUES // PER_BATCH}
    assert table.requests == VALUES // PER_BATCH * (PER_BATCH + KNOWN)
    assert len(family.rows) <= MAX_ROWS * 1.1 + 1
    assert family.evicted >= 4 * (MAX_ROWS - KNOWN - 1)
    assert max(peaks) < 1.25 * peaks[0], peaks
    send(table, ["after"], VALUES // PER_BATCH * SECONDS_PER_BATCH + 3600.0)
    assert [row.numbers[0] for row in family.rows if row.labels[3] == "after"] == [1]

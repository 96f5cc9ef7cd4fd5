"""The page: CPU time per sample at 10,000 rows of 22 samples, against prometheus-client in the same run.

Run ``python benchmarks/page.py``. It prints, it never asserts; times are CPU times (``time.process_time``).
prometheus-client gets fewer rows, since its cost per sample does not depend on their number.
"""

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from collector.page import exposition
from collector.page.requests import render
from collector.table.rows import Row
from collector.table.shapes import REQUEST_COLUMNS, REQUEST_LABELS, REQUEST_SCALE, REQUESTS, FamilyBatch, Shape
from collector.table.table import Table

BOUNDS = (5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000)
SHAPE = Shape(REQUESTS, "requests", REQUEST_LABELS, BOUNDS, REQUEST_COLUMNS, REQUEST_SCALE)
ROWS = 10_000
REFERENCE_ROWS = 500
SAMPLES_PER_ROW = 22
ROUNDS = 7


def make_table() -> Table:
    table = Table()
    keys = [(f"www{row // 40}.example.com", ("GET", "POST")[row % 2], str(200 + row // 2 % 20)) for row in range(ROWS)]
    numbers = [
        (*[row % 97 * 3**column % 1000 for column in range(17)], row * 7, row * 500, row * 9999) for row in range(ROWS)
    ]
    table.merge([FamilyBatch(SHAPE, "", False, [(*key, *row) for key, row in zip(keys, numbers, strict=True)])], 1, 0.0)
    return table


class Reference(Collector):
    """The same samples, as prometheus-client's custom collectors are written."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        responses = CounterMetricFamily("nginx_http_responses", "Responses.", labels=REQUEST_LABELS)
        duration = HistogramMetricFamily("nginx_http_request_duration_seconds", "Duration.", labels=REQUEST_LABELS)
        received = CounterMetricFamily("nginx_http_request_bytes", "Received.", labels=REQUEST_LABELS)
        sent = CounterMetricFamily("nginx_http_response_bytes", "Sent.", labels=REQUEST_LABELS)
        bounds = [*(str(bound / 1000) for bound in BOUNDS), "+Inf"]
        for row in self._rows:
            count, buckets = 0.0, []
            for bound, number in zip(bounds, row.numbers, strict=False):
                count += number
                buckets.append((bound, count))
            responses.add_metric(row.labels, count)
            duration.add_metric(row.labels, buckets, row.numbers[17] / 1000)
            received.add_metric(row.labels, row.numbers[18])
            sent.add_metric(row.labels, row.numbers[19])
        yield from (responses, duration, received, sent)


def cpu_per_sample(rows: int, work: Callable[[], object], prepare: Callable[[], object] = lambda: None) -> float:
    """The best round's CPU seconds per sample."""
    best = float("inf")
    for _ in range(ROUNDS):
        prepare()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best / rows / SAMPLES_PER_ROW


def main() -> None:
    table = make_table()
    rows = table.families[SHAPE.key].rows

    def change() -> None:
        for row in rows:
            row.text = None

    def page() -> bytes:
        return exposition.render(render(table), openmetrics=False)

    changed = cpu_per_sample(ROWS, page, change)
    unchanged = cpu_per_sample(ROWS, page)
    registry = CollectorRegistry()
    registry.register(Reference(rows[:REFERENCE_ROWS]))
    reference = cpu_per_sample(REFERENCE_ROWS, lambda: generate_latest(registry))
    print(f"page of {ROWS} rows, {ROWS * SAMPLES_PER_ROW} samples, {len(page()) / 1e6:.1f} MB")
    print(f"prometheus-client {reference * 1e6:7.3f} us per sample")
    print(f"all rows changed  {changed * 1e6:7.3f} us per sample   1/{reference / changed:.0f}")
    print(f"no row changed    {unchanged * 1e6:7.3f} us per sample   1/{reference / unchanged:.0f}")


if __name__ == "__main__":
    main()

"""(d) The page: CPU per sample with all rows changed, one in a hundred, or none, plain and gzip; and the delay of
answers to workers during a scrape.

The reference is prometheus-client's ``generate_latest`` with the same samples. It gets fewer rows, since its cost per
sample does not depend on their number. The pieces of the page are not joined: they are sent one by one.
"""

import gc
import os
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector as Registered
from resty_metrics.exposition import text as exposition
from resty_metrics.page import requests
from resty_metrics.page.scrape import pack
from resty_metrics.process.tuning import GC_THRESHOLD
from resty_metrics.shapes.shape import REQUEST_LABELS
from resty_metrics.table.rows import Row
from resty_metrics.table.table import Table
from support.collector import Collector
from support.nginx import shared_directory

from benchmarks import cpu
from benchmarks.figures import Figure, Reach
from benchmarks.merge import Process
from benchmarks.rounds import Series, Work, measure, spread
from benchmarks.samples import BOUNDS, SAMPLES_PER_ROW, make_table
from benchmarks.scale import Scale

SUBJECT = "page"
CLIENT, CLIENT_ROWS = "prometheus-client", 500
SIZES = (1_000, 10_000, 100_000)
CHANGED = {"all changed": 1, "1 % changed": 100, "none changed": 0}
REACH = {"all changed": 0.35, "none changed": 0.07}
REACH_ROWS = 10_000
STALL_MILLISECONDS = 100

Wait = tuple[float, float]  # seconds, and seconds of the collector's CPU in them


class Reference(Registered):
    """The reference: a custom collector of prometheus-client that yields the same samples."""

    def __init__(self, requests: Sequence[Row], durations: Sequence[Row]) -> None:
        self._requests, self._durations = requests, durations

    def collect(self) -> Iterator[Metric]:
        names = (*REQUEST_LABELS, "scope")
        responses = CounterMetricFamily("nginx_http_responses", "Responses.", labels=names)
        duration = HistogramMetricFamily("nginx_http_request_duration_seconds", "Duration.", labels=names)
        received = CounterMetricFamily("nginx_http_request_bytes", "Received.", labels=names)
        sent = CounterMetricFamily("nginx_http_response_bytes", "Sent.", labels=names)
        bounds = [*(str(bound / 1000) for bound in BOUNDS), "+Inf"]
        for row in self._requests:
            count, request_bytes, response_bytes = row.numbers
            responses.add_metric(row.labels, count)
            received.add_metric(row.labels, request_bytes)
            sent.add_metric(row.labels, response_bytes)
        for row in self._durations:
            *numbers, seconds = row.numbers
            cumulative = zip(bounds, accumulate(numbers), strict=True)
            duration.add_metric(row.labels, list(cumulative), seconds / 1000)
        yield from (responses, duration, received, sent)


def client_cost() -> Work:
    """Return work that measures prometheus-client, in CPU seconds per sample."""
    counted, timed = make_table(CLIENT_ROWS).families.values()
    registry = CollectorRegistry()
    registry.register(Reference(counted.rows, timed.rows))
    return lambda: cpu.of(partial(generate_latest, registry)) / CLIENT_ROWS / SAMPLES_PER_ROW


def page_cost(table: Table, stride: int, compressed: bool = False) -> float:
    """Return the CPU seconds per sample of a page after every ``stride``-th row has changed; 0: none has."""
    rows = [row for family in table.families.values() for row in family.rows]
    for row in rows[::stride] if stride else ():
        row.kept = False
    return cpu.of(partial(_page, table, compressed)) / _label_sets(table) / SAMPLES_PER_ROW


def _label_sets(table: Table) -> int:
    return sum(len(family.rows) for family in table.families.values() if family.shape.type == "requests")


def _page(table: Table, compressed: bool) -> None:
    body = exposition.pieces(requests.render(table), openmetrics=False)
    if compressed:
        pack(body)


def _figure(rows: int, name: str, measured: Series) -> Figure:
    reach = REACH.get(name) if rows == REACH_ROWS else None
    return Figure(
        SUBJECT,
        f"{rows:,} rows, {name}",
        "us per sample",
        measured.cost.scaled(1e6),
        len(measured.costs),
        (CLIENT, measured.reference.middle * 1e6, measured.ratio),
        None if reach is None else Reach(reach),
    )


def _costs(scale: Scale) -> Iterator[Figure]:
    client = client_cost()
    for rows in (size for size in SIZES if size <= scale.largest):
        table = make_table(rows)
        works: dict[str, Work] = {CLIENT: client, f"{CLIENT}, once more": client}
        works |= {name: partial(page_cost, table, stride) for name, stride in CHANGED.items()}
        works |= {f"{name}, gzip": partial(page_cost, table, stride, True) for name, stride in CHANGED.items()}
        page_cost(table, 1)
        measured = measure(works, CLIENT, scale.rounds, scale.within(f"{SUBJECT}, {rows:,} rows"))
        yield from (_figure(rows, name, result) for name, result in measured.items())


def _step_costs(table: Table) -> Iterator[float]:
    """Yield the CPU seconds of each step of a page on which every row has changed.

    The loop does nothing else during a step.
    """
    page_cost(table, 0)
    for family in table.families.values():
        for row in family.rows:
            row.kept = False
    began = time.thread_time()
    steps = requests.in_steps(requests.capture(table))
    for _ in steps:
        yield time.thread_time() - began
        began = time.thread_time()


def _steps(scale: Scale) -> Figure:
    table = make_table(scale.largest)
    longest = [max(_step_costs(table)) * 1e3 for _ in range(scale.rounds)]
    title = f"{scale.largest:,} rows, all changed: longest step"
    return Figure(SUBJECT, title, "ms of CPU", spread(longest), scale.rounds, reach=Reach(STALL_MILLISECONDS))


def _stall(scale: Scale) -> Iterator[Figure]:
    """Measure the longest wait of a worker for its answer, without a scrape and during one.

    The figures are the wall time, and the collector's CPU time meanwhile, which does not depend on other processes.
    """
    directory = shared_directory()
    os.sched_setaffinity(0, {cpu.LOAD})
    waits: dict[str, list[Wait]] = {"no scrape": [], "a scrape, all changed": [], "a scrape, none changed": []}
    try:
        with Collector(directory / "collector.sock") as collector:
            everything, single = Process(1, collector, scale.largest), Process(1, collector, 1)
            for number in range(scale.rounds):
                scale.within(f"{SUBJECT}, what the intake waits")(f"round {number + 1} of {scale.rounds}")
                waits["no scrape"].append(_longest(single, collector.pid, partial(time.sleep, 1.0)))
                everything()
                waits["a scrape, all changed"].append(_longest(single, collector.pid, partial(_scrape, collector)))
                waits["a scrape, none changed"].append(_longest(single, collector.pid, partial(_scrape, collector)))
        yield from _waits(scale, waits)
    finally:
        os.sched_setaffinity(0, set(cpu.CPUS))
        shutil.rmtree(directory, ignore_errors=True)


def _waits(scale: Scale, waits_by_name: Mapping[str, Sequence[Wait]]) -> Iterator[Figure]:
    for place, unit in enumerate(("ms", "ms of CPU")):
        quiet = spread([wait[place] for wait in waits_by_name["no scrape"]]).middle
        for name, waits in waits_by_name.items():
            longest = [wait[place] for wait in waits]
            title = f"{scale.largest:,} rows, {name}: longest wait for an answer"
            ratio = spread([value / quiet for value in longest])
            reference = None if name == "no scrape" else ("no scrape", quiet * 1e3, ratio)
            yield Figure(SUBJECT, title, unit, spread(longest).scaled(1e3), scale.rounds, reference)


def _scrape(collector: Collector) -> None:
    with urllib.request.urlopen(f"{collector.url}/metrics", timeout=60) as response:
        while response.read(1 << 20):
            pass


def _longest(send: Callable[[], object], pid: int, meanwhile: Callable[[], object]) -> Wait:
    thread = threading.Thread(target=meanwhile)
    thread.start()
    longest, most = 0.0, 0.0
    while thread.is_alive():
        spent, began = cpu.seconds(pid), time.monotonic()
        send()
        longest, most = max(longest, time.monotonic() - began), max(most, cpu.seconds(pid) - spent)
    thread.join()
    return longest, most


def run(scale: Scale) -> Iterator[Figure]:
    threshold = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD)  # the collector's own
    try:
        yield from _costs(scale)
        yield _steps(scale)
        yield from _stall(scale)
    finally:
        gc.set_threshold(*threshold)

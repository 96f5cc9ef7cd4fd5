"""(f) The growth of each cost with rows, workers and the length of labels, as an exponent.

An exponent of 1 means in proportion, 0 not at all. It is fitted to the logarithms of size and cost by least squares.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from statistics import median

from support.collector import Collector
from support.nginx import shared_directory

from benchmarks import cpu, flush
from benchmarks.figures import Figure
from benchmarks.merge import Merge
from benchmarks.page import page_cost
from benchmarks.rounds import exponent, spread
from benchmarks.samples import make_table
from benchmarks.scale import Scale
from benchmarks.sites import Handler

SUBJECT = "growth"
ROWS = (1_000, 3_000, 10_000, 30_000, 100_000)
WORKERS = (1, 4, 16, 64, 256)
LENGTHS = (16, 32, 64, 128, 250)
FIXED_ROWS = 10_000


def _figure(title: str, by: str, sizes: Sequence[int], costs: Sequence[float]) -> Figure:
    slope = exponent(sizes, costs)
    return Figure(SUBJECT, f"{title}, {by} {sizes[0]:,} to {sizes[-1]:,}", "exponent", spread([slope]), 1)


def _server(length: int) -> str:
    """Return a format for server names that makes each of them ``length`` bytes long."""
    return f"{{:x>{length}}}"


def _merges(rounds: int, workers: int, rows: int, server: str = "www{}.example.com") -> float:
    work = Merge(workers, None, rows, server)
    return rows * median([work() for _ in range(rounds)])


def _pages(rounds: int, stride: int, rows: int, server: str = "www{}.example.com") -> float:
    table = make_table(rows, server)
    page_cost(table, 1)
    return rows * median([page_cost(table, stride) for _ in range(rounds)])


def _flushes(rounds: int, site: Handler, rows: int) -> float:
    flush.flush(site, rows)
    return median([sum(piece.cpu for piece in flush.flush(site, rows).slices) for _ in range(rounds)])


def _costs(scale: Scale, title: str, sizes: Sequence[int], cost: Callable[[int], float]) -> list[float]:
    costs = []
    for size in sizes:
        scale.within(SUBJECT)(f"{title}, {size:,}")
        costs.append(cost(size))
    return costs


def run(scale: Scale) -> Iterator[Figure]:
    n, fixed = scale.rounds, FIXED_ROWS
    rows = [size for size in ROWS if size <= scale.largest]
    curves: list[tuple[str, str, Sequence[int], Callable[[int], float]]] = [
        ("merge of every row", "rows", rows, lambda size: _merges(n, 1, size)),
        ("page, all changed", "rows", rows, lambda size: _pages(n, 1, size)),
        ("page, none changed", "rows", rows, lambda size: _pages(n, 0, size)),
        (f"merge of {fixed:,} rows", "workers", WORKERS, lambda size: _merges(n, size, fixed)),
        (f"merge of {fixed:,} rows", "bytes of a label", LENGTHS, lambda size: _merges(n, 1, fixed, _server(size))),
        (f"page of {fixed:,} rows", "bytes of a label", LENGTHS, lambda size: _pages(n, 1, fixed, _server(size))),
    ]
    for title, by, sizes, cost in curves:
        yield _figure(title, by, sizes, _costs(scale, f"{title} by {by}", sizes, cost))
    yield _flush_growth(scale, rows)


def _flush_growth(scale: Scale, rows: Sequence[int]) -> Figure:
    directory = shared_directory()
    site = flush.handler(directory / "collector.sock")
    try:
        with Collector(directory / "collector.sock"), site.nginx:
            cpu.pin(site.worker, cpu.SUBJECT)
            flush.ask(site, "/")
            costs = _costs(scale, "flush by rows", rows, lambda size: _flushes(scale.rounds, site, size))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return _figure("flush of every row", "rows", rows, costs)

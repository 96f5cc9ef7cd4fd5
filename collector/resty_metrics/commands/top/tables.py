"""The four tables: servers, peers of upstreams, label sets, workers.

Rules:
- A number that is not known is None, never 0.
- ``key`` of a column is an interface: ``--sort`` and the JSON have it.
- Of label sets only those that were counted in the last seconds are shown: there may be 10,000.
- A cell is marked above the threshold of its alert or trouble; where there is none, nothing is marked.
- A p99 of requests is that of 100 or more.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

from resty_metrics.commands.top import page
from resty_metrics.commands.top.change import distributions
from resty_metrics.commands.top.durations import Durations
from resty_metrics.commands.top.meter import View
from resty_metrics.live.site import MEDIAN, MOST_ERRORS, MOST_TAIL, TAIL, tail
from resty_metrics.shapes.labels import ABSENT
from resty_metrics.shapes.quantile import Buckets, Quantile, join, quantile

Kind = Literal["text", "rate", "bytes", "ratio", "seconds", "count"]
Cell = str | float | None
_WORKER = "resty_metrics_worker_"


@dataclass(frozen=True, slots=True)
class Column:
    """A column. ``weight``: without room the column with the greatest weight goes first; one of 0 stays.

    ``bad``: a cell above this value is marked.
    """

    key: str
    title: str
    kind: Kind
    weight: int = 0
    bad: float | None = None

    def marks(self, cell: Cell) -> bool:
        """Return whether a cell of this column is marked."""
        return self.bad is not None and isinstance(cell, float) and cell > self.bad


@dataclass(frozen=True, slots=True)
class Table:
    """A table. Each of its ``rows`` has a cell for each column. ``empty``: the text where there is no row."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[tuple[Cell, ...]]
    empty: str

    def ordered(self, key: str | None, reverse: bool) -> list[tuple[Cell, ...]]:
        """Return the rows in the order of a column.

        Text is sorted from a on, numbers from the greatest down, unknown cells last; ``reverse`` turns the former two.
        ``key`` None, or of another table: by the column that the table is usually sorted by.
        """
        at = next((i for i, column in enumerate(self.columns) if column.key == key), self.first)
        text = self.columns[at].kind == "text"
        known = [row for row in self.rows if row[at] is not None]
        known.sort(key=lambda row: _natural(row[0]))
        known.sort(key=lambda row: _natural(row[at]), reverse=text == reverse)
        return [*known, *(row for row in self.rows if row[at] is None)]

    @property
    def first(self) -> int:
        """Return the place of the column that the table is usually sorted by."""
        return next((i for i, column in enumerate(self.columns) if column.kind == "rate"), 0)


def _natural(cell: Cell) -> tuple[float, str]:
    """Return a sort key by which worker 10 comes after worker 9."""
    if isinstance(cell, str):
        return (float(cell), "") if cell.isascii() and cell.isdecimal() else (float("inf"), cell)
    return (cell or 0.0, "")


@dataclass(slots=True)
class _Sum:
    """The sums of a line's requests or attempts.

    ``failed``: 5xx, and attempts without a status; ``times``: the durations of each row.
    """

    count: float = 0.0
    refused: float = 0.0
    failed: float = 0.0
    received: float = 0.0
    sent: float = 0.0
    times: list[Buckets] = field(default_factory=list)


MOST_FAILED = 0.2  # of the alert NginxUpstreamPeerFailing
MOST_LAG = 0.5  # seconds, of the alert RestyMetricsEventLoopLag

_TRAFFIC = (
    Column("rate", "req/s", "rate"),
    Column("4xx", "4xx", "ratio", 5),
    Column("5xx", "5xx", "ratio", 0, MOST_ERRORS),
    Column("p50", "p50", "seconds", 3),
    Column("p99", "p99", "seconds", 1, MOST_TAIL),
    Column("in", "in B/s", "bytes", 4),
    Column("out", "out B/s", "bytes", 2),
)
_OF_ALL = {"p50": "p50 all", "p99": "p99 all"}  # of several label sets, or peers, that share their durations
NAMES = ("servers", "upstreams", "rows", "workers")
COLUMNS: Mapping[str, Sequence[Column]] = {
    "servers": (Column("server", "server", "text"), *_TRAFFIC),
    "upstreams": (
        Column("upstream", "upstream", "text"),
        Column("peer", "peer", "text"),
        Column("rate", "att/s", "rate"),
        Column("failed", "failed", "ratio", 0, MOST_FAILED),
        Column("p50", _OF_ALL["p50"], "seconds", 3),
        Column("p99", _OF_ALL["p99"], "seconds", 1),
        Column("retries", "retry/s", "rate", 2),
    ),
    "rows": (
        Column("labels", "labels", "text"),
        *(
            replace(column, title=_OF_ALL.get(column.key, column.title))
            for column in _TRAFFIC
            if column.kind != "ratio"
        ),
    ),
    "workers": (
        Column("worker", "worker", "text"),
        Column("uptime", "uptime", "seconds"),
        Column("lag", "lag p99", "seconds", 1, MOST_LAG),
        Column("unacked", "unacked", "count"),
        Column("rows", "rows", "count", 3),
        Column("timers", "timers", "count", 5),
        Column("memory", "Lua mem", "bytes", 2),
        Column("flush", "flush", "ratio", 4),
        Column("errors", "errors", "count", 0, 0.0),
    ),
}


@lru_cache(maxsize=1)
def table(name: str, view: View) -> Table:
    """Return the table of a name in NAMES.

    It is cached: 10,000 rows take a while, and a key must be answered at once.
    """
    return _MAKE[name](view)


@lru_cache(maxsize=2)
def _times(view: View, name: str) -> dict[str, Buckets]:
    return distributions(view.grown(f"{name}_bucket"), view.page.series(f"{name}_bucket"))


def _median(times: Iterable[Buckets]) -> Quantile | None:
    return quantile(MEDIAN, *join(times))


def _tail(times: Iterable[Buckets]) -> Quantile | None:
    return tail(join(times))


def _server(labels: Mapping[str, str]) -> str:
    return page.joined(labels, "server")


def requests(view: View, name_of: Callable[[Mapping[str, str]], str]) -> dict[str, _Sum]:
    """Sum up the counts by the name that ``name_of`` makes of the labels."""
    tallies: dict[str, _Sum] = defaultdict(_Sum)
    for text, count in view.grown(page.RESPONSES).items():
        labels = page.labels(text)
        tally, status = tallies[name_of(labels)], labels.get("status", "")
        tally.count += count
        tally.refused += count if status.startswith("4") else 0.0
        tally.failed += count if status.startswith("5") else 0.0
    for text, count in view.grown(page.REQUEST_BYTES).items():
        tallies[name_of(page.labels(text))].received += count
    for text, count in view.grown(page.RESPONSE_BYTES).items():
        tallies[name_of(page.labels(text))].sent += count
    return tallies


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def traffic(view: View, tally: _Sum) -> dict[str, float | None]:
    """Return the cells of a line, by the keys of the columns."""
    return {
        "rate": view.per_second(tally.count),
        "4xx": _ratio(tally.refused, tally.count),
        "5xx": _ratio(tally.failed, tally.count),
        "p50": _median(tally.times),
        "p99": _tail(tally.times),
        "in": view.per_second(tally.received),
        "out": view.per_second(tally.sent),
    }


@lru_cache(maxsize=1)
def total(view: View) -> dict[str, float | None]:
    """Return the cells of all requests together."""
    tally = requests(view, lambda _: "").get("", _Sum())
    return traffic(view, replace(tally, times=list(_times(view, page.DURATION).values())))


def _table_of(name: str, cells: Iterable[Mapping[str, Cell]], empty: str) -> Table:
    columns = COLUMNS[name]
    return Table(name, columns, [tuple(row.get(column.key) for column in columns) for row in cells], empty)


def _of_requests(name: str, key: str, view: View, tallies: Mapping[str, _Sum], empty: str) -> Table:
    return _table_of(name, ({key: text, **traffic(view, tally)} for text, tally in tallies.items()), empty)


def _servers(view: View) -> Table:
    tallies = requests(view, _server)
    for text in view.page.series(page.RESPONSES):
        tallies[_server(page.labels(text))]
    for text, times in _times(view, page.DURATION).items():
        if "server" in page.labels(text):  # durations may lack it
            tallies[_server(page.labels(text))].times.append(times)
    empty = "No request is counted yet. To count requests by server, run: sudo resty-metrics install"
    return _of_requests("servers", "server", view, tallies, empty)


def _rows(view: View) -> Table:
    empty = f"No request in the last {view.seconds:.0f} s." if view.seconds else "No request yet."
    tallies, durations = requests(view, page.label_set), Durations(_times(view, page.DURATION))
    for labels in map(page.labels, view.grown(page.RESPONSES)):
        tallies[page.label_set(labels)].times.extend(durations.of(labels))
    return _of_requests("rows", "labels", view, tallies, empty)


def _upstreams(view: View) -> Table:
    tallies: dict[tuple[str, str], _Sum] = defaultdict(_Sum)
    for text in view.page.series(page.ATTEMPTS):
        labels, count = page.labels(text), view.grown(page.ATTEMPTS).get(text, 0.0)
        tally, status = tallies[page.joined(labels, "upstream"), labels.get("peer", ABSENT)], labels.get("status", "")
        tally.count += count
        tally.failed += count if status.startswith("5") or not status.isdecimal() else 0.0
    times, retries = defaultdict[str, list[Buckets]](list), defaultdict[str, float](float)
    for text, more in _times(view, page.UPSTREAM_RESPONSE).items():
        times[page.joined(page.labels(text), "upstream")].append(more)
    for text, count in view.grown(page.RETRIES).items():
        retries[page.joined(page.labels(text), "upstream")] += count
    cells = (
        {
            "upstream": upstream,
            "peer": peer,
            "rate": view.per_second(tally.count),
            "failed": _ratio(tally.failed, tally.count),
            "p50": _median(times[upstream]),
            "p99": _tail(times[upstream]),
            "retries": view.per_second(retries[upstream]),
        }
        for (upstream, peer), tally in tallies.items()
    )
    return _table_of("upstreams", cells, "No request to an upstream is counted. Include upstreams.conf to count them.")


def _workers(view: View) -> Table:
    workers: dict[str, dict[str, Cell]] = {}

    def of(labels: Mapping[str, str]) -> dict[str, Cell]:
        name = page.joined(labels, "worker")
        return workers.setdefault(name, {"worker": name, "errors": 0.0})

    for key, name in _GAUGES.items():
        for labels, value in view.page.labelled(_WORKER + name):
            row = of(labels)
            before = row.get(key)
            row[key] = value + before if isinstance(before, float) else value
    alive = set(workers)
    for text, times in _times(view, f"{_WORKER}event_loop_lag_seconds").items():
        of(page.labels(text))["lag"] = quantile(TAIL, *times)
    for text, seconds in view.grown(f"{_WORKER}flush_cpu_seconds_total").items():
        of(page.labels(text))["flush"] = view.per_second(seconds)
    for name in _ERRORS:
        for text, count in view.events.get(_WORKER + name, {}).items():
            row = of(page.labels(text))
            row["errors"] = count + (row["errors"] if isinstance(row["errors"], float) else 0.0)
    empty = "No worker has reported yet. A worker reports at its first request; with lifecycle.conf, at its start."
    return _table_of("workers", (workers[name] for name in workers if name in alive), empty)


_GAUGES = {
    "uptime": "uptime_seconds",
    "unacked": "unacked_batches",
    "rows": "rows",
    "timers": "timers",
    "memory": "lua_memory_bytes",
}
_ERRORS = ("send_errors_total", "lost_rows_total", "errors_total")
_MAKE = {"servers": _servers, "upstreams": _upstreams, "rows": _rows, "workers": _workers}

"""The content of the page as words and paths, from the facts and the history. The template only puts them in place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from resty_metrics.health import troubles as kinds
from resty_metrics.health.facts import SourceState
from resty_metrics.health.troubles import Kind
from resty_metrics.live import chart
from resty_metrics.live.chart import Chart
from resty_metrics.live.facts import Facts, Nginx, Worker
from resty_metrics.live.history import ALL, MAX_SERVERS, SPAN_SECONDS, History, Point, Series, Summary, summarize
from resty_metrics.live.notices import Notice, notices
from resty_metrics.live.site import MOST_ERRORS, MOST_TAIL
from resty_metrics.live.words import ABSENT, duration, number, percent, problems, quantile, size

State = Literal["ok", "warning", "critical", "unknown"]

RECENT_SECONDS = 60.0
LEAST_SHARE = 0.01  # the least upper edge of a chart of errors
MANY_WORKERS = 128


@dataclass(frozen=True, slots=True)
class Health:
    """One part of the pipeline: ``word`` gives its state, ``more`` the evidence."""

    name: str
    state: State
    word: str
    more: str


@dataclass(frozen=True, slots=True)
class Server:
    """One server's last minute in figures, and its last quarter of an hour in charts.

    ``failing``, ``slow``: the share of errors, the p99 is above the threshold of its alert.
    """

    name: str
    rate: str
    errors: str
    failing: bool
    p50: str
    p99: str
    slow: bool
    rates: Chart
    shares: Chart
    durations: Chart


@dataclass(frozen=True, slots=True)
class View:
    """The whole page. ``begun``: there is something to draw; ``quiet``: servers without a request.

    ``hidden``: the number of servers that are not shown one by one; ``span`` and ``recent``: the times that the charts
    and the figures are of, in words.
    """

    facts: Facts
    state: State
    headline: str
    notices: Sequence[Notice]
    health: Sequence[Health]
    begun: bool
    all: Server
    servers: Sequence[Server]
    quiet: Sequence[str]
    hidden: int
    workers: Sequence[tuple[str, ...]]
    more_workers: int
    top_labels: Sequence[str]
    top: Sequence[tuple[Sequence[str], str]]
    top_seconds: str
    top_note: str
    span: str
    recent: str


def view(facts: Facts, history: History) -> View:
    """Build the page of ``facts.now``."""
    shown = notices(facts, history)
    worst: State = "ok" if not shown else shown[0].severity
    busy, quiet = _busy(history)
    workers = [_worker(worker) for worker in sorted(facts.workers, key=_by_number)]
    span = _span(history, facts.now, SPAN_SECONDS)
    labels = list(dict.fromkeys(name for row in facts.top.rows for name, _ in row.labels))
    return View(
        facts=facts,
        state=worst,
        headline=_headline(shown),
        notices=shown,
        health=list(_health(facts)),
        begun=any(series.points for series in history.series.values()),
        all=_server("All servers", history.series.get(ALL, Series()), facts.now, span),
        servers=[_server(name, history.series[name], facts.now, span) for name in busy],
        quiet=quiet,
        hidden=max(0, history.servers - len(busy) - len(quiet)),
        workers=workers[:MANY_WORKERS],
        more_workers=max(0, len(workers) - MANY_WORKERS),
        top_labels=labels,
        top=[([dict(row.labels).get(name, ABSENT) for name in labels], number(row.rate)) for row in facts.top.rows],
        top_seconds=ABSENT if facts.top.seconds is None else duration(facts.top.seconds),
        top_note=_top_note(facts),
        span=span,
        recent=_span(history, facts.now, RECENT_SECONDS),
    )


def _headline(shown: Sequence[Notice]) -> str:
    if not shown:
        return "Everything works"
    return problems([notice.severity for notice in shown])


def _span(history: History, now: float, most: float) -> str:
    """Return in words how far back the history goes, at most ``most`` seconds."""
    points = history.series.get(ALL, Series()).points
    return duration(min(most, now - points[0].end + points[0].seconds) if points else 0)


def _top_note(facts: Facts) -> str:
    top = facts.top
    return "" if top.looked_at >= top.total else f"Of {top.total} rows the first {top.looked_at} were compared."


def _busy(history: History) -> tuple[list[str], list[str]]:
    """Return the servers with requests, the busiest first, and the servers without any, by name."""
    counts = {
        name: sum(point.requests for point in series.points) for name, series in history.series.items() if name != ALL
    }
    busy = sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    return busy[:MAX_SERVERS], sorted(name for name, count in counts.items() if not count)


def _health(facts: Facts) -> Iterator[Health]:
    yield _socket(facts)
    yield from (_workers(nginx, facts) for nginx in facts.nginx)
    yield from map(_source, facts.sources)
    yield _journal(facts)
    for nginx in facts.nginx:
        yield from _nginx(nginx, facts)


def _socket(facts: Facts) -> Health:
    states: tuple[tuple[Kind, State, str], ...] = (
        (kinds.STANDBY, "warning", "standing by"),
        (kinds.SOCKET_DOWN, "critical", "down"),
        (kinds.SOCKET_CONTENDED, "warning", "contended"),
        (kinds.SOCKET_UNREACHABLE, "critical", "unreachable"),
    )
    troubles = ((state, word) for kind, state, word in states if facts.has(kind))
    state, word = next(troubles, ("ok", "works"))
    return Health("Socket", state, word, facts.socket)


def _called(name: str, nginx: Nginx) -> str:
    return f"{name}, {nginx.name}" if nginx.name else name


def _workers(nginx: Nginx, facts: Facts) -> Health:
    name, age = _called("Workers of nginx", nginx), facts.datagram_age
    missing = facts.has(kinds.WORKERS_MISSING, nginx.name)
    if not nginx.alive:
        return Health(name, "warning" if missing else "unknown", "not reporting", _ago(age))
    if nginx.workers_expected is None:
        return Health(name, "warning" if missing else "ok", "reporting", _ago(age))
    words = f"{nginx.workers_seen} of {nginx.workers_expected} reporting"
    return Health(name, "warning" if missing else "ok", words, _ago(age))


def _ago(seconds: float | None) -> str:
    return "no datagram yet" if seconds is None else f"last datagram {duration(seconds)} ago"


def _source(source: SourceState) -> Health:
    name = source.kind if source.name is None else f"{source.kind} of {source.name}"
    if source.reason is not None:
        return Health(name, "warning", f"cannot be read ({source.reason})", f"{source.address}: {source.words}")
    if source.seconds is None:
        return Health(name, "unknown", "has not answered yet", source.address)
    return Health(name, "ok", f"read in {duration(source.seconds)}", source.address)


def _journal(facts: Facts) -> Health:
    journal = facts.journal
    if journal.directory is None:
        return Health("Journal", "unknown", "disabled", "counts are in memory only")
    if journal.reason is not None:
        return Health("Journal", "warning", f"in memory only ({journal.reason})", journal.directory)
    if facts.has(kinds.JOURNAL_STALLS):
        return Health("Journal", "warning", f"a write takes {duration(journal.waits)} so far", journal.directory)
    return Health("Journal", "ok", "works", journal.directory)


def _coverage(nginx: Nginx, facts: Facts) -> Health:
    name = _called("Coverage", nginx)
    if nginx.coverage is None:
        return Health(name, "unknown", "not known yet", "needs 5 minutes and 100 requests")
    state: State = "warning" if facts.has(kinds.COVERAGE, nginx.name) else "ok"
    return Health(name, state, percent(min(1.0, nginx.coverage)), "of nginx's requests are counted")


def _nginx(nginx: Nginx, facts: Facts) -> Iterator[Health]:
    if not nginx.alive:
        return
    yield _coverage(nginx, facts)
    if nginx.active is not None:
        by = ((nginx.reading, "reading"), (nginx.writing, "writing"), (nginx.waiting, "waiting"))
        more = ", ".join(f"{number(count)} {name}" for count, name in by)
        yield Health(_called("Connections", nginx), "ok", f"{number(nginx.active)} active", more)
    if nginx.configured_ago is not None and nginx.generation is not None:
        age = f"{duration(nginx.configured_ago)} old"
        yield Health(_called("Configuration of nginx", nginx), "ok", age, _reloads(nginx.generation - 1))


def _reloads(count: int) -> str:
    """Write how often nginx was reloaded, as far as its workers know.

    A configuration whose workers reported nothing, since another reload came first, is not in the count.
    """
    if count <= 0:
        return "no reload seen"
    return f"at least {count} reload{'' if count == 1 else 's'}"


def _by_number(worker: Worker) -> tuple[str, int, float]:
    return (worker.nginx, 1 << 30 if worker.id is None else worker.id, -(worker.uptime or 0.0))


def _worker(worker: Worker) -> tuple[str, ...]:
    """Return the columns of a worker: number, pid, age, last heard, unacked batches, Lua memory."""
    name = (ABSENT if worker.id is None else str(worker.id)) + (f" of {worker.nginx}" if worker.nginx else "")
    return (
        f"{name} (ends)" if worker.exiting else name,
        ABSENT if worker.pid is None else str(worker.pid),
        duration(worker.uptime),
        f"{duration(worker.heartbeat_age)} ago",
        number(worker.unacked),
        size(worker.memory),
    )


def _rate(point: Point) -> float:
    return point.requests / point.seconds


def _share(point: Point) -> float | None:
    return point.errors / point.requests if point.requests else None


def _server(name: str, series: Series, now: float, span: str) -> Server:
    points = series.points
    recent = summarize(points, now - RECENT_SECONDS) or Summary(0, 0, RECENT_SECONDS, None, None)
    rates, shares = [_rate(point) for point in points], [_share(point) for point in points]
    tails = [point.p99 for point in points]
    most_rate = chart.nice(max(rates, default=0))
    most_share = min(1.0, chart.nice(max(LEAST_SHARE, *(share or 0 for share in shares), 0)))
    most_tail = chart.nice(max((point.p99 or point.p50 or 0 for point in points), default=0))
    return Server(
        name=name,
        rate=number(recent.rate) if points else ABSENT,
        errors=percent(recent.share),
        failing=(recent.share or 0) > MOST_ERRORS,
        p50=quantile(recent.p50),
        p99=quantile(recent.p99),
        slow=(recent.p99 or 0) > MOST_TAIL,
        rates=Chart(
            [chart.line("rate", points, _rate, most_rate, now, fill=True)],
            f"{number(most_rate)}/s",
            f"{name}, requests per second in the last {span}: {chart.span(rates, number)}",
        ),
        shares=Chart(
            [chart.line("error", points, _share, most_share, now, fill=True)] if any(shares) else [],
            percent(most_share),
            f"{name}, share of answers with 5xx in the last {span}: {chart.span(shares, percent)}",
        ),
        durations=Chart(
            [
                chart.line("tail", points, lambda point: point.p99, most_tail, now),
                chart.line("median", points, lambda point: point.p50, most_tail, now),
            ],
            duration(most_tail) if most_tail else ABSENT,
            f"{name}, p99 in the last {span}: {chart.span(tails, quantile)}; "
            f"p50: {chart.span([point.p50 for point in points], quantile)}",
        ),
    )

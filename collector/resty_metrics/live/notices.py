"""The warnings that hold now, from the facts of ``/-/ready`` and of the alerts, each with its evidence.

Rules:
- There is a notice for each alert of prometheus/rules/alerts.yml that a quarter of an hour can show. It has the alert's
  name, so that docs/runbook.md has its section. One more notice, of stalling writes, is no alert. A notice comes and
  goes with the fact; alerts wait longer.
- Silent workers mean nothing until the collector has run for as long as a heartbeat lives, and nothing at all where Lua
  is not used.
- Only alerts cover what needs longer windows or a view from outside (the collector is down, budgets, peers, vts's
  memory).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

from resty_metrics.advice import remedies, warnings
from resty_metrics.advice.warnings import LEAST_COVERAGE, LEAST_SPOOL, Advice, Severity
from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.live.counts import Growth
from resty_metrics.live.facts import Facts, Nginx, SourceState
from resty_metrics.live.history import ALL, History, summarize
from resty_metrics.live.words import duration, number, percent

RECENT_SECONDS = 600.0
OVERFLOW_SECONDS = 900.0
LOAD_SECONDS = 300.0
ARRIVAL_SECONDS = 60.0
LEAST_ARRIVAL_SECONDS = 25.0  # of watching nginx: requests may take long, and count when they end
MANY_REBINDS = 3
LEAST_RATE = 1.0  # requests per second
MOST_ERRORS = 0.05
MOST_TAIL = 1.0  # seconds
_NAMED = 5  # servers or labels in one text


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning that holds.

    ``name``: the alert's; ``seen``: the evidence; ``do``: the remedy; ``command``: a command to run, if any.

    ``alert``: an alert of that name exists, and so does a section of docs/runbook.md.
    """

    name: str
    severity: Severity
    title: str
    seen: str
    do: str
    command: str | None
    alert: bool


def notices(facts: Facts, history: History, growth: Growth) -> list[Notice]:
    """Return all notices, critical ones first."""
    found = [
        *_socket(facts, growth),
        *_sources(facts),
        *_arrival(facts, history),
        *chain.from_iterable(map(partial(_nginx, facts), facts.nginx)),
        *_refusals(facts, growth),
        *_losses(facts, growth),
        *_gauges(facts, growth),
        *_journal(facts),
        *_configuration(facts),
        *_load(facts, history),
    ]
    return sorted(found, key=lambda one: one.severity != "critical")


def _notice(facts: Facts, advice: Advice, seen: str, do: str | None = None, **places: object) -> Notice:
    commands = {"doctor": facts.doctor, "watch": facts.watch, "check-config": "resty-metrics check-config FILE"}
    command = None if advice.command is None else commands[advice.command]
    return Notice(
        advice.name, advice.severity, advice.title.format(**places), seen, do or advice.do, command, advice.alert
    )


def _socket(facts: Facts, growth: Growth) -> Iterator[Notice]:
    socket = facts.socket
    words = "; ".join(socket.faults)
    if socket.standing_by:
        yield _notice(facts, warnings.STANDBY, words or f"Another process holds the lock beside {socket.path}.")
    elif not socket.up and not socket.contended:  # CONTENDED says more
        yield _notice(
            facts,
            warnings.SOCKET_DOWN,
            words or f"The file at {socket.path} is not the collector's, or does not lead to it.",
        )
    rebinds = growth.over("rebind", RECENT_SECONDS, facts.now)
    times = sum(rebinds.values())
    if socket.contended or times > MANY_REBINDS:
        how = ", ".join(f"{reason} {number(count)} times" for reason, count in rebinds.items())
        yield _notice(
            facts,
            warnings.CONTENDED,
            f"It was put back {number(times)} times in ten minutes{how and f' ({how})'}. Nothing was lost.",
        )


def _sources(facts: Facts) -> Iterator[Notice]:
    for one in facts.nginx:
        if not one.heard and not facts.without_lua and facts.uptime >= GAUGES_SECONDS:
            last = "" if facts.heard is None else f" The last datagram of any came {duration(facts.heard)} ago."
            yield _notice(facts, warnings.NO_WORKER, f"No heartbeat is alive.{last}", of=_of(one))
    yield from (_source(facts, one) for one in facts.sources if one.reason is not None)


def _of(nginx: Nginx) -> str:
    return f" ({nginx.name})" if nginx.name else ""


def _source(facts: Facts, source: SourceState) -> Notice:
    who = source.kind if source.name is None else f"{source.kind} of {source.name}"
    return _notice(
        facts,
        warnings.SOURCE_DOWN,
        f"{source.address}: {source.words or source.reason}.",
        remedies.of_source(source.reason or ""),
        source=who,
    )


def _arrival(facts: Facts, history: History) -> Iterator[Notice]:
    if facts.journal.stalls:  # nothing is counted before it is written
        return
    series = history.series.get(ALL)
    begun = history.nginx_rate(facts.now - ARRIVAL_SECONDS, LEAST_ARRIVAL_SECONDS)
    if series is None or begun is None or begun <= LEAST_RATE:
        return
    summary = summarize(series.points, facts.now - ARRIVAL_SECONDS)
    if summary is not None and summary.requests == 0:
        yield _notice(
            facts,
            warnings.NOTHING_ARRIVES,
            f"nginx itself counts {number(begun)} requests/s, its log hook reports none.",
        )


def _nginx(facts: Facts, nginx: Nginx) -> Iterator[Notice]:
    if nginx.coverage is not None and nginx.coverage < LEAST_COVERAGE:
        yield _notice(
            facts,
            warnings.COVERAGE,
            "A server or location has a log_by_lua of its own, which replaces ours without a word from nginx.",
            share=percent(nginx.coverage),
            of=_of(nginx),
        )
    if nginx.workers_expected is not None and nginx.workers_seen < nginx.workers_expected:
        yield _notice(
            facts,
            warnings.WORKERS_MISSING,
            "Without lifecycle.conf a worker is heard of after its first request: on an idle nginx this is no fault.",
            heard=nginx.workers_seen,
            run=nginx.workers_expected,
            of=_of(nginx),
        )
    if nginx.spool_free is not None and nginx.spool_free < LEAST_SPOOL:
        yield _notice(
            facts,
            warnings.SPOOL_FULL,
            f"{percent(nginx.spool_free)} of resty_metrics_spool is free. What does not fit is lost, and counted.",
            of=_of(nginx),
        )


def _refusals(facts: Facts, growth: Growth) -> Iterator[Notice]:
    for reason, count in growth.over("refused", RECENT_SECONDS, facts.now).items():
        yield _notice(
            facts, warnings.REFUSALS, f"{number(count)} in ten minutes.", remedies.of_refusal(reason), reason=reason
        )


def _losses(facts: Facts, growth: Growth) -> Iterator[Notice]:
    lost = growth.over("lost", RECENT_SECONDS, facts.now)
    if lost:
        by = ", ".join(f"{reason}: {number(count)}" for reason, count in lost.items())
        yield _notice(
            facts, warnings.ROWS_LOST, f"Rows in ten minutes, by reason: {by}. These requests are in no metric."
        )
    for family, count in growth.over("overflow", OVERFLOW_SECONDS, facts.now).items():
        labels = facts.full.get(family, ())[:_NAMED]
        most = "".join(f" {name} has {number(values)} values." for name, values in labels)
        yield _notice(
            facts,
            warnings.OVERFLOW,
            f"{number(count)} rows were counted as other in a quarter of an hour.{most}",
            family=family,
        )


def _gauges(facts: Facts, growth: Growth) -> Iterator[Notice]:
    for reason, count in growth.over("gauge_rows", RECENT_SECONDS, facts.now).items():
        yield _notice(
            facts,
            warnings.GAUGES_CUT,
            f"{number(count)} in the heartbeats of ten minutes.",
            remedies.of_gauge_rows(reason),
            reason=reason,
        )


def _journal(facts: Facts) -> Iterator[Notice]:
    journal = facts.journal
    if journal.directory is not None and journal.reason is not None:
        yield _notice(
            facts,
            warnings.JOURNAL_DOWN,
            f"{journal.directory}: {journal.reason}. If the collector ended now, counters would begin anew.",
            f"{remedies.of_journal(journal.reason)} The journal then comes back by itself.",
        )
    if journal.stalls:
        yield _notice(
            facts,
            warnings.JOURNAL_STALLS,
            f"{journal.directory}: a write takes {duration(journal.waits)} so far. Nothing new is counted meanwhile.",
        )


def _configuration(facts: Facts) -> Iterator[Notice]:
    for file in facts.misconfigured:
        yield _notice(
            facts,
            warnings.CONFIG_REFUSED,
            f"What was read last is wrong ({file}); the collector's log has every problem with its line.",
        )


def _load(facts: Facts, history: History) -> Iterator[Notice]:
    since = facts.now - LOAD_SECONDS
    failing: list[str] = []
    slow: list[str] = []
    for name, series in sorted(history.series.items()):
        summary = None if name == ALL else summarize(series.points, since)
        if summary is None or summary.rate <= LEAST_RATE:
            continue
        if summary.errors is not None and summary.errors > MOST_ERRORS:
            failing.append(f"{name}: {percent(summary.errors)} of {number(summary.rate)}/s")
        if summary.p99 is not None and summary.p99 > MOST_TAIL:
            slow.append(f"{name}: {duration(summary.p99)}")
    if failing:
        yield _notice(facts, warnings.ERRORS_HIGH, f"Answers with 5xx over five minutes: {_some(failing)}.")
    if slow:
        yield _notice(facts, warnings.LATENCY_HIGH, f"p99 over five minutes: {_some(slow)}.")


def _some(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f", and {more} more" if more > 0 else "")

"""What an operator should know now, and what to do about it: the facts of ``/-/ready`` and of the alerts.

Rules:
- One notice for each alert of prometheus/rules/alerts.yml that a quarter of an hour can tell, under the alert's name,
  so that docs/runbook.md has its section. It comes as soon as the fact is there, and goes with it; alerts wait longer.
- That nobody is heard of means nothing until the collector has run for as long as a heartbeat lives, and
  nothing where Lua is not used at all.
- What needs longer windows, or knows only from outside (the collector is down, budgets, peers, vts's memory), is the
  alerts' alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

from collector.ingest.streams import GAUGES_SECONDS
from collector.live import remedies
from collector.live.counts import Growth
from collector.live.facts import Facts, Nginx, SourceState
from collector.live.history import ALL, History, summarize
from collector.live.words import duration, number, percent

Severity = Literal["critical", "warning"]

RECENT_SECONDS = 600.0
OVERFLOW_SECONDS = 900.0
LOAD_SECONDS = 300.0
ARRIVAL_SECONDS = 60.0
MANY_REBINDS = 3
LEAST_COVERAGE = 0.99
LEAST_SPOOL = 0.2
LEAST_RATE = 1.0  # requests per second
MOST_ERRORS = 0.05
MOST_TAIL = 1.0  # seconds
_NAMED = 5  # servers or labels in one text


@dataclass(frozen=True, slots=True)
class Notice:
    """``name``: of the alert; ``seen``: what was found; ``do``: the remedy; ``command``: what to type, if anything."""

    name: str
    severity: Severity
    title: str
    seen: str
    do: str
    command: str | None = None


def notices(facts: Facts, history: History, growth: Growth) -> list[Notice]:
    """All there are, critical ones first."""
    found = [
        *_socket(facts, growth),
        *_sources(facts),
        *_arrival(facts, history),
        *chain.from_iterable(map(partial(_nginx, facts.doctor), facts.nginx)),
        *_refusals(facts, growth),
        *_losses(facts, growth),
        *_journal(facts),
        *_configuration(facts),
        *_load(history, facts.now),
    ]
    return sorted(found, key=lambda one: one.severity != "critical")


def _socket(facts: Facts, growth: Growth) -> Iterator[Notice]:
    socket = facts.socket
    words = "; ".join(socket.faults)
    if socket.standing_by:
        yield Notice(
            "RestyMetricsStandby",
            "warning",
            "This collector stands by: another one has the socket",
            words or f"Another process holds the lock beside {socket.path}.",
            "End one of the two, or give each a socket path of its own. This one takes over when the other ends.",
            facts.doctor,
        )
    elif not socket.up and not socket.contended:  # which says more
        yield Notice(
            "RestyMetricsSocketDown",
            "critical",
            "The socket leads to nobody, or to somebody else",
            words or f"The file at {socket.path} is not the collector's, or does not lead to it.",
            "Give the collector's user the right to write the directory of the socket; workers keep what they count "
            "until then. Where something else owns that path, choose another: --socket.path, and $resty_metrics_socket "
            "in nginx.",
            facts.doctor,
        )
    rebinds = growth.over("rebind", RECENT_SECONDS, facts.now)
    times = sum(rebinds.values())
    if socket.contended or times > MANY_REBINDS:
        how = ", ".join(f"{reason} {number(count)} times" for reason, count in rebinds.items())
        yield Notice(
            "RestyMetricsSocketContended",
            "warning",
            "Somebody keeps removing or replacing the socket",
            f"It was put back {number(times)} times in ten minutes{how and f' ({how})'}. Nothing was lost.",
            "See who does it, as it happens, and stop that: a cleaner of /tmp or /run, a scanner, a second service.",
            facts.watch,
        )


def _sources(facts: Facts) -> Iterator[Notice]:
    for one in facts.nginx:
        if not one.heard and not facts.without_lua and facts.uptime >= GAUGES_SECONDS:
            last = "" if facts.heard is None else f" The last datagram of any came {duration(facts.heard)} ago."
            yield Notice(
                "RestyMetricsSourceDown",
                "warning",
                f"No worker of nginx{_of(one)} is heard of",
                f"No heartbeat is alive.{last}",
                "See that nginx runs with the include in http{}, and has served a request (or includes "
                "lifecycle.conf). A worker that cannot send says so in nginx's error log.",
                facts.doctor,
            )
    yield from (_source(facts, one) for one in facts.sources if one.reason is not None)


def _of(nginx: Nginx) -> str:
    return f" ({nginx.name})" if nginx.name else ""


def _source(facts: Facts, source: SourceState) -> Notice:
    who = source.kind if source.name is None else f"{source.kind} of {source.name}"
    return Notice(
        "RestyMetricsSourceDown",
        "warning",
        f"The source {who} cannot be read",
        f"{source.address}: {source.words or source.reason}.",
        remedies.of_source(source.reason or ""),
        facts.doctor,
    )


def _arrival(facts: Facts, history: History) -> Iterator[Notice]:
    series = history.series.get(ALL)
    begun = history.nginx_rate(facts.now - ARRIVAL_SECONDS)
    if series is None or begun is None or begun <= LEAST_RATE:
        return
    summary = summarize(series.points, facts.now - ARRIVAL_SECONDS)
    if summary is not None and summary.requests == 0:
        yield Notice(
            "RestyMetricsNothingArrives",
            "critical",
            "nginx counts requests, and none arrives here",
            f"nginx itself counts {number(begun)} requests/s, its log hook reports none.",
            "Add the include to http{} of the configuration that runs; where a server has a log_by_lua of its own, "
            "add our line to it.",
            facts.doctor,
        )


def _nginx(doctor: str, nginx: Nginx) -> Iterator[Notice]:
    if nginx.coverage is not None and nginx.coverage < LEAST_COVERAGE:
        yield Notice(
            "RestyMetricsCoverage",
            "warning",
            f"Only {percent(nginx.coverage)} of the requests of nginx{_of(nginx)} are counted",
            "A server or location has a log_by_lua of its own, which replaces ours without a word from nginx.",
            "Add our line to that hook; doctor names file and line.",
            doctor,
        )
    if nginx.workers_expected is not None and nginx.workers_seen < nginx.workers_expected:
        yield Notice(
            "RestyMetricsWorkersMissing",
            "warning",
            f"{nginx.workers_seen} of {nginx.workers_expected} workers of nginx{_of(nginx)} are heard of",
            "Without lifecycle.conf a worker is heard of after its first request: on an idle nginx this is no fault.",
            "Include lifecycle.conf. Otherwise see what nginx's error log says of the worker that cannot send.",
            doctor,
        )
    if nginx.spool_free is not None and nginx.spool_free < LEAST_SPOOL:
        yield Notice(
            "RestyMetricsSpoolFull",
            "warning",
            f"The spool in nginx{_of(nginx)} is nearly full",
            f"{percent(nginx.spool_free)} of resty_metrics_spool is free. What does not fit is lost, and counted.",
            "Keep the collector running, or give it more room: lua_shared_dict resty_metrics_spool 32m;",
            doctor,
        )


def _refusals(facts: Facts, growth: Growth) -> Iterator[Notice]:
    for reason, count in growth.over("refused", RECENT_SECONDS, facts.now).items():
        yield Notice(
            "RestyMetricsRefusals",
            "warning",
            f"Datagrams are refused: {reason}",
            f"{number(count)} in ten minutes.",
            remedies.of_refusal(reason),
            facts.doctor,
        )


def _losses(facts: Facts, growth: Growth) -> Iterator[Notice]:
    lost = growth.over("lost", RECENT_SECONDS, facts.now)
    if lost:
        by = ", ".join(f"{reason}: {number(count)}" for reason, count in lost.items())
        yield Notice(
            "RestyMetricsRowsLost",
            "critical",
            "Numbers were lost",
            f"Rows in ten minutes, by reason: {by}. These requests are in no metric.",
            "See docs/delivery.md for the reason, and the log of the side that lost them. Often the collector was away "
            "for long and nginx's spool was full.",
            facts.doctor,
        )
    for family, count in growth.over("overflow", OVERFLOW_SECONDS, facts.now).items():
        labels = facts.full.get(family, ())[:_NAMED]
        most = "".join(f" {name} has {number(values)} values." for name, values in labels)
        yield Notice(
            "RestyMetricsOverflow",
            "warning",
            f"{family} has as many rows as it may have",
            f"{number(count)} rows were counted as other in a quarter of an hour.{most}",
            "Map the label with the most values to few of them (docs/labels.md), or leave it out. Sums stay right.",
        )


def _journal(facts: Facts) -> Iterator[Notice]:
    journal = facts.journal
    if journal.directory is not None and journal.reason is not None:
        yield Notice(
            "RestyMetricsJournalDown",
            "warning",
            "Counts are in memory only: the journal cannot be written",
            f"{journal.directory}: {journal.reason}. If the collector ended now, counters would begin anew.",
            f"{remedies.of_journal(journal.reason)} The journal then comes back by itself.",
            facts.doctor,
        )


def _configuration(facts: Facts) -> Iterator[Notice]:
    for file in facts.misconfigured:
        yield Notice(
            "RestyMetricsConfigRefused",
            "warning",
            f"The configuration was refused ({file}), the one before goes on",
            "What was read last is wrong; the collector's log has every problem with its line.",
            "Correct the file and reload.",
            "resty-metrics check-config FILE",
        )


def _load(history: History, now: float) -> Iterator[Notice]:
    since = now - LOAD_SECONDS
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
        yield Notice(
            "NginxErrorRatioHigh",
            "critical",
            "Requests fail",
            f"Answers with 5xx over five minutes: {_some(failing)}.",
            "502, 503 and 504 come from behind nginx: find the failing peer and take it out, or take the last change "
            "back. 500 is often nginx's own: see its error log.",
        )
    if slow:
        yield Notice(
            "NginxLatencyHigh",
            "warning",
            "One request in a hundred takes longer than a second",
            f"p99 over five minutes: {_some(slow)}.",
            "See whether upstreams take that long, or slow clients; give long polls and downloads their own scope.",
        )


def _some(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f", and {more} more" if more > 0 else "")

"""The warnings of the live page: the troubles of the pipeline, then what its charts show of the site.

Rule: a warning has the name of its alert, so that docs/runbook.md has its section. Only alerts cover what needs longer
windows or a view from outside (the collector is down, budgets, peers, vts's memory).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from resty_metrics.health.troubles import Severity, Trouble
from resty_metrics.live.facts import Facts
from resty_metrics.live.history import ALL, History, summarize
from resty_metrics.live.words import duration, number, percent

LOAD_SECONDS = 300.0
LEAST_RATE = 1.0  # requests per second
MOST_ERRORS = 0.05
MOST_TAIL = 1.0  # seconds
_NAMED = 5  # servers in one text


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning that holds.

    ``name``: the alert's, and that of a section of docs/runbook.md; ``evidence``: what shows it; ``do``: the remedy;
    ``command``: a command to run, if any.
    """

    name: str
    severity: Severity
    title: str
    evidence: str
    do: str
    command: str | None


def notices(facts: Facts, history: History) -> list[Notice]:
    """Return all notices, critical ones first."""
    shown = [*(_of(trouble, facts) for trouble in facts.troubles), *_load(facts, history)]
    return sorted(shown, key=lambda notice: notice.severity != "critical")


def _of(trouble: Trouble, facts: Facts) -> Notice:
    commands = {"doctor": facts.doctor, "watch": facts.watch, "check-config": "resty-metrics check-config FILE"}
    kind, evidence = trouble.kind, trouble.evidence
    command = None if kind.command is None else commands[kind.command]
    return Notice(
        kind.alert, kind.severity, trouble.title, f"{evidence[:1].upper()}{evidence[1:]}.", trouble.remedy, command
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
        yield _failing(failing)
    if slow:
        yield _slow(slow)


def _failing(servers: list[str]) -> Notice:
    return Notice(
        "NginxErrorRatioHigh",
        "critical",
        "Requests fail",
        f"Answers with 5xx over five minutes: {_shortened(servers)}.",
        "500 comes mostly from the application: see its log. 502 and 504 are nginx's own answers when an upstream is "
        "down or too slow: its error log names the peer. 503 may be either, or a limit_req.",
        None,
    )


def _slow(servers: list[str]) -> Notice:
    return Notice(
        "NginxLatencyHigh",
        "warning",
        "One request in a hundred takes longer than a second",
        f"p99 over five minutes: {_shortened(servers)}.",
        "Check whether upstreams take that long, or clients are slow. Give long polls and downloads a scope of their "
        "own (docs/labels.md).",
        None,
    )


def _shortened(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f", and {more} more" if more > 0 else "")

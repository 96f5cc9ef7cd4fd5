"""The warnings of the live page: the troubles of the pipeline, then what its charts show of the site.

Rule: a warning has the name of its alert, so that docs/runbook.md has its section. Only alerts cover what needs longer
windows or a view from outside (the collector is down, budgets, peers, vts's memory).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from resty_metrics.health.troubles import Severity, Trouble
from resty_metrics.live import site
from resty_metrics.live.facts import Facts
from resty_metrics.live.history import ALL, History, summarize
from resty_metrics.live.site import WINDOW_SECONDS, Finding, Load


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
    findings = site.judge([*_loads(history, facts.now - WINDOW_SECONDS)])
    shown = [*(_of(trouble, facts) for trouble in facts.troubles), *map(_of_site, findings)]
    return sorted(shown, key=lambda notice: notice.severity != "critical")


def _of(trouble: Trouble, facts: Facts) -> Notice:
    kind = trouble.kind
    commands = {"doctor": facts.doctor, "watch": facts.watch, "check-config": trouble.check}
    command = None if kind.command is None else commands[kind.command]
    return Notice(kind.alert, kind.severity, trouble.title, _sentence(trouble.evidence), trouble.remedy, command)


def _of_site(finding: Finding) -> Notice:
    return Notice(
        finding.name, finding.severity, finding.title, _sentence(finding.evidence), finding.remedy, command=None
    )


def _sentence(evidence: str) -> str:
    return f"{evidence[:1].upper()}{evidence[1:]}."


def _loads(history: History, since: float) -> Iterator[Load]:
    for name, series in sorted(history.series.items()):
        summary = None if name == ALL else summarize(series.points, since)
        if summary is not None:
            yield Load(name, summary.requests, summary.errors, summary.seconds, summary.p99)

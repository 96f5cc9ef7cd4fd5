"""The warnings that hold by a page, each with its evidence.

Rule: a state is a warning as long as it holds, an event (a rebind, a loss) for EVENT_SECONDS.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from resty_metrics.advice import remedies
from resty_metrics.advice import warnings as known
from resty_metrics.advice.warnings import LEAST_COVERAGE, LEAST_SPOOL, Advice, Severity
from resty_metrics.commands.top import health, page
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.page import OURS, SPOOL, Page

_COMMANDS = {
    "doctor": "sudo resty-metrics doctor",
    "watch": "sudo resty-metrics doctor --watch",
    "check-config": "resty-metrics check-config FILE",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A finding and its remedy. ``name``: the warning's; None where the look itself failed."""

    seen: str
    remedy: str
    name: str | None = None
    severity: Severity = "warning"


def warnings(view: View) -> list[Trouble]:
    """Return the warnings that an operator should act on, critical ones first."""
    now = view.page
    states = (_of_sources, _of_each_nginx, _of_the_journal, _of_the_configuration)
    found = [*_of_the_socket(view), *chain.from_iterable(of(now) for of in states), *_of_events(view)]
    return sorted(found, key=lambda one: one.severity != "critical")


def _trouble(advice: Advice, seen: str = "", do: str | None = None, **places: object) -> Trouble:
    title = advice.title.format(**places)
    run = "" if advice.command is None else f" Run: {_COMMANDS[advice.command]}"
    return Trouble(f"{title}: {seen}" if seen else title, f"{do or advice.do}{run}", advice.name, advice.severity)


def _of_the_socket(view: View) -> Iterator[Trouble]:
    now, rebinds = view.page, _shown(_events(view, "reason", "socket_rebinds_total"))
    if now.value(f"{OURS}socket_standby"):
        yield _trouble(known.STANDBY)
    elif now.value(f"{OURS}socket_up") == 0 and not now.value(f"{OURS}socket_contended"):
        yield _trouble(known.SOCKET_DOWN)
    if now.value(f"{OURS}socket_contended"):
        yield _trouble(known.CONTENDED, rebinds)
    elif rebinds:
        yield _trouble(known.REBOUND, rebinds)


def _of_sources(now: Page) -> Iterator[Trouble]:
    for labels, up in now.labelled(f"{OURS}source_up"):
        if up or health.is_unused(now, labels):
            continue
        if labels.get("source") == "lua":
            yield _trouble(known.NO_WORKER, of=_of(labels))
        else:
            yield _trouble(known.SOURCE_DOWN, do=remedies.of_source(""), source=health.source_name(labels))


def _of(labels: Mapping[str, str]) -> str:
    return f" ({labels['nginx']})" if labels.get("nginx") else ""


def _of_each_nginx(now: Page) -> Iterator[Trouble]:
    seen = now.series(f"{OURS}workers_seen")
    for text, expected in now.series(f"{OURS}workers_expected").items():
        if seen.get(text, 0) < expected:
            places = {"heard": f"{seen.get(text, 0):g}", "run": f"{expected:g}", "of": _of(page.labels(text))}
            yield _trouble(known.WORKERS_MISSING, **places)
    for labels, share in now.labelled(f"{OURS}coverage_ratio"):
        if share < LEAST_COVERAGE:
            yield _trouble(known.COVERAGE, share=f"{share:.1%}", of=_of(labels))
    free = now.series(f"{OURS}shared_dict_free_bytes")
    for text, capacity in now.series(f"{OURS}shared_dict_capacity_bytes").items():
        labels = page.labels(text)
        if labels.get("dict") == SPOOL and free.get(text, capacity) < LEAST_SPOOL * capacity:
            yield _trouble(known.SPOOL_FULL, f"{free[text] / capacity:.1%} is free", of=_of(labels))


def _of_the_journal(now: Page) -> Iterator[Trouble]:
    journal = health.journal(now)
    if journal.says == "stalls":
        yield _trouble(known.JOURNAL_STALLS)
    elif journal.well is False:
        yield _trouble(known.JOURNAL_DOWN, do=remedies.of_journal(""))


def _of_the_configuration(now: Page) -> Iterator[Trouble]:
    if now.value(f"{OURS}config_last_reload_successful") == 0:
        yield _trouble(known.CONFIG_REFUSED)


def _of_events(view: View) -> Iterator[Trouble]:
    for reason, count in _events(view, "reason", "refusals_total").items():
        yield _trouble(known.REFUSALS, f"{count:g}", remedies.of_refusal(reason), reason=reason)
    lost = _events(view, "reason", "lost_rows_total", "worker_lost_rows_total")
    if lost:
        yield _trouble(known.ROWS_LOST, _shown(lost))
    for family, count in _events(view, "family", "overflow_rows_total", "worker_overflow_total").items():
        yield _trouble(known.OVERFLOW, f"{count:g} rows were counted as other", family=family)
    for reason, count in _events(view, "reason", "heartbeat_rows_refused_total").items():
        yield _trouble(known.GAUGES_CUT, f"{count:g}", remedies.of_gauge_rows(reason), reason=reason)
    for advice, label, name in (
        (known.SEND_ERRORS, "reason", "worker_send_errors_total"),
        (known.WORKER_ERRORS, "reason", "worker_errors_total"),
        (known.UNANSWERED, "", "answers_failed_total"),
    ):
        found = _events(view, label, name)
        if found:
            yield _trouble(advice, _shown(found))
    for labels, value in view.page.labelled(f"{OURS}family_conflict"):
        if value:
            yield _trouble(known.CONFLICT, family=labels.get("family", ""))


def _events(view: View, label: str, *names: str) -> Mapping[str, float]:
    """Return the recent counts under these names, by one label."""
    found: Counter[str] = Counter()
    for name in names:
        for text, count in view.events.get(OURS + name, {}).items():
            found.update({page.labels(text).get(label, ""): count})
    return found


def _shown(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}".strip() for name, count in sorted(counts.items()))

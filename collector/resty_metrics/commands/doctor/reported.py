"""The troubles that the collector reports on its page, as findings; and what the page says where there is no trouble.

Rules:
- The collector alone judges: doctor makes no trouble of a figure. It shows the figures as evidence.
- Counters of the collector count from its start, and findings say so. Those of workers, and of lost rows, are in the
  journal and outlive it.
- An absent metric is not known: SKIP where it may be absent for now, no finding where this collector does not have it.
- A metric of each nginx has a finding for each nginx, which names it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from resty_metrics.commands.doctor.finding import ALL_REQUESTS, LATE_REQUESTS, Finding, Verdict, as_remedy, ok, skip
from resty_metrics.commands.doctor.nginx_deaths import workers
from resty_metrics.commands.doctor.page import Page
from resty_metrics.commands.doctor.ready_words import NO_WORDS, ReadyWords, in_words, title
from resty_metrics.commands.doctor.worker_reports import IDLE, Running, label, naming_stopped, reports
from resty_metrics.health import remedies
from resty_metrics.health import troubles as kinds
from resty_metrics.health.troubles import BY_NAME, KINDS, Kind

CHECKS: Mapping[Kind, str] = {
    kinds.STANDBY: "page.socket",
    kinds.SOCKET_DOWN: "page.socket",
    kinds.SOCKET_CONTENDED: "page.socket",
    kinds.SOCKET_UNREACHABLE: "page.socket",
    kinds.REFUSALS: "page.refusals",
    kinds.NOTHING_ARRIVES: "page.coverage",
    kinds.COVERAGE: "page.coverage",
    kinds.WORKERS_MISSING: "workers.seen",
    kinds.SPOOL_FULL: "page.spool",
    kinds.SOURCE_DOWN: "page.sources",
    kinds.ROWS_LOST: "page.lost",
    kinds.OVERFLOW: "page.overflow",
    kinds.GAUGES_CUT: "page.gauges",
    kinds.WORKER_ERRORS: "workers.errors",
    kinds.JOURNAL_DOWN: "journal",
    kinds.JOURNAL_STALLS: "journal",
    kinds.CONFIG_REFUSED: "page.configuration",
    kinds.FAMILY_CONFLICT: "page.conflicts",
}
_ELSEWHERE = {kinds.OVERFLOW, kinds.FAMILY_CONFLICT}  # families.py says more
_REMEDIES: Mapping[Kind, str] = {  # where no other check found the cause; the collector's say: run doctor
    kinds.NOTHING_ARRIVES: "See nginx's error log for messages of resty-metrics. If doctor did not run as root, run "
    "it as root.",
    kinds.COVERAGE: "Compare the access log with the page, to find the requests that nginx alone counts.",
}

_REASONS = {"uid": "user not allowed"}  # "uid 7" would name a user


def held(page: Page) -> list[tuple[Kind, str]]:
    """Return each trouble that the page reports, and the name of its nginx, in the order of the closed list."""
    troubles = []
    for labels, value in page.series("trouble").items():
        names = dict(labels)
        if value and names.get("trouble") in BY_NAME:
            troubles.append((BY_NAME[names["trouble"]], names.get("nginx", "")))
    return sorted(troubles, key=lambda trouble: (KINDS.index(trouble[0]), trouble[1]))


def check(page: Page, state_dir: str, running: Mapping[str, Running], words: ReadyWords = NO_WORDS) -> list[Finding]:
    """Return all findings of a page. ``running``: the running workers, by the name of their nginx."""
    troubles = [(kind, nginx) for kind, nginx in held(page) if kind not in _ELSEWHERE]
    bad = {(CHECKS[kind], nginx) for kind, nginx in troubles} | {(CHECKS[kind], None) for kind, _ in troubles}
    quiet = [finding for name, nginx, finding in _quiet(page, running) if (name, nginx) not in bad]
    findings = [finding for kind, nginx in troubles for finding in _findings(page, kind, nginx, state_dir, words)]
    return [*(_located(finding, running) for finding in findings), *quiet]


def _located(finding: Finding, running: Mapping[str, Running]) -> Finding:
    """Return the finding with what doctor alone sees of the workers that it is about."""
    workers = running.get(finding.nginx or "")
    return finding if workers is None or finding.check != "workers.seen" else naming_stopped(finding, workers)


def _findings(page: Page, kind: Kind, nginx: str, state_dir: str, words: ReadyWords) -> list[Finding]:
    """Return the finding of a trouble; of sources that are down, one for each."""
    finding = replace(_finding(page, kind, nginx, state_dir), nginx=nginx if kind.per_nginx else None)
    if kind is kinds.SOURCE_DOWN:
        sources = _down(page, nginx)
        return [
            replace(finding, evidence=f"{title(kind, nginx)}: {name}", parts=frozenset({name})) for name in sources
        ] or [finding]
    return [in_words(replace(finding, parts=_parts(page, kind)), kind, nginx, words)]


def _parts(page: Page, kind: Kind) -> frozenset[str]:
    if kind is kinds.COVERAGE:
        return frozenset({LATE_REQUESTS})
    if kind is kinds.NOTHING_ARRIVES:
        return frozenset({ALL_REQUESTS})
    if kind is kinds.WORKERS_MISSING:
        return workers(1)
    return frozenset(page.by("refusals_total", "reason")) if kind is kinds.REFUSALS else frozenset()


def _finding(page: Page, kind: Kind, nginx: str, state_dir: str) -> Finding:
    figures = _figures(page, kind, nginx)
    evidence = f"{title(kind, nginx)}{f': {figures}' if figures else ''}"
    reasons = sorted({reason for name in kind.counters for reason in page.by(name, "reason")} - {"not_ready"})
    remedy = as_remedy(_REMEDIES.get(kind) or remedies.of(kind, reasons))
    if state_dir and kind in (kinds.JOURNAL_DOWN, kinds.JOURNAL_STALLS):
        remedy = f"{state_dir}: {remedy}"
    if kind.command == "watch":
        remedy = f"{remedy}; run: sudo resty-metrics doctor --watch"
    verdict = Verdict.FAIL if kind.severity == "critical" else Verdict.WARN
    return Finding(CHECKS[kind], verdict, evidence, remedy, kind.name)


def _figures(page: Page, kind: Kind, nginx: str) -> str:
    if kind.counters:
        counted = _sums(page, kind)
        return f"{shown(counted)} {_since(kind)}" if counted else ""
    if kind in _FIGURES:
        return _FIGURES[kind](page, nginx)
    return ""


def _since(kind: Kind) -> str:
    return "so far" if kind in (kinds.ROWS_LOST, kinds.WORKER_ERRORS) else "since the collector's start"


def _sums(page: Page, kind: Kind) -> dict[str, float]:
    sums: dict[str, float] = {}
    for name in kind.counters:
        for reason, count in page.by(name, "reason").items():
            sums[reason] = sums.get(reason, 0) + count
    return sums


def shown(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{_REASONS.get(name, name)} {value:g}" for name, value in sorted(counts.items()))


def _coverage(page: Page, nginx: str) -> str:
    ratio = page.by_nginx("coverage_ratio").get(nginx)
    return "" if ratio is None else f"the log hook ran for {ratio:.1%} of the requests of the last minutes"


def _workers(page: Page, nginx: str) -> str:
    reporting, expected = page.by_nginx("workers_seen").get(nginx, 0), page.by_nginx("workers_expected").get(nginx)
    return f"{reporting:g}{'' if expected is None else f' of {expected:g}'} report"


def _stalls(page: Page, _: str) -> str:
    pending, waits = page.value("journal_pending_records") or 0, page.value("journal_pending_seconds") or 0.0
    return f"{pending:g} records wait, the oldest for {waits:.1f} s"


def _down(page: Page, nginx: str) -> list[str]:
    down = [dict(labels) for labels, up in page.series("source_up").items() if not up]
    return sorted({source.get("source", "") for source in down if source.get("nginx", "") == nginx} - {"lua"})


_FIGURES: Mapping[Kind, Callable[[Page, str], str]] = {
    kinds.COVERAGE: _coverage,
    kinds.WORKERS_MISSING: _workers,
    kinds.JOURNAL_STALLS: _stalls,
}


# where there is no trouble -------------------------------------------------------------------------------------------


def _quiet(page: Page, running: Mapping[str, Running]) -> Iterator[tuple[str, str | None, Finding]]:
    """Yield what the page says of each check: its name, its nginx (None: it concerns none), the finding."""
    if page.value("socket_up") is not None:
        yield "page.socket", None, ok("page.socket", "the socket leads to the collector")
    yield from ((finding.check, None, finding) for finding in _rebinds(page))
    for finding in reports(page, running):
        yield finding.check, finding.nginx, finding
    yield from _covered(page)
    for kind, words in (
        (kinds.ROWS_LOST, "rows lost"),
        (kinds.REFUSALS, "datagrams refused"),
        (kinds.GAUGES_CUT, "rows of gauges refused"),
        (kinds.WORKER_ERRORS, "errors of workers"),
    ):
        if kind is kinds.WORKER_ERRORS or any(page.series(name) for name in kind.counters):
            counts = _sums(page, kind)
            before = f"{shown(counts)} {_since(kind)}, none lately" if counts else "none"
            yield CHECKS[kind], None, ok(CHECKS[kind], f"{words}: {before}")
    if page.value("journal_up"):
        yield "journal", None, ok("journal", "the journal is written, so a restart loses nothing")
    yield from _lua(page)


def _rebinds(page: Page) -> list[Finding]:
    if not page.series("socket_rebinds_total"):
        return []
    rebinds = page.by("socket_rebinds_total", "reason")
    if not rebinds:
        return [ok("page.rebinds", "the collector never had to put its socket back since its start")]
    return [
        ok("page.rebinds", f"the collector put its socket back since its start: {shown(rebinds)}; nothing was lost")
    ]


def _covered(page: Page) -> Iterator[tuple[str, str | None, Finding]]:
    name, ratios = "page.coverage", page.by_nginx("coverage_ratio")
    if not ratios:
        yield name, None, skip(name, "coverage needs five minutes and 100 requests")
    for nginx, ratio in ratios.items():
        yield name, nginx, ok(name, f"{label(nginx)}{ratio:.1%} of the requests of nginx ran the log hook")


def _lua(page: Page) -> Iterator[tuple[str, str | None, Finding]]:
    for labels, alive in sorted(page.series("source_up").items(), key=lambda item: sorted(item[0])):
        names = dict(labels)
        if names.get("source") == "lua":
            nginx, name = names.get("nginx", ""), "source.lua"
            silent = skip(name, f"{label(nginx)}no worker sends heartbeats; {IDLE}")
            yield name, None, ok(name, f"{label(nginx)}a worker sends heartbeats") if alive else silent

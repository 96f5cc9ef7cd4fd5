"""Checks of the collector's own page and readiness: ``page.*``, ``source.*``, ``workers``, ``journal``.

Rules:
- An absent metric is not known: SKIP where it may be absent for now, no finding where this collector does not have it.
- Counters count from the collector's start, and findings say so.
- A metric of each nginx is judged for each nginx, and the finding names it.
- Remedies are those of resty_metrics/advice, except where another finding of doctor says more.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from resty_metrics.advice import remedies, warnings
from resty_metrics.advice.warnings import LEAST_COVERAGE, SLOW_COMMIT_SECONDS
from resty_metrics.commands.doctor.finding import Finding, as_remedy, fail, not_known, ok, skip, warn

_PREFIX = "resty_metrics_"
_SILENT = "no worker was heard of; without lifecycle.conf one speaks with its first request"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an HTTP request.

    ``error`` None: ``text`` is the body of a status 200, or ``wants`` names what we lack.
    """

    url: str
    text: str
    error: str | None
    wants: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The samples of a page by name, then by labels."""

    samples: Mapping[str, Mapping[frozenset[tuple[str, str]], float]]

    def series(self, name: str) -> Mapping[frozenset[tuple[str, str]], float]:
        return self.samples.get(_PREFIX + name, {})

    def value(self, name: str, **labels: str) -> float | None:
        return self.series(name).get(frozenset(labels.items()))

    def by_nginx(self, name: str) -> dict[str, float]:
        """Return a family with one sample for each nginx, by its name; "" for one without a name."""
        return dict(sorted((dict(labels).get("nginx", ""), value) for labels, value in self.series(name).items()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the positive samples of a family by one of its labels, summed over the others."""
        found: dict[str, float] = {}
        for labels, value in self.series(name).items():
            key = dict(labels).get(label)
            if key is not None and value > 0:
                found[key] = found.get(key, 0) + value
        return found


def read(text: str) -> Page:
    """Parse a page. Raises ValueError where the text is not one."""
    samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return Page(samples)


def answers(answer: Answer, page: Page | None, foreign: int | None) -> Finding:
    """Check ``page.answers``: the page comes and can be read. ``foreign``: a collector in another network namespace."""
    check = "page.answers"
    if answer.error is not None and foreign is not None:
        seen = f"{answer.url}: {answer.error}; process {foreign} lives in another network namespace"
        return not_known(check, seen, f"nsenter --target {foreign} --net resty-metrics doctor")
    if answer.error is not None:
        return fail(check, f"{answer.url}: {answer.error}", "see that the collector runs, and --web.listen-address")
    if answer.wants is not None:
        return ok(check, f"{answer.url} answers and wants {answer.wants}: what is on it cannot be seen from here")
    if page is None:
        return fail(check, f"{answer.url} is no page of ours", "see what else listens at --web.listen-address")
    return ok("page.answers", f"{answer.url}: {sum(map(len, page.samples.values()))} samples")


def ready(answer: Answer) -> list[Finding]:
    """Check ``page.ready``: each degradation that the collector knows of is a finding."""
    if answer.error is not None:
        return [fail("page.ready", f"{answer.url}: {answer.error}", "see the collector's log")]
    if answer.wants is not None:
        return [skip("page.ready", f"{answer.url} wants {answer.wants}")]
    degraded = [line for line in answer.text.splitlines() if line.startswith("degraded: ")]
    if not degraded:
        return [ok("page.ready", f"{answer.url}: ready, nothing degraded")]
    return [warn("page.ready", line, "see the other findings, and the collector's log") for line in degraded]


def check(page: Page, state_dir: str, running: Mapping[str, int]) -> list[Finding]:
    """Return all findings of a page. ``running``: the running workers, by the name of their nginx; 0: not known."""
    checks = (_socket, _rebinds, _coverage, _lost, _refusals, _gauges, _worker_errors)
    found = [finding for check in checks for finding in check(page)]
    return [*_workers(page, running), *found, *_journal(page, state_dir)]


def _shown(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in sorted(counts.items()))


def _socket(page: Page) -> list[Finding]:
    findings = []
    up = page.value("socket_up")
    if up == 0:
        seen = "the collector says: the file at the path is not its socket, or not with its mode and owner"
        findings.append(fail("page.socket", seen, "see socket.holder; resty-metrics doctor --watch names who does it"))
    elif up is not None:
        findings.append(ok("page.socket", "the collector says that the socket is its own"))
    if page.value("socket_contended"):
        found = page.by("socket_rebinds_total", "reason")
        seen = "the socket is taken away or changed again and again, as soon as it is put back"
        seen += f" (since the collector's start: {_shown(found)})" if found else ""
        findings.append(fail("page.socket", seen, "resty-metrics doctor --watch names who does it; end that"))
    if page.value("socket_standby"):
        seen = "the collector stands by: another holds the lock in the directory that was made anew"
        findings.append(warn("page.socket", seen, as_remedy(warnings.STANDBY.do)))
    return findings


def _rebinds(page: Page) -> list[Finding]:
    if not page.series("socket_rebinds_total"):
        return []
    found = page.by("socket_rebinds_total", "reason")
    failed = page.value("socket_failed_rebinds_total")
    found |= {"failed": failed} if failed else {}
    if not found:
        return [ok("page.rebinds", "the socket never had to be put back since the collector's start")]
    seen = f"the collector put its socket back since its start: {_shown(found)}"
    return [warn("page.rebinds", seen, "resty-metrics doctor --watch names who touches it; its log named who did")]


def _workers(page: Page, running: Mapping[str, int]) -> list[Finding]:
    seen, expected = page.by_nginx("workers_seen"), page.by_nginx("workers_expected")
    names = sorted({*seen, *running}) or [""]
    return [_seen(name, seen.get(name), running.get(name) or expected.get(name)) for name in names]


def _of(nginx: str) -> str:
    return f"{nginx}: " if nginx else ""


def _seen(nginx: str, seen: float | None, expected: float | None) -> Finding:
    check = "workers.seen"
    if seen is None or expected is None:
        return skip(check, f"{_of(nginx)}{_SILENT}")
    words = f"{_of(nginx)}{seen:g} workers were heard of lately, {expected:g} run"
    if seen >= expected:
        return ok(check, words)
    return warn(check, words, as_remedy(warnings.WORKERS_MISSING.do))


def _coverage(page: Page) -> list[Finding]:
    ratios = page.by_nginx("coverage_ratio")
    if not ratios:
        return [skip("page.coverage", "it takes five minutes and 100 requests")]
    return [_covered(name, ratio) for name, ratio in ratios.items()]


def _covered(nginx: str, ratio: float) -> Finding:
    if ratio < LEAST_COVERAGE:
        seen = f"{_of(nginx)}of nginx's requests of the last minutes {ratio:.1%} ran the hook"
        return warn("page.coverage", seen, "see nginx.shadowed: a log_by_lua lacks our line")
    return ok("page.coverage", f"{_of(nginx)}{ratio:.1%} of nginx's requests ran the hook")


def _counted(page: Page, check: str, name: str, label: str, words: str, remedy: str) -> list[Finding]:
    """Report a counter that should stay at 0."""
    if not page.series(name):
        return []
    found = page.by(name, label)
    if not found:
        return [ok(check, f"{words}: none since the collector's start")]
    return [warn(check, f"{words} since the collector's start: {_shown(found)}", remedy)]


def _lost(page: Page) -> list[Finding]:
    remedy = as_remedy(warnings.ROWS_LOST.do)
    return _counted(page, "page.lost", "lost_rows_total", "reason", "rows that could not be counted", remedy)


def _refusals(page: Page) -> list[Finding]:
    found = page.by("refusals_total", "reason")
    remedy = as_remedy(*dict.fromkeys(map(remedies.of_refusal, sorted(found))))
    return _counted(page, "page.refusals", "refusals_total", "reason", "datagrams refused", remedy)


def _gauges(page: Page) -> list[Finding]:
    found = page.by("heartbeat_rows_refused_total", "reason")
    remedy = as_remedy(*dict.fromkeys(map(remedies.of_gauge_rows, sorted(found))))
    return _counted(
        page, "page.gauges", "heartbeat_rows_refused_total", "reason", "rows of gauges that found no room", remedy
    )


def _worker_errors(page: Page) -> list[Finding]:
    found = page.by("worker_errors_total", "reason")
    found |= {f"lost rows, {reason}": value for reason, value in page.by("worker_lost_rows_total", "reason").items()}
    found |= {f"overflow of {family}": value for family, value in page.by("worker_overflow_total", "family").items()}
    if not found:
        return [ok("workers.errors", "the workers report none")]
    return [warn("workers.errors", f"the workers report: {_shown(found)}", as_remedy(warnings.WORKER_ERRORS.do))]


_WRITTEN_AGAIN = "What is in memory is then written, without a restart, which before that would lose it"


def _journal(page: Page, state_dir: str) -> list[Finding]:
    up = page.value("journal_up")
    if up is None:
        return []
    errors = page.by("journal_errors_total", "reason")
    if up:
        return [_written(page, state_dir)]
    seen = f"the collector keeps its numbers in memory only{f': {_shown(errors)}' if errors else ''}"
    known = as_remedy(*dict.fromkeys(map(remedies.of_journal, sorted(errors)))) or "see the collector's log"
    return [warn("journal", seen, f"{state_dir}: {known}. {_WRITTEN_AGAIN}")]


def _written(page: Page, state_dir: str) -> Finding:
    """Report a journal that is written, perhaps too slowly."""
    waits, pending = page.value("journal_pending_seconds") or 0.0, page.value("journal_pending_records") or 0
    if waits < SLOW_COMMIT_SECONDS:
        return ok("journal", "it is written; a restart loses nothing")
    seen = f"its writes stall: {pending:g} records wait, the oldest for {waits:.1f} s; workers keep what is not written"
    remedy = f"see what keeps the disk of {state_dir} busy, or who holds its database: fuser -v {state_dir}/journal-*"
    return warn("journal", seen, remedy)


def sources(page: Page) -> list[Finding]:
    """Check ``source.lua``, and the fetched sources, from the page. Doctor also fetches the latter itself."""
    findings = []
    for labels, value in sorted(page.series("source_up").items(), key=lambda item: sorted(item[0])):
        names = dict(labels)
        label = "/".join(filter(None, (names.get("source"), names.get("nginx"))))
        check = f"source.{names.get('source')}"
        if names.get("source") == "lua":
            findings.append(_lua(check, names.get("nginx", ""), bool(value)))
        elif not value:
            findings.append(
                warn(
                    check,
                    f"the collector could not read {label} for its page",
                    "the collector's log says why; doctor's own attempt is beside this",
                )
            )
    return findings


def _lua(check: str, nginx: str, alive: bool) -> Finding:
    if alive:
        return ok(check, f"{_of(nginx)}a worker's heartbeat is alive")
    seen = f"{_of(nginx)}no worker's heartbeat is alive"
    remedy = "send nginx a request; if that changes nothing, see reach.* and nginx.*, and nginx's error log"
    return warn(check, seen, remedy)


def fetched(name: str, url: str, error: str | None, families: int, foreign: int | None) -> Finding:
    """Check ``source.stub_status`` or ``source.vts``, as doctor itself fetched it. ``foreign`` is as in ``answers``."""
    if error is not None and foreign is not None:
        seen = f"{url}: {error} from here; process {foreign} lives in another network namespace"
        return not_known(f"source.{name}", seen, f"nsenter --target {foreign} --net resty-metrics doctor")
    if error is not None:
        remedy = as_remedy(remedies.of_source(error.partition(":")[0]))
        return fail(f"source.{name}", f"{url}: {error}", remedy)
    return ok(f"source.{name}", f"{url} answers and can be read ({families} families)")

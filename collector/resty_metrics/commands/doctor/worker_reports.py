"""Check that the running workers of each nginx report: ``workers.seen``.

The collector knows that workers fell silent; doctor alone sees which are stopped, and workers that were never heard of.
Rule: with lifecycle.conf each living worker sends heartbeats, so a silent one is a problem. Without it a worker speaks
with its first request, and an idle one is healthy.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from resty_metrics.commands.doctor.finding import Finding, as_remedy, ok, skip, warn
from resty_metrics.commands.doctor.nginx_checks import RELOAD
from resty_metrics.commands.doctor.page import Page

IDLE = "an idle worker reports with its first request, or from its start with lifecycle.conf"


@dataclass(frozen=True, slots=True)
class Running:
    """The running workers that send here, of one nginx.

    ``count``: 0 where it cannot be compared with the page; ``beats``: each of them has had the time to send heartbeats,
    and is to do so; ``silent``: those that are not connected to the socket; ``stopped``: by a signal; ``reload``: the
    command.
    """

    count: int
    beats: bool = False
    silent: Collection[int] = ()
    stopped: Collection[int] = ()
    reload: str = RELOAD


def label(nginx: str) -> str:
    """Return the name of an nginx as the start of a sentence; "" for one without a name."""
    return f"{nginx}: " if nginx else ""


def reports(page: Page, running: Mapping[str, Running]) -> Iterator[Finding]:
    """Yield the finding of each nginx that reports, or runs here."""
    reporting, expected = page.by_nginx("workers_seen"), page.by_nginx("workers_expected")
    for nginx in sorted({*reporting, *running}) or [""]:
        workers = running.get(nginx) or Running(0)
        count, run = reporting.get(nginx), workers.count or expected.get(nginx)
        yield replace(_reports(nginx, count, run, workers), nginx=nginx)


def _reports(nginx: str, count: float | None, run: float | None, workers: Running) -> Finding:
    """Check ``workers.seen``. ``count``: workers that report; ``run``: those that run; None: not known."""
    name = "workers.seen"
    if run is not None and workers.beats and workers.count > (count or 0):
        return _silent(
            f"{label(nginx)}{count or 0:g} of {run:g} workers send heartbeats", workers, workers.count - (count or 0)
        )
    if count is None or run is None:
        return skip(name, f"{label(nginx)}no worker has reported; {IDLE}")
    words = f"{label(nginx)}{count:g} of {run:g} workers report"
    return ok(name, words if count >= run else f"{words}; {IDLE}")


def naming_stopped(finding: Finding, workers: Running) -> Finding:
    """Return a finding about silent workers with those that a signal has stopped, and how to continue them."""
    if not workers.stopped:
        return finding
    pids = " ".join(map(str, workers.stopped))
    evidence = f"{finding.evidence}; stopped by a signal: {pids}"
    return replace(finding, evidence=evidence, remedy=as_remedy(f"kill -CONT {pids}"))


def _silent(words: str, workers: Running, missing: float) -> Finding:
    """Report workers that are silent although each one sends heartbeats from its start."""
    evidence = f"{words}, and with lifecycle.conf each one does"
    if workers.stopped:
        return naming_stopped(warn("workers.seen", evidence, ""), workers)
    named = sorted(workers.silent) if len(workers.silent) == missing else []
    pids = " ".join(map(str, named))
    end = f"end what hangs (kill -9 {pids}), and nginx starts other workers" if named else "restart nginx"
    return warn(
        "workers.seen",
        f"{evidence}; silent: {pids}" if named else evidence,
        f"reload nginx, since its workers may be older than that include: {workers.reload}; if they stay silent, see "
        f"nginx's error log, then {end}",
    )

"""How the pipeline fares, in words; and what is wrong with it, with what to do.

Rules:
- A state is a word as long as it holds. An event (a rebind, a loss) is a warning for EVENT_SECONDS.
- What a page does not have is not known, and said so where it should be there.
- A user without Lua is not told for ever that there is none, where another source can be read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from collector.top import page
from collector.top.meter import View
from collector.top.page import OURS, Page

LEAST_COVERAGE = 0.99
SLOW_COMMIT_SECONDS = 1.0
_DOCTOR = "sudo resty-metrics doctor"
_WATCH = f"{_DOCTOR} --watch names who does it"


@dataclass(frozen=True, slots=True)
class Word:
    """``well`` None: it is not known."""

    subject: str
    says: str
    well: bool | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was seen, and what to do."""

    seen: str
    remedy: str


def words(now: Page) -> list[Word]:
    """Of the socket, each source, the workers, the journal, coverage."""
    return [_socket(now), *_sources(now), _workers(now), _journal(now), _coverage(now)]


def _socket(now: Page) -> Word:
    up = now.value(f"{OURS}socket_up")
    if now.value(f"{OURS}socket_contended"):
        return Word("socket", "contended", False)
    if now.value(f"{OURS}socket_standby"):
        return Word("socket", "stands by", False)
    return Word("socket", "not known" if up is None else "up" if up else "down", None if up is None else bool(up))


def _source(labels: Mapping[str, str]) -> str:
    return " ".join(filter(None, (labels.get("source"), labels.get("nginx"))))


def _sources(now: Page) -> list[Word]:
    found = now.labelled(f"{OURS}source_up")
    if not found:
        return [Word("sources", "not known", None)]
    words = {True: "up", False: "down", None: "not heard of"}
    return [
        Word(_source(labels), words[well], well)
        for labels, up in found
        for well in (None if _is_unused(now, labels) else bool(up),)
    ]


def _is_unused(now: Page, labels: Mapping[str, str]) -> bool:
    """Of Lua: nothing ever came of it, and there are other sources."""
    if labels.get("source") != "lua" or now.value(f"{OURS}workers_seen") or now.series(page.RESPONSES):
        return False
    return any(up and other.get("source") != "lua" for other, up in now.labelled(f"{OURS}source_up"))


def _workers(now: Page) -> Word:
    seen, expected = (now.series(f"{OURS}workers_{word}") for word in ("seen", "expected"))
    if not expected:
        return Word("workers", "none heard of", None)
    heard, run = sum(seen.values()), sum(expected.values())
    return Word("workers", f"{heard:g} of {run:g}", heard >= run)


def _journal(now: Page) -> Word:
    up = now.value(f"{OURS}journal_up")
    if up is None:
        return Word("journal", "none", None)
    if not up:
        return Word("journal", "in memory only", False)
    stalls = (now.value(f"{OURS}journal_pending_seconds") or 0.0) >= SLOW_COMMIT_SECONDS
    return Word("journal", "stalls" if stalls else "written", not stalls)


def _coverages(now: Page) -> list[float]:
    return list(now.series(f"{OURS}coverage_ratio").values())


def _coverage(now: Page) -> Word:
    found = _coverages(now)
    if not found:
        return Word("coverage", "not known yet", None)
    least = min(1.0, *found)  # a little above 1 is how it is sampled
    return Word("coverage", f"{least:.1%}", least >= LEAST_COVERAGE)


def warnings(view: View) -> list[Trouble]:
    """What an operator should do something about, the worst first."""
    now = view.page
    return [*_of_the_socket(view), *_of_sources(now), *_of_the_journal(now), *_of_coverage(now), *_of_events(view)]


def _of_the_socket(view: View) -> Iterator[Trouble]:
    now = view.page
    if now.value(f"{OURS}socket_contended"):
        yield Trouble("somebody keeps taking the socket away, as soon as it is put back", f"{_WATCH}; end that")
    elif now.value(f"{OURS}socket_standby"):
        yield Trouble("the collector stands by: another one holds the lock in a new directory", "end one of the two")
    elif now.value(f"{OURS}socket_up") == 0:
        seen = "the file at the socket's path is not the collector's, or not with its mode and owner"
        yield Trouble(seen, f"{_DOCTOR} says whose it is")
    rebinds = _events(view, "socket_rebinds_total", "reason")
    if rebinds:
        yield Trouble(f"the socket was taken away or changed, and put back: {_shown(rebinds)}", _WATCH)


def _of_sources(now: Page) -> Iterator[Trouble]:
    for labels, up in now.labelled(f"{OURS}source_up"):
        if up or _is_unused(now, labels):
            continue
        if labels.get("source") == "lua":
            remedy = f"send nginx a request; if that changes nothing: {_DOCTOR}"
            yield Trouble("no worker is heard of: nginx, or its way to the socket, is down", remedy)
        else:
            yield Trouble(f"source {_source(labels)} cannot be read", f"{_DOCTOR} fetches it and says why")
    workers = _workers(now)
    if workers.well is False:
        remedy = "include lifecycle.conf (else a worker speaks with its first request); see nginx's error log"
        yield Trouble(f"of nginx's workers only {workers.says} are heard of", remedy)


def _of_the_journal(now: Page) -> Iterator[Trouble]:
    journal = _journal(now)
    if journal.says == "stalls":
        yield Trouble("the journal's writes stall: workers keep what is not written", "see the disk of --state.dir")
    elif journal.well is False:
        remedy = "see that the disk of --state.dir is not full and can be written; a restart before that loses counts"
        yield Trouble("numbers are kept in memory only", remedy)


def _of_coverage(now: Page) -> Iterator[Trouble]:
    coverage = _coverage(now)
    if coverage.well is False:
        seen = f"of nginx's requests {coverage.says} ran the hook: a log_by_lua lacks our line"
        yield Trouble(seen, f"{_DOCTOR} names it with file and line")


_EVENTS = (
    ("refusals_total", "reason", "datagrams were refused", f"{_DOCTOR}; the collector's log says who sent them"),
    ("lost_rows_total", "reason", "rows could not be counted", "the collector's log says which"),
    ("overflow_rows_total", "family", "rows were counted as other", "group that label with an nginx map"),
    ("worker_lost_rows_total", "reason", "rows were lost in workers", "nginx's error log says more"),
    ("worker_overflow_total", "family", "rows were counted as other", "group that label with an nginx map"),
    ("worker_send_errors_total", "reason", "workers could not send", f"{_DOCTOR}; nginx's error log says why"),
    ("worker_errors_total", "reason", "workers report errors", "nginx's error log says more of each"),
    ("answers_failed_total", None, "workers could not be answered", _DOCTOR),
)


def _of_events(view: View) -> Iterator[Trouble]:
    for name, label, seen, remedy in _EVENTS:
        found = _events(view, name, label)
        if found:
            yield Trouble(f"{seen}: {_shown(found)}", remedy)
    conflicts = [labels.get("family", "") for labels, value in view.page.labelled(f"{OURS}family_conflict") if value]
    if conflicts:
        yield Trouble(f"withheld from the page: {', '.join(conflicts)}", "give your own metric another name")


def _events(view: View, name: str, label: str | None) -> dict[str, float]:
    """What was counted lately, by one label."""
    found: dict[str, float] = {}
    for text, count in view.events.get(OURS + name, {}).items():
        key = page.labels(text).get(label or "", "")
        found[key] = found.get(key, 0.0) + count
    return found


def _shown(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {count:g}".strip() for name, count in sorted(counts.items()))

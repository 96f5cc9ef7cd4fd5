"""The state of the parts of the pipeline, each in a word.

Rules:
- A fact that a page lacks is not known; a word says so where the page should have it.
- A user without Lua is not warned for ever about it, if another source can be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from resty_metrics.advice.warnings import LEAST_COVERAGE, SLOW_COMMIT_SECONDS
from resty_metrics.commands.top import page
from resty_metrics.commands.top.page import OURS, Page


@dataclass(frozen=True, slots=True)
class Word:
    """The state of one part, in a word. ``well`` None: it is not known."""

    subject: str
    says: str
    well: bool | None


def words(now: Page) -> list[Word]:
    """Return a word about the socket, each source, the workers, the journal, and coverage."""
    return [_socket(now), *_sources(now), _workers(now), journal(now), _coverage(now)]


def _socket(now: Page) -> Word:
    up = now.value(f"{OURS}socket_up")
    if now.value(f"{OURS}socket_contended"):
        return Word("socket", "contended", False)
    if now.value(f"{OURS}socket_standby"):
        return Word("socket", "stands by", False)
    return Word("socket", "not known" if up is None else "up" if up else "down", None if up is None else bool(up))


def source_name(labels: Mapping[str, str]) -> str:
    return " ".join(filter(None, (labels.get("source"), labels.get("nginx"))))


def _sources(now: Page) -> list[Word]:
    found = now.labelled(f"{OURS}source_up")
    if not found:
        return [Word("sources", "not known", None)]
    words = {True: "up", False: "down", None: "not heard of"}
    return [
        Word(source_name(labels), words[well], well)
        for labels, up in found
        for well in (None if is_unused(now, labels) else bool(up),)
    ]


def is_unused(now: Page, labels: Mapping[str, str]) -> bool:
    """Return whether the labels are those of Lua, nothing ever came of it, and there are other sources."""
    if labels.get("source") != "lua" or now.value(f"{OURS}workers_seen") or now.series(page.RESPONSES):
        return False
    return any(up and other.get("source") != "lua" for other, up in now.labelled(f"{OURS}source_up"))


def _workers(now: Page) -> Word:
    seen, expected = (now.series(f"{OURS}workers_{word}") for word in ("seen", "expected"))
    if not expected:
        return Word("workers", "none heard of", None)
    heard, run = sum(seen.values()), sum(expected.values())
    return Word("workers", f"{heard:g} of {run:g}", heard >= run)


def journal(now: Page) -> Word:
    up = now.value(f"{OURS}journal_up")
    if up is None:
        return Word("journal", "none", None)
    if not up:
        return Word("journal", "in memory only", False)
    stalls = (now.value(f"{OURS}journal_pending_seconds") or 0.0) >= SLOW_COMMIT_SECONDS
    return Word("journal", "stalls" if stalls else "written", not stalls)


def _coverage(now: Page) -> Word:
    found = now.series(f"{OURS}coverage_ratio").values()
    if not found:
        return Word("coverage", "not known yet", None)
    least = min(1.0, *found)  # sampling may give a little more than 1
    return Word("coverage", f"{least:.1%}", least >= LEAST_COVERAGE)

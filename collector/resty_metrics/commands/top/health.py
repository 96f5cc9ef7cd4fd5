"""The state of the parts of the pipeline, each in a word.

Rules:
- A fact that a page lacks is not known; a word says so where the page should have it.
- A part is ill if the page reports a trouble of it, and not for its figure alone: an idle worker says nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from resty_metrics.commands.top.page import OURS, Page
from resty_metrics.health import troubles as kinds
from resty_metrics.health.troubles import Kind


@dataclass(frozen=True, slots=True)
class Word:
    """The state of one part, in a word. ``works`` None: it is not known."""

    subject: str
    says: str
    works: bool | None


def words(now: Page) -> list[Word]:
    """Return a word about the socket, each source, the workers, the journal, and coverage."""
    return [_socket(now), *_sources(now), _workers(now), _journal(now), _coverage(now)]


def _has(now: Page, *any_of: Kind, nginx: str | None = None) -> bool:
    """Return whether the page reports a trouble of one of these kinds. ``nginx`` None: of any."""
    names = {kind.name for kind in any_of}
    troubles = [labels for labels, value in now.labelled(f"{OURS}trouble") if value and labels.get("trouble") in names]
    return any(nginx in (None, labels.get("nginx", "")) for labels in troubles)


def _socket(now: Page) -> Word:
    states = (
        (kinds.STANDBY, "standing by"),
        (kinds.SOCKET_DOWN, "down"),
        (kinds.SOCKET_CONTENDED, "contended"),
        (kinds.SOCKET_UNREACHABLE, "unreachable"),
    )
    word = next((word for kind, word in states if _has(now, kind)), None)
    if word is None:
        known = now.value(f"{OURS}socket_up") is not None
        return Word("socket", "up" if known else "not known", True if known else None)
    return Word("socket", word, False)


def source_name(labels: Mapping[str, str]) -> str:
    return " ".join(filter(None, (labels.get("source"), labels.get("nginx"))))


def _sources(now: Page) -> list[Word]:
    sources = now.labelled(f"{OURS}source_up")
    return [_source(now, labels, bool(up)) for labels, up in sources] or [Word("sources", "not known", None)]


def _source(now: Page, labels: Mapping[str, str], up: bool) -> Word:
    name = source_name(labels)
    if up:
        return Word(name, "up", True)
    kind = kinds.WORKERS_MISSING if labels.get("source") == "lua" else kinds.SOURCE_DOWN
    if _has(now, kind, nginx=labels.get("nginx", "")):
        return Word(name, "down", False)
    return Word(name, "not reporting", None)


def _workers(now: Page) -> Word:
    reporting, expected = (now.series(f"{OURS}workers_{word}") for word in ("seen", "expected"))
    missing = _has(now, kinds.WORKERS_MISSING)
    if not expected:
        return Word("workers", "none reporting", False if missing else None)
    return Word("workers", f"{sum(reporting.values()):g} of {sum(expected.values()):g}", not missing)


def _journal(now: Page) -> Word:
    if now.value(f"{OURS}journal_up") is None:
        return Word("journal", "disabled", None)
    if _has(now, kinds.JOURNAL_DOWN):
        return Word("journal", "in memory only", False)
    stalls = _has(now, kinds.JOURNAL_STALLS)
    return Word("journal", "slow" if stalls else "up", not stalls)


def _coverage(now: Page) -> Word:
    ratios = now.series(f"{OURS}coverage_ratio").values()
    if not ratios:
        return Word("coverage", "not known yet", None)
    least = min(1.0, *ratios)  # sampling may give a little more than 1
    return Word("coverage", f"{least:.1%}", not _has(now, kinds.COVERAGE))

"""The plan in words and as a diff, for the person who has to agree to it."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from resty_metrics.commands.doctor.report import printable
from resty_metrics.commands.install.facts import Change, Plan

NOTHING = "/dev/null"
LISTED = 10  # of a kind; more are a version's files
_WORDS = {(False, True): "new", (True, True): "changed", (True, False): "removed"}


def lines(plan: Plan, share: str) -> Iterator[str]:
    """Yield the number of files of each kind, the diffs in full, and then the notes."""
    counts = Counter(_WORDS[change.before is not None, change.after is not None] for change in plan.files)
    if counts:
        words = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        yield f"{printable(share)}: {words}"
        for change in plan.files:
            word = _WORDS[change.before is not None, change.after is not None]
            if word == "changed" or counts[word] <= LISTED:
                yield f"  {word:<8} {PurePosixPath(change.path).relative_to(share)}"
    for change in plan.changes:
        if change.diff and not (change.before is None and change in plan.files):
            yield from diff(change)
    for note in plan.notes:
        yield f"note: {printable(note)}"


def added(plan: Plan, share: str) -> Iterator[str]:
    """Yield what is in nginx's configuration now that was not before, and the number of files."""
    yield from _differences("added to", plan, share)


def removed(plan: Plan, share: str) -> Iterator[str]:
    """Yield what is no longer in nginx's configuration, and the number of files that are gone."""
    files, configuration = (
        tuple(replace(change, before=change.after, after=change.before) for change in changes)
        for changes in (plan.files, plan.configuration)
    )
    yield from _differences("removed from", Plan(files, configuration, ()), share)


def _differences(words: str, plan: Plan, share: str) -> Iterator[str]:
    """Yield the statements that each changed file has more than before, and the number of new files."""
    for change in plan.configuration:
        known = {line.strip() for line in _lines(change.before)}
        more = [line.strip() for line in _lines(change.after) if line.strip() not in known]
        if more:
            yield f"{words} {change.path}:"
        yield from (f"  {printable(line)}" for line in more if not line.startswith("#"))
    new = sum(change.before is None for change in plan.files)
    if new:
        yield f"{words} {share}: {new} files"


def diff(change: Change) -> Iterator[str]:
    """Yield a unified diff of one file."""
    before, after = _lines(change.before), _lines(change.after)
    old = NOTHING if change.before is None else change.path
    new = NOTHING if change.after is None else change.path
    for line in difflib.unified_diff(before, after, old, new, lineterm=""):
        yield printable(line)


def _lines(content: bytes | None) -> Sequence[str]:
    return [] if content is None else content.decode("utf-8", "surrogateescape").splitlines()


def reasons(words: str, reasons_why: Iterable[str]) -> Iterator[str]:
    """Yield the reasons why something was not done."""
    yield words
    for reason in reasons_why:
        yield f"  - {printable(reason)}"

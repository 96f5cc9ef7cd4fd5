"""Reading the journal at the start: the state that was, as much of it as can be had, and what was lost.

Rules:
- It never ends in a crash: a file that cannot be used is set aside, which is said, and counting begins at 0.
- A snapshot is whole or of no use. What follows in the log is kept record by record: one that is damaged or missing
  costs no other one, and an entry that cannot be applied costs no other entry.
- What is lost is said in one line, and counted. A file that had a loss is set aside once a new one is written.
- A file that is whole, but cannot be read now (no permission, an I/O error), is kept for good: files.py. Where it
  cannot even be renamed it stays, made invalid by whoever goes on without it.
- In a directory that is not ours (it is read-only, say, and so is its lock) nothing is written.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.journal import reading, records, snapshot
from resty_metrics.journal.errors import NOTHING_LOST, JournalError, JournalReason, Loss
from resty_metrics.journal.files import Directory, Name
from resty_metrics.journal.reading import Content
from resty_metrics.journal.records import Replayed
from resty_metrics.journal.state import State
from resty_metrics.journal.store import COUNTED
from resty_metrics.process.log import LOGGER, say

ANY = "0" * 32  # stale: whatever is there, for where not even its identity could be read
_REMEDIES: dict[JournalReason, str] = {
    "read_only": "Give the state directory and its files to the collector's user; docs/troubleshooting.md says how a "
    "file that was set aside is put back",
    "io": "See whether the disk works; docs/troubleshooting.md says how a file that was set aside is put back",
}


@dataclass(frozen=True, slots=True)
class Recovered:
    """``state`` None: counting begins at 0; ``told`` says if a line in the log says why. ``records`` is how many were
    replayed. ``name``: of the file that is current all the same; None where that is not known."""

    state: State | None
    records: int = 0
    name: Name | None = None
    loss: Loss = NOTHING_LOST
    told: bool = True


def recover(directory: Directory, stale: str | None, ours: bool = True, spare: Path | None = None) -> Recovered:
    """Read the current file. ``stale``: identity of one that must not be read, or ANY. ``ours``, ``spare``: as in
    reading.read. Raises JournalError.
    """
    name = None
    try:
        if ours:
            directory.restrict()
        name = directory.current()
        if name is None:
            return _without_current(directory, ours)
        if stale in (name.identity, ANY):
            return _stale(directory, name, stale == ANY, ours)
        return _read(directory, name, ours, spare)
    except Exception as failure:
        error = _as_journal_error(failure)
        if not ours:
            raise error from failure
        return _set_aside(directory, name, error)


def _as_journal_error(failure: Exception) -> JournalError:
    if isinstance(failure, JournalError):
        return failure
    LOGGER.error("reading the journal failed, please report this", exc_info=failure)
    return JournalError("internal", repr(failure))


def _without_current(directory: Directory, ours: bool) -> Recovered:
    numbers = directory.numbers()
    if not numbers:
        return Recovered(None, told=False)
    kept = [directory.set_aside(number, "unnamed") for number in numbers] if ours else []
    say(
        logging.WARNING,
        "no journal file is named current: those that are there may be older than what was counted, and are not read; "
        "counting begins at 0",
        kept_as=kept[-1] if kept else None,
    )
    return Recovered(None)


def _stale(directory: Directory, name: Name, unread: bool, ours: bool) -> Recovered:
    """``unread``: the collector before could not read it either, so it is of more use to people than a stale one."""
    say(logging.WARNING, "the journal is older than what was counted; counting begins at 0", file=name.file)
    if not unread:
        directory.supersede(name)
    if ours:
        directory.invalidate()
    return Recovered(None, name=None if unread else name)


def _set_aside(directory: Directory, name: Name | None, error: JournalError) -> Recovered:
    try:
        numbers = directory.numbers()
        number = name.number if name is not None and name.number in numbers else max(numbers, default=0)
        aside = directory.set_aside(number, error.reason)
    except JournalError:
        raise error from None
    say(
        logging.ERROR,
        "the journal cannot be used and is set aside; counting begins at 0",
        error=error,
        kept_as=aside,
        **({"remedy": _REMEDIES[error.reason]} if error.reason in _REMEDIES else {}),
    )
    return Recovered(None, loss=Loss(error.reason))


def _read(directory: Directory, name: Name, ours: bool, spare: Path | None) -> Recovered:
    content = reading.read(directory.file(name), ours, spare)
    state = snapshot.read(content.parts)
    loss, read = _replay(state, content, name)
    directory.supersede(name, whole=loss.reason is None)
    return Recovered(state, read, name, loss)


def _replay(state: State, content: Content, name: Name) -> tuple[Loss, int]:
    """Apply the log to the state of the snapshot. What was lost, and how many records were applied."""
    replayed, read = Replayed(), 0
    error: Exception | str | None = content.flaw
    for _, record in content.log:
        try:
            records.replay(state, record, replayed)
            read += 1
        except JournalError as damage:
            error = error or damage
    counted = content.counted
    if counted is None and content.version >= COUNTED:
        say(
            logging.WARNING,
            "the count beside the journal cannot be read: records may be missing at the end of the log unnoticed",
            file=name.file,
        )
    numbers = [number for number, _ in content.log]
    expected = max(numbers, default=0) if counted is None else max(counted.records, len(numbers))
    missing = max(0, expected - read)
    rows = replayed.lost_rows if counted is None else max(0, counted.rows - replayed.rows)
    if replayed.error is not None:
        LOGGER.error("an entry of the journal cannot be applied, please report this", exc_info=replayed.error)
    if not missing and not replayed.lost_entries and content.flaw is None:
        return NOTHING_LOST, read
    loss = Loss("internal" if not missing and content.flaw is None else "corrupt", missing, replayed.lost_entries, rows)
    _tell(loss, name, error or replayed.error, read)
    return loss, read


def _tell(loss: Loss, name: Name, error: Exception | str | None, read: int) -> None:
    say(
        logging.ERROR,
        "the journal lost what was counted already: counters go on without it",
        file=name.file,
        lost_records=loss.records,
        lost_entries=loss.entries,
        lost_rows=loss.rows,
        read_records=read,
        error=error or "the end of the log is missing",
    )

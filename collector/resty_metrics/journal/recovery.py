"""Recovery of the state from the journal at the start: as much of it as can be read, and the losses.

Rules:
- It never ends in a crash: a file that cannot be used is set aside, which is logged, and counting begins at 0.
- A snapshot is whole or useless. The log is applied record by record: a damaged or missing record costs no other
  record, and an entry that cannot be applied costs no other entry.
- Losses are logged in one line, and counted. A file with losses is set aside once a new one is written.
- A file that may be whole, but cannot be read now (no permission, an I/O error), is never removed (files.py). If it
  cannot even be renamed it stays, and is made invalid by the caller that goes on without it.
- Nothing is written in a directory that is not ours (for example if it and its lock are read-only).
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
from resty_metrics.process.log import LOGGER, say

ANY = "0" * 32  # stands for every journal: none there may be read, since not even the identity was readable
_REMEDIES: dict[JournalReason, str] = {
    "read_only": "Give the state directory and its files to the collector's user; docs/troubleshooting.md says how a "
    "file that was set aside is put back",
    "io": "See whether the disk works; docs/troubleshooting.md says how a file that was set aside is put back",
}


@dataclass(frozen=True, slots=True)
class Recovered:
    """The outcome of a recovery. ``state`` None: counting begins at 0. ``logged``: the log says why. ``records``: the
    number of replayed records. ``name``: name of the file that was current; None if there was none, or it could not be
    read.
    """

    state: State | None
    records: int = 0
    name: Name | None = None
    loss: Loss = NOTHING_LOST
    logged: bool = True


def recover(directory: Directory, stale: str | None, writable: bool = True, spare: Path | None = None) -> Recovered:
    """Read the current file, or set it aside if it cannot be used. Raises JournalError.

    ``stale``: identity of a file that must not be read, or ANY. ``writable``, ``spare``: as in reading.read.
    """
    name = None
    try:
        if writable:
            directory.restrict()
        name = directory.current()
        if name is None:
            return _without_current(directory, writable)
        if stale in (name.identity, ANY):
            return _stale(directory, name, stale == ANY, writable)
        return _read(directory, name, writable, spare)
    except Exception as failure:
        error = _as_journal_error(failure)
        if not writable:
            raise error from failure
        return _set_aside(directory, name, error)


def _as_journal_error(failure: Exception) -> JournalError:
    if isinstance(failure, JournalError):
        return failure
    LOGGER.error("cannot read the journal because of a bug, please report it", exc_info=failure)
    return JournalError("internal", repr(failure))


def _without_current(directory: Directory, writable: bool) -> Recovered:
    numbers = directory.numbers()
    if not numbers:
        return Recovered(None, logged=False)
    kept = [directory.set_aside(number, "unnamed") for number in numbers] if writable else []
    say(
        logging.WARNING,
        "no journal file is marked as current, so none is read: they may be out of date. Counters begin at 0",
        kept_as=kept[-1] if kept else None,
    )
    return Recovered(None)


def _stale(directory: Directory, name: Name, unread: bool, writable: bool) -> Recovered:
    """Leave a stale journal unread. ``unread``: the previous collector could not read it either, so its numbers are in
    no other file, and it is kept for people.
    """
    say(logging.WARNING, "the journal is out of date and is not read. Counters begin at 0", file=name.file)
    if not unread:
        directory.supersede(name)
    if writable:
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
        "the journal cannot be used and is set aside. Counters begin at 0",
        error=error,
        kept_as=aside,
        **({"remedy": _REMEDIES[error.reason]} if error.reason in _REMEDIES else {}),
    )
    return Recovered(None, loss=Loss(error.reason))


def _read(directory: Directory, name: Name, writable: bool, spare: Path | None) -> Recovered:
    content = reading.read(directory.file(name), writable, spare)
    state = snapshot.read(content.parts)
    loss, read = _replay(state, content, name)
    directory.supersede(name, whole=loss.reason is None)
    return Recovered(state, read, name, loss)


def _replay(state: State, content: Content, name: Name) -> tuple[Loss, int]:
    """Apply the log to the state of the snapshot. Return the losses, and the number of applied records."""
    replayed, read = Replayed(), 0
    error: Exception | str | None = content.flaw
    for _, record in content.log:
        try:
            records.replay(state, record, replayed)
            read += 1
        except JournalError as damage:
            error = error or damage
    counted = content.counted
    if counted is None:
        say(
            logging.WARNING,
            "cannot read the record count beside the journal: records missing at its end would go unnoticed",
            file=name.file,
        )
    numbers = [number for number, _ in content.log]
    expected = max(numbers, default=0) if counted is None else max(counted.records, len(numbers))
    missing = max(0, expected - read)
    rows = replayed.lost_rows if counted is None else max(0, counted.rows - replayed.rows)
    if replayed.error is not None:
        LOGGER.error("cannot apply an entry of the journal because of a bug, please report it", exc_info=replayed.error)
    if not missing and not replayed.lost_entries and content.flaw is None:
        return NOTHING_LOST, read
    loss = Loss("internal" if not missing and content.flaw is None else "corrupt", missing, replayed.lost_entries, rows)
    _tell(loss, name, error or replayed.error, read)
    return loss, read


def _tell(loss: Loss, name: Name, error: Exception | str | None, read: int) -> None:
    say(
        logging.ERROR,
        "the journal is damaged: some counts are lost. Counters continue without them",
        file=name.file,
        lost_records=loss.records,
        lost_entries=loss.entries,
        lost_rows=loss.rows,
        read_records=read,
        error=error or "the end of the log is missing",
    )

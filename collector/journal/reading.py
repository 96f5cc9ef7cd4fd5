"""Reading a journal file at the start, whatever its disk allows.

Rules:
- In place where it is ours to write: SQLite makes the index of the write-ahead log for that, and may take the log into
  the file.
- Else a private copy of file and log. On a read-only disk SQLite does not open a file whose index is missing, as it is
  after an orderly end; and a file that is opened as immutable is read without its log, silently.
- What another program has locked is waited for, and said, but not for long; then the copy is read.
- A copy counts if nobody wrote to the file meanwhile.
"""

import logging
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from collector.journal.errors import JournalError
from collector.journal.store import connect, failures, identify
from collector.log import say

BUSY_SECONDS = 2.0
_COPIES = 5  # tried while somebody writes
_DAMAGED = ("corrupt", "foreign")  # and so is a copy
_COPIED = ("", "-wal")


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: the snapshot's parts and the log's records, sealed, in order."""

    parts: Sequence[bytes]
    records: Sequence[bytes]


def read(path: Path, ours: bool, spare: Path | None) -> Content:
    """What a file holds, in one transaction. ``ours`` False: nothing is written where it is. ``spare``: where the copy
    may go if the system's directory for temporary files does not take it. Raises JournalError."""
    with failures():
        path.stat()  # SQLite says of a file that is missing what it says of one that may not be read
    if not ours:
        return _read_copy(path, spare)
    try:
        return _read_in_place(path)
    except JournalError as error:
        if error.reason in _DAMAGED:
            raise
        return _read_copy(path, spare)


def _read_in_place(path: Path) -> Content:
    try:
        return _read(path, 0)
    except JournalError as error:
        if error.reason == "busy":
            say(logging.WARNING, "another program has the journal locked, waiting", path=path, most=BUSY_SECONDS)
            return _read(path, BUSY_SECONDS)
        if error.reason != "full":
            raise
    return _read(path, 0, "EXCLUSIVE")  # the index of the write-ahead log is in memory then, and needs no room


def _read(path: Path, busy_seconds: float, locking: str = "NORMAL") -> Content:
    with failures(), closing(connect(path, "rw", busy_seconds)) as database:
        database.execute(f"PRAGMA locking_mode={locking}")
        identify(database)
        database.execute("BEGIN")
        parts = [data for (data,) in database.execute("SELECT data FROM snapshot ORDER BY number")]
        records = [data for (data,) in database.execute("SELECT data FROM log ORDER BY number")]
        database.execute("COMMIT")
        return Content(parts, records)


def _read_copy(path: Path, spare: Path | None) -> Content:
    try:
        return _read_copy_in(path, None)
    except JournalError as error:
        if spare is None or error.reason in _DAMAGED:
            raise
    return _read_copy_in(path, spare)


def _read_copy_in(path: Path, place: Path | None) -> Content:
    with failures(), tempfile.TemporaryDirectory(prefix="resty-metrics-", dir=place) as directory:
        copy = Path(directory) / path.name
        for _ in range(_COPIES):
            before = _looks(path)
            for side in _COPIED:
                source, target = path.with_name(path.name + side), copy.with_name(copy.name + side)
                target.unlink(missing_ok=True)
                if source.exists():
                    shutil.copyfile(source, target)
            if _looks(path) == before:
                return _read(copy, 0)
    raise JournalError("busy", f"another program writes to {path}")


def _looks(path: Path) -> list[tuple[int, int, int] | None]:
    found: list[tuple[int, int, int] | None] = []
    for side in _COPIED:
        try:
            status = path.with_name(path.name + side).stat()
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found

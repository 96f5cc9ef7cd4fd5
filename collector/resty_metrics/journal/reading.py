"""Reading a journal file at the start, whatever its disk allows and whatever happened to it.

Rules:
- In place where it is ours to write: SQLite makes the index of the write-ahead log for that. The connection is
  read-only, so file and log stay as they were found, for people who look at them later.
- Else a private copy of file and log. On a read-only disk SQLite does not open a file whose index is missing, as it is
  after an orderly end; and a file that is opened as immutable is read without its log, silently.
- What another program has locked is waited for, and said, but not for long; then the copy is read.
- A copy counts if nobody wrote to the file meanwhile.
- A link, a pipe, a device or a directory in place of the file is not read; one in place of its log is left out.
- Where a page of the log is damaged, the records before it and behind it are read.
"""

import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resty_metrics.journal import private, safe_count
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.safe_count import Counted
from resty_metrics.journal.store import SIDES, connect, failures, identify
from resty_metrics.process.log import say

BUSY_SECONDS = 2.0
_COPIES = 5  # tried while somebody writes
_DAMAGED = ("corrupt", "foreign")  # and so is a copy
_COPIED = ("", "-wal")
_Row = tuple[Any, Any]  # number and record; whatever a damaged file has there


@dataclass(frozen=True, slots=True)
class Content:
    """A file's content: the snapshot's parts and the log's records, sealed, in order, each record with its number.

    ``flaw``: the error that hides a part of the log. ``counted``: the note of what is safe, if it can be read.
    """

    version: int
    parts: Sequence[bytes]
    log: Sequence[tuple[int, bytes]]
    flaw: str | None = None
    counted: Counted | None = None


def read(path: Path, ours: bool, spare: Path | None) -> Content:
    """Return a file's content, of one transaction. ``ours`` False: nothing is written where it is. ``spare``: where the
    copy may go if the system's directory for temporary files does not take it. Raises JournalError."""
    with failures():
        private.require_regular(path)  # SQLite says of a file that is missing what it says of one that may not be read
        regular = all(_absent_or_regular(path.with_name(path.name + side)) for side in SIDES)
    if not ours or not regular:
        return _read_copy(path, spare)
    try:
        return _read_in_place(path)
    except JournalError as error:
        if error.reason in _DAMAGED:
            raise
        return _read_copy(path, spare)


def _absent_or_regular(path: Path) -> bool:
    try:
        return private.is_regular(path)
    except FileNotFoundError:
        return True


def _read_in_place(path: Path) -> Content:
    try:
        return _read(path, path, 0)
    except JournalError as error:
        if error.reason == "busy":
            say(logging.WARNING, "another program has the journal locked, waiting", path=path, most=BUSY_SECONDS)
            return _read(path, path, BUSY_SECONDS)
        if error.reason != "full":
            raise
    # The index of the write-ahead log is in memory then, and needs no room.
    return _read(path, path, 0, "rw", "EXCLUSIVE")


def _read(path: Path, origin: Path, busy_seconds: float, mode: str = "ro", locking: str = "NORMAL") -> Content:
    """``origin`` is the file that ``path`` is a copy of, or the same."""
    with failures(), closing(connect(path, mode, busy_seconds)) as database:
        database.text_factory = bytes  # a damaged type makes text of a record: its checksum decides, not its encoding
        database.execute(f"PRAGMA locking_mode={locking}")
        version = identify(database)
        counted = safe_count.read(origin)  # first: records that are written meanwhile are not missing
        database.execute("BEGIN")
        snapshot = database.execute("SELECT data FROM snapshot ORDER BY number")
        parts = [data if type(data) is bytes else b"" for (data,) in snapshot]
        log, flaw = _read_log(database)
        return Content(version, parts, log, flaw, counted)


def _read_log(database: sqlite3.Connection) -> tuple[list[tuple[int, bytes]], str | None]:
    """Return the records in the order of their numbers, each once, and the error where not all can be read."""
    rows, flaw = _read_until_damage(database, "ASC")
    if flaw is not None:
        rows += _read_until_damage(database, "DESC")[0]
    records = {number: data for number, data in rows if type(number) is int and type(data) is bytes}
    return sorted(records.items()), flaw


def _read_until_damage(database: sqlite3.Connection, order: Literal["ASC", "DESC"]) -> tuple[list[_Row], str | None]:
    rows: list[_Row] = []
    try:
        with failures():
            for row in database.execute(f"SELECT number, data FROM log ORDER BY number {order}"):
                rows.append(row)
    except JournalError as error:
        if error.reason != "corrupt":
            raise
        return rows, str(error)
    return rows, None


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
                if before[side] is not None:
                    shutil.copyfile(source, target)
            if _looks(path) == before:
                return _read(copy, path, 0)
    raise JournalError("busy", f"another program writes to {path}")


def _looks(path: Path) -> dict[str, tuple[int, int, int] | None]:
    """Return inode, size and time of each file that is copied, by its side; None for one that is not regular."""
    looks: dict[str, tuple[int, int, int] | None] = {}
    for side in _COPIED:
        looks[side] = None
        source = path.with_name(path.name + side)
        if source.exists() and private.is_regular(source):
            status = source.stat()
            looks[side] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return looks

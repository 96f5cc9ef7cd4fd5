"""Reading a journal file at the start, whatever its disk allows and however it is damaged.

Rules:
- A file in a directory that we may write is read in place: SQLite needs to create the index of the write-ahead log. The
  connection is read-only, so file and log stay as they were, for people who look at them later.
- Otherwise a private copy of file and log is read. On a read-only disk SQLite does not open a file whose index is
  missing, as it is after an orderly end; and it reads a file that is opened as immutable silently without its log.
- If another program has locked the file, the start logs that and waits BUSY_SECONDS; then it reads a copy.
- A copy is valid only if nobody wrote to the file meanwhile.
- A link, a pipe, a device or a directory in place of the file is not read; one in place of its log is left out.
- If a page of the log is damaged, the records before it and after it are read.
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
from resty_metrics.journal.store import SIDES, check_version, connect, failures
from resty_metrics.process.log import say

BUSY_SECONDS = 2.0
_COPIES = 5  # attempts while another program writes
_DAMAGED = ("corrupt", "foreign")  # a copy would be no better
_COPIED = ("", "-wal")
_Row = tuple[Any, Any]  # number and record; of any type, since the file may be damaged


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file: the snapshot's parts and the log's records, sealed, in order, each record with its number.

    ``flaw``: the error that hides a part of the log, if any. ``counted``: the count of safe records beside the file;
    None if it cannot be read.
    """

    parts: Sequence[bytes]
    log: Sequence[tuple[int, bytes]]
    flaw: str | None = None
    counted: Counted | None = None


def read(path: Path, writable: bool, spare: Path | None) -> Content:
    """Return a file's content, read in one transaction. Raises JournalError.

    ``writable`` False: nothing is written in its directory. ``spare``: the directory for the copy if it cannot be
    written in the system's directory for temporary files.
    """
    with failures():
        private.require_regular(path)  # SQLite's error does not tell a missing file from an unreadable one
        regular = all(_absent_or_regular(path.with_name(path.name + side)) for side in SIDES)
    if not writable or not regular:
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
            say(logging.WARNING, "another program has the journal locked, waiting for it", path=path, most=BUSY_SECONDS)
            return _read(path, path, BUSY_SECONDS)
        if error.reason != "full":
            raise
    # In this mode SQLite keeps the index of the write-ahead log in memory, where it needs no room on the disk.
    return _read(path, path, 0, "rw", "EXCLUSIVE")


def _read(path: Path, origin: Path, busy_seconds: float, mode: str = "ro", locking: str = "NORMAL") -> Content:
    """Return the content of a file. ``origin``: the original if ``path`` is a copy, else the same path."""
    with failures(), closing(connect(path, mode, busy_seconds)) as database:
        database.text_factory = bytes  # a damaged type turns a record into text: its checksum decides, not its encoding
        database.execute(f"PRAGMA locking_mode={locking}")
        check_version(database)
        counted = safe_count.read(origin)  # before the log: a record written in between must not count as missing
        database.execute("BEGIN")
        snapshot = database.execute("SELECT data FROM snapshot ORDER BY number")
        parts = [data if type(data) is bytes else b"" for (data,) in snapshot]
        log, flaw = _read_log(database)
        return Content(parts, log, flaw, counted)


def _read_log(database: sqlite3.Connection) -> tuple[list[tuple[int, bytes]], str | None]:
    """Return the records in the order of their numbers, each once, and the error if some cannot be read."""
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
    """Return inode, size and modification time of each copied file, by its side; None if missing or not regular."""
    looks: dict[str, tuple[int, int, int] | None] = {}
    for side in _COPIED:
        looks[side] = None
        source = path.with_name(path.name + side)
        if source.exists() and private.is_regular(source):
            status = source.stat()
            looks[side] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return looks

"""One journal file: a SQLite database with a snapshot and the log records since.

Rules:
- A new file is written whole with a rollback journal and every page synced, and closed; only then may it be named
  current. For appending it is opened in WAL mode.
- ``synchronous=NORMAL``: a commit survives the end of the process (kill -9), not always the loss of power.
- Any SQLite or operating system error leaves here as JournalError with a reason.
"""

import contextlib
import errno
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from collector.journal.errors import JournalError, JournalReason

APPLICATION_ID = 0x52535444  # "RSTD"
VERSION = 3
READABLE = (2, 3)
CACHE_KIBIBYTES = 256  # SQLite's own 2 MB are for who reads
BUSY_SECONDS = 30.0  # another program that reads the file may hold a commit up, not end it
_BY_ERRNO: dict[int | None, JournalReason] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read_only",
    errno.EACCES: "read_only",
    errno.EPERM: "read_only",
    errno.ENOENT: "removed",
}
_BY_SQLITE: tuple[tuple[str, JournalReason], ...] = (
    ("SQLITE_FULL", "full"),
    ("SQLITE_IOERR_SHMSIZE", "full"),  # no room for the index of the write-ahead log
    ("SQLITE_READONLY", "read_only"),
    ("SQLITE_BUSY", "busy"),
    ("SQLITE_LOCKED", "busy"),
    ("SQLITE_CORRUPT", "corrupt"),
    ("SQLITE_NOTADB", "corrupt"),
)


def _reason(error: sqlite3.Error) -> JournalReason:
    name = getattr(error, "sqlite_errorname", None) or ""
    return next((reason for prefix, reason in _BY_SQLITE if name.startswith(prefix)), "io")


@contextmanager
def failures() -> Iterator[None]:
    """Turns errors of SQLite and of the operating system into JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(_reason(error), str(error)) from error
    except OSError as error:
        raise JournalError(_BY_ERRNO.get(error.errno, "io"), str(error)) from error


def connect(path: Path, mode: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a file; ``mode`` as in SQLite's URIs. Raises sqlite3.Error, at the latest when it is used."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, timeout=busy_seconds, isolation_level=None, check_same_thread=False, uri=True)


def identify(database: sqlite3.Connection) -> None:
    """Raises JournalError (``foreign``) if this is not a file of ours, or not of a version that we know."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise JournalError("foreign", f"application id {application:#x}, version {version}; this program knows {known}")


def create(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file with this snapshot and an empty log, down to the disk. Raises JournalError."""
    with failures(), closing(connect(path, "rwc")) as database:
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.execute(f"PRAGMA user_version={VERSION}")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE snapshot (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        database.execute("CREATE TABLE log (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        database.executemany("INSERT INTO snapshot (data) VALUES (?)", ((part,) for part in parts))
        database.execute("COMMIT")


class Store:
    """A file that is open for appending. ``snapshot_bytes`` and ``log_bytes`` say how much it holds of each."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError."""
        self.path = path
        with failures():
            self._database = connect(path, "rw")
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.execute(f"PRAGMA cache_size={-CACHE_KIBIBYTES}")
                self._database.execute("SELECT count(*) FROM log").fetchone()
                self.snapshot_bytes = path.stat().st_size
                self._inode = path.stat().st_ino
            except (sqlite3.Error, OSError):
                self._database.close()
                raise
        self.log_bytes = 0

    def append(self, records: Sequence[bytes]) -> None:
        """Write records in one transaction. Raises JournalError; then none of them is there."""
        with failures():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT INTO log (data) VALUES (?)", ((record,) for record in records))
                self._database.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        self.log_bytes += sum(map(len, records))

    def check(self) -> None:
        """Raises JournalError (``removed``) if the file at the path is no longer this one: SQLite would not notice."""
        with failures():
            there = self.path.stat().st_ino
        if there != self._inode:
            raise JournalError("removed", f"{self.path} was replaced")

    def close(self) -> None:
        """Close; the write-ahead log goes into the file if that is possible."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

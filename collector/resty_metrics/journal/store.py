"""A journal file: a SQLite database with a snapshot and the log records since.

Rules:
- A new file is written whole, with a rollback journal and every page synced, and closed; only then may it be named
  current. For appending it is opened in WAL mode.
- ``synchronous=NORMAL``: a commit survives the end of the process (kill -9), but not always a loss of power.
- SQLite goes on writing to files that were removed or replaced, without noticing. ``check`` detects that, for each.
- Any SQLite or operating system error is raised as JournalError with a reason.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from resty_metrics.journal import private, safe_count
from resty_metrics.journal.errors import JournalError, JournalReason
from resty_metrics.journal.safe_count import SafeCount

APPLICATION_ID = 0x52535444  # "RSTD"
VERSION = 6
SIDES = ("-wal", "-shm", "-journal", safe_count.SIDE)
_WATCHED = ("", "-wal", "-shm", safe_count.SIDE)
CACHE_KIBIBYTES = 256  # we only append: SQLite's default of 2 MB is for programs that read
BUSY_SECONDS = 30.0  # another program that reads the file may delay a commit, but must not make it fail
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
    ("SQLITE_ERROR", "corrupt"),  # a table or a column is missing
    ("SQLITE_IOERR_SHORT_READ", "corrupt"),
)


def _reason(error: sqlite3.Error) -> JournalReason:
    name = getattr(error, "sqlite_errorname", None) or ""
    return next((reason for prefix, reason in _BY_SQLITE if name.startswith(prefix)), "io")


@contextmanager
def failures() -> Iterator[None]:
    """Turn errors of SQLite and of the operating system into JournalError."""
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(_reason(error), str(error)) from error
    except UnicodeDecodeError as error:  # SQLite's message quotes damaged text, which Python cannot decode
        raise JournalError("corrupt", f"SQLite reports an error whose text is not UTF-8: {error}") from error
    except private.NotRegularError as error:
        raise JournalError("foreign", str(error)) from error
    except OSError as error:
        raise JournalError(_BY_ERRNO.get(error.errno, "io"), str(error)) from error


def connect(path: Path, mode: str, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a file; ``mode`` as in SQLite's URIs. Raises sqlite3.Error, possibly only when the connection is used."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, timeout=busy_seconds, isolation_level=None, check_same_thread=False, uri=True)


def check_version(database: sqlite3.Connection) -> None:
    """Check that a file is ours and of this version. Raises JournalError (``foreign``) if not."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID or version != VERSION:
        known = f"this program knows version {VERSION}"
        raise JournalError("foreign", f"application id {application:#x}, version {version}; {known}")


def create(path: Path, parts: Iterable[bytes]) -> None:
    """Write a new file with this snapshot and an empty log, and sync it to the disk. Raises JournalError."""
    with failures():
        os.close(private.make(path))
        safe_count.make(path)
    with failures(), closing(connect(path, "rw")) as database:
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.execute(f"PRAGMA user_version={VERSION}")
        database.execute("BEGIN IMMEDIATE")
        database.execute("CREATE TABLE snapshot (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        database.execute("CREATE TABLE log (number INTEGER PRIMARY KEY, data BLOB NOT NULL)")
        database.executemany("INSERT INTO snapshot (data) VALUES (?)", ((part,) for part in parts))
        database.execute("COMMIT")


class Store:
    """A file that is open for appending. ``snapshot_bytes``: its size when it was opened, with an empty log.
    ``log_bytes``: size of the records appended since.
    """

    def __init__(self, path: Path) -> None:
        """Open the file. Raises JournalError."""
        self.path = path
        self.log_bytes = 0
        with failures(), contextlib.ExitStack() as opened:
            private.require_regular(path)
            self._safe = opened.enter_context(closing(SafeCount(path)))
            self._database = opened.enter_context(closing(connect(path, "rw")))
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(f"PRAGMA cache_size={-CACHE_KIBIBYTES}")
            self._database.execute("SELECT count(*) FROM log").fetchone()
            self.snapshot_bytes = path.stat().st_size
            self._watched = self._look(side for side in _WATCHED if self._beside(side).exists())
            self._opened = opened.pop_all()

    def append(self, records: Sequence[bytes], rows: int = 0) -> None:
        """Write records, with so many ``rows`` in them, in one transaction. Raises JournalError; then none counts."""
        with failures():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._database.executemany("INSERT INTO log (data) VALUES (?)", ((record,) for record in records))
                self._database.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
            self._safe.add(len(records), rows)
        self.log_bytes += sum(map(len, records))

    def check(self) -> None:
        """Check that each file is still the one that SQLite writes to, and was not cut. Raises JournalError
        (``removed``).
        """
        with failures():
            now = self._look(self._watched)
        for side, (inode, size) in self._watched.items():
            if now[side][0] != inode:
                raise JournalError("removed", f"{self.path}{side} was replaced")
            if now[side][1] < size:
                raise JournalError("removed", f"{self.path}{side} was cut from {size} to {now[side][1]} bytes")
        self._watched = now

    def _look(self, sides: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return inode and size of each file, by its side. SQLite does not shrink a file while it is open."""
        statuses = [(side, self._beside(side).stat(follow_symlinks=False)) for side in sides]
        return {side: (status.st_ino, status.st_size) for side, status in statuses}

    def _beside(self, side: str) -> Path:
        return self.path.with_name(self.path.name + side)

    def close(self) -> None:
        """Close the file. SQLite moves the write-ahead log into it if it can."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._opened.close()

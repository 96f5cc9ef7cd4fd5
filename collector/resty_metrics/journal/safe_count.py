"""The count of safe records, in a file beside a journal file. It shows a start that the end of the log is missing.

SQLite silently drops the rest of a write-ahead log from the first frame that does not match its checksum, and all of it
if the log is gone or its head is damaged. The remainder looks like a log that ended there.

    journal-<number>.sqlite-count      "<records> <rows> <checksum>\\n", of a fixed width

Rules:
- It is written after the commit and before the answer to the worker. So it never counts an uncommitted record, and
  after ``kill -9`` it is right, or lacks only records that were not acknowledged.
- It is overwritten in place, in one block: it needs no room on a full disk.
- After a loss of power it may be ahead of the log. The records in between are really lost.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.journal import private

SIDE = "-count"
_WIDTH = 20
_BYTES = 2 * (_WIDTH + 1) + 8 + 1


@dataclass(frozen=True, slots=True)
class Counted:
    """The number of safe records in a log, and the number of rows in their batches."""

    records: int
    rows: int


def _write(counted: Counted) -> bytes:
    text = b"%020d %020d" % (counted.records, counted.rows)
    return b"%s %08x\n" % (text, zlib.crc32(text))


def _read(data: bytes) -> Counted | None:
    text, checksum = data[: 2 * _WIDTH + 1], data[2 * _WIDTH + 2 :]
    if len(data) != _BYTES or checksum != b"%08x\n" % zlib.crc32(text):
        return None
    records, rows = text.split()
    return Counted(int(records), int(rows))


def _beside(path: Path) -> Path:
    return path.with_name(path.name + SIDE)


def make(path: Path) -> None:
    """Create the count of a new journal file, and sync it to the disk. Raises OSError."""
    descriptor = private.make(_beside(path))
    try:
        os.write(descriptor, _write(Counted(0, 0)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Counted | None:
    """Return the count beside a journal file; None if it is missing, damaged, or not a regular file. Raises OSError."""
    try:
        return _read(private.beginning(_beside(path), _BYTES + 1))
    except (FileNotFoundError, private.NotRegularError):
        return None


class SafeCount:
    """The count beside a journal file that is open for appending. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = private.open_existing(_beside(path), os.O_WRONLY)
        self._counted = Counted(0, 0)

    def add(self, records: int, rows: int) -> None:
        """Add so many safe records and rows to the count."""
        self._counted = Counted(self._counted.records + records, self._counted.rows + rows)
        os.pwrite(self._descriptor, _write(self._counted), 0)

    def close(self) -> None:
        os.close(self._descriptor)

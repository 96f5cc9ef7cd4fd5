"""A count of the safe records of a journal file, beside it. A start sees by it if the end of the log is missing.

SQLite drops the rest of a write-ahead log at the first frame that does not match its checksum, and all of it when the
file is gone or its head is damaged, without a word. What is left looks like a log that ended there.

    journal-<number>.sqlite-count      "<records> <rows> <checksum>\\n", of a fixed width

Rules:
- It is written after the commit and before the answer to the worker. So it never counts what was not committed, and
  ``kill -9`` at any moment leaves it right or short by records that nobody was told of.
- It is overwritten in place, in one block: no room is needed on a full disk.
- After a loss of power it may be ahead of the log: those records are lost indeed.
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
    """The number of safe records of a log, and of the rows in their batches."""

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
    """Make the note of a new journal file, down to the disk. Raises OSError."""
    descriptor = private.make(_beside(path))
    try:
        os.write(descriptor, _write(Counted(0, 0)))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Counted | None:
    """Return what is noted beside a journal file; None if the note is missing or damaged. Raises OSError."""
    try:
        return _read(private.beginning(_beside(path), _BYTES + 1))
    except (FileNotFoundError, private.NotRegularError):
        return None


class SafeCount:
    """The note beside a journal file that is open for appending. Its methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = private.open_existing(_beside(path), os.O_WRONLY)
        self._counted = Counted(0, 0)

    def add(self, records: int, rows: int) -> None:
        """Note that so many more are safe."""
        self._counted = Counted(self._counted.records + records, self._counted.rows + rows)
        os.pwrite(self._descriptor, _write(self._counted), 0)

    def close(self) -> None:
        os.close(self._descriptor)

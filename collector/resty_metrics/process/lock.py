"""A lock file: one collector per socket path and per state directory, decided before anything else is touched.

    4711
    stale-journal 0123456789abcdef0123456789abcdef

The first line is the pid of the present or last holder. The second line is there when a journal could not be made
invalid in its own directory (a full or read-only disk): this file has its block already, so the note needs no room.

Rules:
- The flock is held for life: the kernel releases it however we end. The file stays.
- The file is opened without truncation: a second collector reads the pid of the first.
- The file may be removed and made again between open and flock. So after flock it must still be the file at the path,
  and again at each call of ``held``.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from resty_metrics.process import passage

MODE = 0o600
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # so that opening a pipe does not block
_TRIES = 10
_BYTES = 128
_STALE = re.compile(r"^stale-journal ([0-9a-f]{32})$", re.MULTILINE)


class LockedError(Exception):
    """Another process holds the lock; ``pid`` is its, None where it did not say."""

    def __init__(self, path: Path, pid: int | None) -> None:
        holder = "another collector" if pid is None else f"another collector, process {pid},"
        remedy = "Stop it, or give this one paths of its own (--socket.path, --state.dir)"
        super().__init__(f"{holder} holds {path}. {remedy}. Nothing was changed.")
        self.pid = pid


class Lock:
    """A held lock. ``stale``: identity of a journal that must not be read; ``was_held``: by a process before this."""

    def __init__(self, path: Path, descriptor: int, stale: str | None, was_held: bool) -> None:
        self.path = path
        self.stale = stale
        self.was_held = was_held
        self._descriptor = descriptor

    def held(self) -> bool:
        """Return whether the file at the path is still the one that we hold."""
        return _same_file(self._descriptor, self.path)

    def note(self, stale: str | None) -> None:
        """Remember beyond this process that a journal must not be read; None: forget that. Raises OSError."""
        if stale != self.stale:
            _write(self._descriptor, stale)
            self.stale = stale

    def release(self) -> None:
        os.close(self._descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        opened = os.fstat(descriptor)
        current = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (opened.st_dev, opened.st_ino) == (current.st_dev, current.st_ino)


def _require_regular(path: Path, descriptor: int) -> None:
    """Raise OSError unless the file is a regular one: a device swallows whatever is written, and reads without end."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def _read(descriptor: int) -> str:
    return os.pread(descriptor, _BYTES, 0).decode("ascii", "replace")


def _write(descriptor: int, stale: str | None) -> None:
    note = "" if stale is None else f"stale-journal {stale}\n"
    written = os.pwrite(descriptor, f"{os.getpid()}\n{note}".encode(), 0)
    os.ftruncate(descriptor, written)


def read_holder(text: str) -> int | None:
    """Return the pid in a lock file's text, or None."""
    first = text.partition("\n")[0].strip()
    return int(first) if first.isascii() and first.isdigit() else None


def acquire(path: Path, directory_mode: int = 0o755) -> Lock:
    """Take the lock. Its directory is made if it is missing, with this mode and passable parents, whatever the umask.

    Raises LockedError, OSError.
    """
    passage.make(path.parent, directory_mode)
    for _ in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _ALWAYS, MODE)
        try:
            _require_regular(path, descriptor)
            lock = _take(path, descriptor)
        except BaseException:  # a leaked descriptor would keep everybody from the lock, us included
            os.close(descriptor)
            raise
        if lock is not None:
            return lock
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "the lock file is removed again and again", str(path))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Keep others out while guarded files are read from a read-only disk, where the lock cannot be taken.

    Nothing is written, and a missing lock file is not created. Raises LockedError, OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _ALWAYS)
    except FileNotFoundError:
        yield
        return
    try:
        _require_regular(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(path, read_holder(_read(descriptor))) from None
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, descriptor: int) -> Lock | None:
    """Lock an open file, and return the lock.

    Return None if the path leads to another file by now. Raises LockedError, OSError.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LockedError(path, read_holder(_read(descriptor))) from None
    if not _same_file(descriptor, path):
        return None
    with suppress(OSError):  # the file may be another user's, though we may write it
        os.fchmod(descriptor, MODE)
    text = _read(descriptor)
    match = _STALE.search(text)
    stale = None if match is None else match[1]
    _write(descriptor, stale)
    return Lock(path, descriptor, stale, read_holder(text) is not None)

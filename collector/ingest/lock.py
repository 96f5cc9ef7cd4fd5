"""The lock beside the socket: one collector a path, decided before anything else is touched.

Rules:
- flock, held for life: the kernel lets go of it however we end. The file stays.
- Opened without truncation: whoever comes second reads who runs.
- A file may be removed and made anew between open and flock: after flock it must still be the one at the path.
"""

import errno
import fcntl
import os
from pathlib import Path

MODE = 0o600
_TRIES = 10


class LockedError(Exception):
    """Another process holds the lock; ``pid`` is its, None where it did not say."""

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid is not None else "another process"
        super().__init__(f"{who} already collects on this socket and holds {path}; nothing was touched")
        self.pid = pid


class Lock:
    """A held lock."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def held(self) -> bool:
        """Whether the file at the path is still the one that we hold."""
        return _same_file(self._descriptor, self.path)

    def release(self) -> None:
        os.close(self._descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    ours = os.fstat(descriptor)
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    return int(text) if text.isascii() and text.isdigit() else None


def acquire(path: Path) -> Lock:
    """Take the lock; its directory is made if it is missing. Raises LockedError, OSError."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for _ in range(_TRIES):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(descriptor)
            os.close(descriptor)
            raise LockedError(path, pid) from None
        if _same_file(descriptor, path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            return Lock(path, descriptor)
        os.close(descriptor)
    raise OSError(errno.EAGAIN, "the lock file is removed again and again", str(path))

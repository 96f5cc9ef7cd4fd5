"""Access to the files of the state directory: regular files that only our user can read.

Rules:
- A file is created with O_EXCL and O_NOFOLLOW, and with mode 0600 whatever the umask is, so nothing is written through
  a link in its place. SQLite gives the mode of a database to the files that it creates beside it.
- A link, a pipe, a device or a directory in place of a file is never opened: opening a pipe would block, a device has
  no end, and a link leads to somebody else's file.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

MODE = 0o600
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class NotRegularError(OSError):
    """The error that a link, a pipe, a device or a directory stands in place of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a regular file")


def is_regular(path: Path) -> bool:
    """Return True for a regular file; False for a link to one. Raises OSError, and so FileNotFoundError."""
    return stat.S_ISREG(path.stat(follow_symlinks=False).st_mode)


def require_regular(path: Path) -> None:
    """Check that a file is a regular one. Raises NotRegularError, OSError."""
    if not is_regular(path):
        raise NotRegularError(path)


def make(path: Path) -> int:
    """Create an empty file and return its descriptor, for reading and writing. Raises OSError if the path exists."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _ALWAYS, MODE)
    os.fchmod(descriptor, MODE)
    return descriptor


def open_existing(path: Path, flags: int) -> int:
    """Open a regular file and return its descriptor. Raises NotRegularError, OSError."""
    require_regular(path)
    descriptor = os.open(path, flags | _ALWAYS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return descriptor


def beginning(path: Path, size: int) -> bytes:
    """Return the first ``size`` bytes of a file. Raises NotRegularError, OSError."""
    descriptor = open_existing(path, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def restrict(path: Path) -> None:
    """Remove every other user's permissions on a file, if we may change them."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(path.stat(follow_symlinks=False).st_mode) & ~MODE:
            descriptor = open_existing(path, os.O_RDONLY)
            try:
                os.fchmod(descriptor, MODE)
            finally:
                os.close(descriptor)


def clear(path: Path) -> None:
    """Remove the file at a path, if there is one. A directory is not ours to remove: it is renamed. Raises OSError."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        path.rename(path.with_name(f"set-aside-{path.name}-{secrets.token_hex(4)}"))

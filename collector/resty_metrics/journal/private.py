"""The files of the state directory: readable by us alone, and regular ones.

Rules:
- A file is made with O_EXCL and O_NOFOLLOW, with mode 0600 whatever the umask is: nothing is written through a link
  that lies in its place. SQLite gives the mode of a database to the files that it makes beside it.
- A link, a pipe, a device or a directory in place of a file is never opened: a pipe would be waited for, a device has
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
    """A link, a pipe, a device or a directory stands in place of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a regular file")


def is_regular(path: Path) -> bool:
    """Return False for a link too. Raises OSError, FileNotFoundError among them."""
    return stat.S_ISREG(path.stat(follow_symlinks=False).st_mode)


def require_regular(path: Path) -> None:
    """Raises NotRegularError, OSError."""
    if not is_regular(path):
        raise NotRegularError(path)


def make(path: Path) -> int:
    """Make an empty file and return its descriptor, for reading and writing. Raises OSError if anything is there."""
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
    """Return the first bytes of a file. Raises NotRegularError, OSError."""
    descriptor = open_existing(path, os.O_RDONLY)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def restrict(path: Path) -> None:
    """Take from everybody else the right to read a file, where it is ours to change."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(path.stat(follow_symlinks=False).st_mode) & ~MODE:
            descriptor = open_existing(path, os.O_RDONLY)
            try:
                os.fchmod(descriptor, MODE)
            finally:
                os.close(descriptor)


def clear(path: Path) -> None:
    """Make room at a path. A directory there is not ours to remove: it gets another name. Raises OSError."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        path.rename(path.with_name(f"set-aside-{path.name}-{secrets.token_hex(4)}"))

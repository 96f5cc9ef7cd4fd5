"""Files that hold what a connection needs: passwords, tokens, certificates, keys.

Rule: only regular files, and of bounded size: the loop reads them, and a pipe would hold it for ever.
"""

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 4 * 1024 * 1024  # a bundle of certificate authorities has a quarter of that

Stamp = tuple[int, int, int, int]


def read(path: Path) -> bytes:
    """The content of a regular file. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(errno.EFBIG, f"larger than {MOST_BYTES} bytes", str(path))
    return content


def stamp(path: Path) -> Stamp:
    """What changes when the file does, or when another takes its place. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

"""Files that the configuration names: passwords, tokens, certificates, keys, the web configuration.

Rule: only regular files of bounded size are read: a pipe could block the reader for ever.
"""

import errno
import os
import stat
from pathlib import Path

MOST_BYTES = 4 * 1024 * 1024  # a bundle of certificate authorities has a quarter of that

Stamp = tuple[int, int, int, int]


def read(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file. Raises OSError, with EFBIG if it is larger than ``most`` bytes."""
    with open(path, "rb", opener=_open) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most} bytes", str(path))
    return content


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", path)


def stamp(path: Path) -> Stamp:
    """Return a value that changes when the file changes or is replaced. Raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

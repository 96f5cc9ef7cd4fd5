"""The socket file: made beside its path, renamed over it, and known again by device and inode.

Rules:
- Bound under a temporary name with mode and owner set, then renamed over the path: there is always a socket there.
- SO_PASSCRED before bind: a datagram that was queued earlier would have no credentials.
- The path is never unlinked at exit: who starts next renames over it.
- ``getsockname`` and /proc/net/unix show the temporary name for ever: only ``stat`` of the path tells whose it is.
"""

import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.endpoint.healing import Identity

RECEIVE_BUFFER = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bound socket, and what its file looked like when it was made."""

    socket: socket.socket
    identity: Identity

    @property
    def inode(self) -> int:
        """The socket's own inode, as sock_diag and /proc/PID/fd name it; not the file's."""
        return os.fstat(self.socket.fileno()).st_ino


def look(path: Path) -> Identity | None:
    """What is at the path now; None if nothing can be seen there."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino, found.st_mode, found.st_uid)


def bind(path: Path, mode: int, *, again: bool = False) -> Endpoint:
    """A bound socket at ``path``, whatever was there before, but a directory. Call it under the lock. Raises OSError.

    ``again``: the path was ours. Then an empty directory goes too, as container engines make one for a mount.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _remove_leftovers(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(str(temporary))
        temporary.chmod(mode)
        identity = look(temporary)
        if identity is None:
            raise FileNotFoundError(f"{temporary} has gone before it could be renamed")
        if again and path.is_dir() and not path.is_symlink():
            path.rmdir()
        temporary.rename(path)
    except OSError:
        sock.close()
        temporary.unlink(missing_ok=True)
        raise
    return Endpoint(sock, identity)


def _remove_leftovers(path: Path) -> None:
    """Temporary names of collectors that died between bind and rename."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"\d+")
    for entry in path.parent.iterdir():
        if pattern.fullmatch(entry.name) and stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)

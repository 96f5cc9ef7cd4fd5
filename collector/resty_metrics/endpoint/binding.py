"""The socket file: made beside its path, renamed over it, and recognized by device and inode.

Rules:
- A socket is bound under a temporary name with mode and owner set, then renamed over the path: there is always a socket
  at the path.
- SO_PASSCRED is set before bind: a datagram that was queued earlier would have no credentials.
- The path is never unlinked at exit: the next process renames over it.
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
    """A bound socket, and the identity of its file when it was made."""

    socket: socket.socket
    identity: Identity

    @property
    def inode(self) -> int:
        """Return the socket's own inode, as sock_diag and /proc/PID/fd name it; not the file's."""
        return os.fstat(self.socket.fileno()).st_ino


def look(path: Path) -> Identity | None:
    """Return the identity of the file that is at the path now; None if none can be seen there."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return Identity(status.st_dev, status.st_ino, status.st_mode, status.st_uid)


def bind(path: Path, mode: int, *, again: bool = False) -> Endpoint:
    """Bind a socket at ``path`` in place of what is there, except a directory. Call it under the lock. Raises OSError.

    ``again``: the path was ours. Then an empty directory is replaced too, since container engines make one for a mount.
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
    """Remove the temporary sockets of collectors that died between bind and rename."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"\d+")
    for entry in path.parent.iterdir():
        if pattern.fullmatch(entry.name) and stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)

"""Files: the directories on the way to a file, and its content.

Rules:
- ``root`` is the root directory of the process that uses the path (``/proc/PID/root``): it may be in another mount
  namespace.
- Only the beginning or the end of a regular file is read: a pipe would wait for ever.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from resty_metrics.kernel.access import Node
from resty_metrics.kernel.processes import namespaces_of

MAX_BYTES = 1024 * 1024
ROOT = Path("/")
_ACCESS_LIST = "system.posix_acl_access"


def root_of(pid: int | None) -> Path:
    """Return the root directory of a process.

    It is ours where the process is in our mount namespace, or where its namespace cannot be read.
    """
    namespace = None if pid is None else namespaces_of(pid).get("mnt")
    return ROOT if namespace in (None, namespaces_of(os.getpid()).get("mnt")) else Path(f"/proc/{pid}/root")


def below(root: Path, path: str) -> Path:
    """Return ``path`` as a process with this root directory sees it."""
    return Path(path) if root == ROOT else root / path.lstrip("/")


def identity_of(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file or a directory; None if it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def nodes_to(path: str, root: Path = ROOT) -> list[Node]:
    """Return each directory from the root down, then the file. Links are followed within one mount namespace.

    Raises OSError where one of them cannot be looked at.
    """
    real = path if root != ROOT else os.path.realpath(path)
    parts = [Path(real), *Path(real).parents]
    return [_node(str(part), below(root, str(part))) for part in reversed(parts)]


def _node(name: str, path: Path) -> Node:
    status = path.stat()
    return Node(name, status.st_uid, status.st_gid, status.st_mode, _has_list(path))


def _has_list(path: Path) -> bool:
    try:
        return _ACCESS_LIST in os.listxattr(path)
    except OSError:  # the file system has no such attributes
        return False


def read(path: Path, errors: str = "replace") -> str | None:
    """Return the beginning of a regular file as text; None where it cannot be read.

    ``errors``: as for ``bytes.decode``, for bytes that are not UTF-8.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            return file.read(MAX_BYTES).decode("utf-8", errors)
    except OSError:
        return None


def tail(path: Path, size: int) -> str | None:
    """Return the end of a regular file as text, from the first whole line; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            begin = max(0, os.fstat(descriptor).st_size - size)
            file.seek(begin)
            text = file.read(size).decode("utf-8", "replace")
    except OSError:
        return None
    return text.partition("\n")[2] if begin else text


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode; None where ``stat`` fails."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def beside(file: str, root: Path) -> Iterator[str]:
    """Yield the Lua files that belong to ``.../resty/metrics/X.lua``: ``metrics.lua`` and all of its directory."""
    directory = Path(file).parent
    yield str(directory.with_suffix(".lua"))
    yield from sorted(str(directory / module.name) for module in below(root, str(directory)).glob("*.lua"))

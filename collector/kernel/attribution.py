"""Whose socket is it: from a file to the processes that hold the socket behind it.

Rules:
- In our network namespace the kernel knows the file of each socket: exact, also after the file was renamed over. On a
  file system where ``stat`` reports another device than the kernel (btrfs), inode and name together count.
- In other network namespaces only the name at bind is to be had: sockets that were bound to this file name, or to the
  temporary name of a collector, in *this* directory as their holder sees it. Those are candidates, not proof,
  so they are named only where our own namespace knows nobody.
- It walks all of /proc: for a thread, not for an event loop.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from collector.kernel import procfs, sock_diag, unix_diag
from collector.kernel.processes import Process, holders, namespaces_of, pids
from collector.kernel.procfs import NamedSocket

MAX_NAMESPACES = 256


def attribute(path: Path) -> list[Process]:
    """Who holds the socket whose file is at ``path`` now; empty if nobody is found. Raises OSError if no file is."""
    found = path.stat(follow_symlinks=False)
    return attribute_file(path, found.st_dev, found.st_ino)


def attribute_file(path: Path, device: int, inode: int) -> list[Process]:
    """The same for a file that was at ``path`` when its ``st_dev`` and ``st_ino`` were taken; it may be gone since."""
    exact = _distinct(holders(_bound(path, device, inode)))
    return exact or _elsewhere(path)


def names(path: Path) -> Callable[[str], bool]:
    """Whether a socket's name at bind ends in the file name of ``path`` or in a temporary name for it."""
    pattern = re.compile(rf"{re.escape(path.name)}|\.{re.escape(path.name)}\.\d+")
    return lambda name: bool(pattern.fullmatch(name.rpartition("/")[2]))


def _bound(path: Path, device: int, inode: int) -> set[int]:
    """Inodes of the sockets of our namespace that were bound to the file."""
    try:
        found = sock_diag.sockets()
    except OSError:
        return set()
    exact = {one.inode for one in found if unix_diag.same_file(one, device, inode)}
    named = names(path)
    return exact or {one.inode for one in found if unix_diag.same_inode(one, inode) and named(one.name or "")}


def _elsewhere(path: Path) -> list[Process]:
    """The candidates of other network namespaces."""
    candidates = {one.inode: one.name for one in _foreign() if names(path)(one.name)}
    directory = _identity(path.parent)
    found = {
        inode: [process for process in processes if _identity(_seen_by(process.pid, candidates[inode])) == directory]
        for inode, processes in holders(candidates).items()
    }
    return _distinct(found) if directory is not None else []


def _foreign() -> Iterator[NamedSocket]:
    """The sockets with a path in all network namespaces but ours."""
    seen = {namespaces_of(os.getpid()).get("net")}
    for pid in pids():
        namespace = namespaces_of(pid).get("net")
        if namespace is None or namespace in seen or len(seen) > MAX_NAMESPACES:
            continue
        try:
            with Path(f"/proc/{pid}/net/unix").open("rb") as lines:
                yield from procfs.parse_unix(lines)
        except OSError:
            continue
        seen.add(namespace)


def _seen_by(pid: int, name: str) -> Path:
    """The directory of a name as the process ``pid`` sees it: from its root, or from where it works."""
    start = "root" if name.startswith("/") else "cwd"
    return Path(f"/proc/{pid}/{start}", name.lstrip("/")).parent


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _distinct(found: dict[int, list[Process]]) -> list[Process]:
    return list({process.pid: process for processes in found.values() for process in processes}.values())

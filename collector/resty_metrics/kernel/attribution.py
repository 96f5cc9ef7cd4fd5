"""Find the processes that hold the socket behind a file.

Rules:
- The kernel knows the file of each socket, even after another file was renamed over it: this is exact. It tells that
  for one network namespace only. Other namespaces are entered and asked from within, which takes CAP_SYS_ADMIN.
- On btrfs and some overlays ``stat`` reports another device than the kernel. There the kernel's device of the
  directory, the inode and the name together identify the file.
- In a namespace that cannot be entered, only the names at bind are available: those of sockets that were bound to this
  file name, or to a collector's temporary name, in *this* directory as their holder sees it. Their holders are
  candidates, not proof, and are returned only where no holder is known exactly.
- A search reads all of /proc: run it in a thread, not in an event loop.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from resty_metrics.kernel import procfs, sock_diag, unix_diag
from resty_metrics.kernel.namespaces import in_network
from resty_metrics.kernel.paths import identity_of
from resty_metrics.kernel.processes import Process, holders, namespaces_of, pids

MAX_NAMESPACES = 256


def attribute(path: Path) -> list[Process]:
    """Return the processes that hold the socket whose file is at ``path`` now.

    The list is empty if no process is found. Raises OSError if the file does not exist.
    """
    status = path.stat(follow_symlinks=False)
    return attribute_file(path, status.st_dev, status.st_ino)


def attribute_file(path: Path, device: int, inode: int) -> list[Process]:
    """Return the processes that hold the socket whose file had this ``st_dev`` and ``st_ino``.

    The file was at ``path`` when the two were read; it may have been removed since.
    """

    def bound() -> set[int]:
        return _bound(path, device, inode)

    try:
        exact = _distinct(holders(bound()))
    except OSError:
        exact = []
    return exact or _elsewhere(path, bound)


def names(path: Path) -> Callable[[str], bool]:
    """Return a test for names at bind.

    It passes a name that ends in the file name of ``path`` or in a temporary name for it.
    """
    pattern = re.compile(rf"{re.escape(path.name)}|\.{re.escape(path.name)}\.\d+")
    return lambda name: bool(pattern.fullmatch(name.rpartition("/")[2]))


def _bound(path: Path, device: int, inode: int) -> set[int]:
    """Return the inodes of the sockets that were bound to the file, in the network namespace of the caller.

    Raises OSError.
    """
    sockets, matches = sock_diag.sockets(), names(path)
    exact = {sock.inode for sock in sockets if unix_diag.same_file(sock, device, inode)}
    kernels = device_of(path.parent)
    if exact or kernels is None:
        return exact
    return {sock.inode for sock in sockets if unix_diag.same_file(sock, kernels, inode) and matches(sock.name or "")}


def device_of(directory: Path) -> int | None:
    """Return the device number that the kernel itself uses for the directory's file system; None if unreadable."""
    try:
        descriptor = os.open(directory, os.O_PATH | os.O_CLOEXEC)
        try:
            mount = procfs.parse_mount(Path(f"/proc/self/fdinfo/{descriptor}").read_bytes())
        finally:
            os.close(descriptor)
        device = procfs.parse_mounts(Path("/proc/self/mountinfo").read_bytes()).get(mount)
    except (OSError, procfs.ProcfsError):
        return None
    return os.makedev(*device) if device is not None else None


def _elsewhere(path: Path, bound: Callable[[], set[int]]) -> list[Process]:
    """Return holders in other network namespaces; else the candidates in namespaces that cannot be entered."""
    exact: set[int] = set()
    candidates: dict[int, str] = {}
    for pid in _one_of_each_network():
        try:
            exact |= in_network(pid, bound)
        except OSError:
            candidates |= _sockets_named(pid, path)
    return _distinct(holders(exact)) or _of_this_directory(path.parent, candidates)


def _one_of_each_network() -> Iterator[int]:
    """Yield the pid of one process in each network namespace except our own."""
    visited = {namespaces_of(os.getpid()).get("net")}
    for pid in pids():
        namespace = namespaces_of(pid).get("net")
        if namespace is not None and namespace not in visited and len(visited) <= MAX_NAMESPACES:
            visited.add(namespace)
            yield pid


def _sockets_named(pid: int, path: Path) -> dict[int, str]:
    """Return inodes and names of the sockets in the network namespace of ``pid`` whose name at bind fits ``path``."""
    matches = names(path)
    try:
        with Path(f"/proc/{pid}/net/unix").open("rb") as lines:
            return {entry.inode: entry.name for entry in procfs.parse_unix(lines) if matches(entry.name)}
    except OSError:
        return {}


def _of_this_directory(directory: Path, candidates: dict[int, str]) -> list[Process]:
    """Return the holders that see this directory as the directory of the socket's name."""
    identity = identity_of(directory)
    matching = {
        inode: [
            process for process in processes if identity_of(_directory_of(process.pid, candidates[inode])) == identity
        ]
        for inode, processes in holders(candidates).items()
    }
    return _distinct(matching) if identity is not None else []


def _directory_of(pid: int, name: str) -> Path:
    """Return the directory of ``name`` as process ``pid`` sees it: from its root, or from its working directory."""
    start = "root" if name.startswith("/") else "cwd"
    return Path(f"/proc/{pid}/{start}", name.lstrip("/")).parent


def _distinct(by_inode: dict[int, list[Process]]) -> list[Process]:
    return list({process.pid: process for processes in by_inode.values() for process in processes}.values())

"""Processes as /proc shows them: their user, parents, container, namespaces and sockets.

Rules:
- A process may end at any moment, and much about it is visible only to its own user and to root. Facts that cannot be
  read are None or left out; nothing raises.
- Only processes of our pid namespace are visible; a container's own namespace has hardly any.
- Arguments are reported shortened (``procfs.shortened``), since they may hold secrets.
"""

import os
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from resty_metrics.kernel import procfs
from resty_metrics.kernel.procfs import MAX_PARENTS, Parent, Process

__all__ = [
    "Parent",
    "Process",
    "describe",
    "holders",
    "holds_lock",
    "is_ours",
    "lock_holder",
    "namesakes",
    "namespaces_of",
    "pids",
]

PROGRAM = "resty-metrics"
MODULE = "resty_metrics"
NAMESPACES = ("pid", "net", "mnt")

_PROC = Path("/proc")
_READ_BYTES = 8 * 1024


def describe(pid: int, known: Process | None = None) -> Process | None:
    """Return the facts about a process; None if it has ended or is hidden from us.

    ``known`` holds the facts from before the process executed another program. Its parents are kept, because the kernel
    forgets parents that ended. If the process ends during the call, the facts that could be read replace those in
    ``known``. The facts that vanish first are read first, within some ten microseconds.
    """
    exe, arguments = link_of(pid, "exe"), arguments_of(pid)
    try:
        uid = procfs.parse_uid(_read(pid, "status"))
        command = procfs.shortened(arguments) or (f"[{_stat(pid).name}]",)
        parents = known.parents if known is not None else tuple(_parents(_stat(pid).parent))
    except (OSError, procfs.ProcfsError):
        return _in_part(known, exe, arguments)
    cgroup = cgroup_of(pid)
    return Process(
        pid=pid,
        uid=uid,
        exe=exe,
        command=command,
        parents=parents,
        cgroup=cgroup,
        container=procfs.container_of(cgroup) if cgroup else None,
        namespaces=namespaces_of(pid),
        ours=procfs.runs(PROGRAM, MODULE, exe, arguments),
    )


def _in_part(known: Process | None, exe: str | None, arguments: tuple[str, ...]) -> Process | None:
    """Return the facts about a process that ended while it was read; None if nothing could be read."""
    if known is None or (exe is None and not arguments):
        return None
    ours = procfs.runs(PROGRAM, MODULE, exe, arguments)
    return replace(known, exe=exe, command=procfs.shortened(arguments), ours=ours)


def pids() -> list[int]:
    """Return the pids of all visible processes, without threads."""
    return [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]


def holders(socket_inodes: Collection[int]) -> dict[int, list[Process]]:
    """Return the processes that hold a descriptor of each of these sockets, by inode.

    A socket that no process holds has no entry.
    """
    sought = frozenset(socket_inodes)
    by_inode: dict[int, list[Process]] = {}
    if not sought:
        return by_inode
    for pid in pids():
        held = sought.intersection(_sockets_of(pid))
        process = describe(pid) if held else None
        if process is not None:
            for inode in held:
                by_inode.setdefault(inode, []).append(process)
    return by_inode


def namesakes(program: str = PROGRAM, module: str = MODULE) -> list[Process]:
    """Return the other processes that run our program directly, through an interpreter or as ``python -m``."""
    processes = (describe(pid) for pid in pids() if pid != os.getpid() and is_ours(pid, program, module))
    return [process for process in processes if process is not None]


def is_ours(pid: int, program: str = PROGRAM, module: str = MODULE) -> bool:
    """Return whether the process runs our program now."""
    return procfs.runs(program, module, link_of(pid, "exe"), arguments_of(pid))


def lock_holder(path: Path) -> int | None:
    """Return the pid of the process that holds a flock on the file; None if no process of our pid namespace does.

    The number that the holder wrote into the file may be wrong across pid namespaces; this one is right. Do not call it
    every second: the kernel waits for all processors before it answers, which can take ten milliseconds.
    """
    try:
        return next((lock.pid for lock in _locks_on(path, (_PROC / "locks").read_bytes())), None)
    except OSError:
        return None


def holds_lock(pid: int, path: Path) -> bool:
    """Return whether this process holds a flock on the file. Fast for a process with few descriptors."""
    try:
        names = [entry.name for entry in os.scandir(f"/proc/{pid}/fdinfo")]
        return any(_locks_on(path, _read(pid, f"fdinfo/{name}")) for name in names)
    except OSError:
        return False


def _locks_on(path: Path, text: bytes) -> list[procfs.Lock]:
    """Return the locks of ``text`` that are on the file. Raises OSError."""
    status = path.stat(follow_symlinks=False)
    same = [lock for lock in procfs.parse_locks(text) if lock.inode == status.st_ino]
    device = os.major(status.st_dev), os.minor(status.st_dev)
    # btrfs: stat has another device than the kernel
    return [lock for lock in same if (lock.major, lock.minor) == device] or same


def started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it is not visible, or has ended."""
    try:
        return procfs.parse_started(_read(pid, "stat"))
    except (OSError, procfs.ProcfsError):
        return None


def seconds_of(pid: int) -> float | None:
    """Return for how many seconds a process has run; None if it is not visible, or has ended."""
    ticks = started(pid)
    return None if ticks is None else time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def state_of(pid: int) -> str | None:
    """Return the letter of a process's state (proc_pid_stat(5)); None if it is not visible, or has ended."""
    try:
        state = re.search(rb"^State:\t(\S)", _read(pid, "status"), re.MULTILINE)
    except OSError:
        return None
    return state[1].decode() if state else None


def arguments_of(pid: int) -> tuple[str, ...]:
    """Return all arguments unshortened: for tests, not for reports. Empty if they cannot be read."""
    try:
        return procfs.parse_arguments(_read(pid, "cmdline"))
    except OSError:
        return ()


def cgroup_of(pid: int) -> str | None:
    try:
        return procfs.parse_cgroup(_read(pid, "cgroup"))
    except OSError:
        return None


def namespaces_of(pid: int) -> dict[str, int]:
    """Return the inodes of the namespaces that we may read, by kind."""
    inodes = {kind: procfs.parse_namespace(link_of(pid, f"ns/{kind}") or "") for kind in NAMESPACES}
    return {kind: inode for kind, inode in inodes.items() if inode is not None}


def link_of(pid: int, name: str) -> str | None:
    """Return the target of a link below /proc/PID. An exe that was removed ends with `` (deleted)``."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 -- faster: it runs for each descriptor of the machine
    except OSError:
        return None


def _sockets_of(pid: int) -> Iterator[int]:
    try:
        names = [entry.name for entry in os.scandir(f"/proc/{pid}/fd")]
    except OSError:
        return
    for name in names:
        inode = procfs.parse_socket(link_of(pid, f"fd/{name}") or "")
        if inode is not None:
            yield inode


def _parents(pid: int) -> Iterator[Parent]:
    for _ in range(MAX_PARENTS):
        if pid == 0:
            return
        try:
            stat = _stat(pid)
        except (OSError, procfs.ProcfsError):
            return
        yield Parent(pid, stat.name)
        pid = stat.parent


def _stat(pid: int) -> procfs.Stat:
    return procfs.parse_stat(_read(pid, "stat"))


def _read(pid: int, name: str) -> bytes:
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _READ_BYTES)
    finally:
        os.close(descriptor)

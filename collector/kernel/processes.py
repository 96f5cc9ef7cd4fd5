"""Processes as /proc shows them: who they are, who started them, where they live, which sockets they hold.

Rules:
- A process may end at any moment, and much of it is shown only to its own user and to root: what cannot be read is None
  or left out, nothing raises.
- Only processes of our pid namespace are visible; in a container of its own that is hardly anybody.
- Arguments are reported shortened (``procfs.shortened``), since they may hold secrets.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from collector.kernel import procfs

PROGRAM = "resty-metrics"
MODULE = "collector"
MAX_PARENTS = 16
NAMESPACES = ("pid", "net", "mnt")

_PROC = Path("/proc")
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Parent:
    """One of those that a process descends from; ``name`` is the kernel's, at most 15 bytes."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Process:
    """A process at the moment it was looked at.

    ``uid`` is the effective user; ``command`` the shortened arguments, ``[name]`` where there are none; ``parents``
    begin with the nearest; ``container`` comes from the cgroup's path; ``namespaces`` are inodes by kind, only
    those that we may read.
    """

    pid: int
    uid: int
    exe: str | None
    command: tuple[str, ...]
    parents: tuple[Parent, ...]
    cgroup: str | None
    container: str | None
    namespaces: Mapping[str, int]


def describe(pid: int) -> Process | None:
    """What is to be known of a process; None if it is gone or hidden from us."""
    try:
        stat = procfs.parse_stat(_read(pid, "stat"))
        uid = procfs.parse_uid(_read(pid, "status"))
        arguments = procfs.parse_arguments(_read(pid, "cmdline"))
    except (OSError, procfs.ProcfsError):
        return None
    cgroup = cgroup_of(pid)
    return Process(
        pid=pid,
        uid=uid,
        exe=link_of(pid, "exe"),
        command=procfs.shortened(arguments) or (f"[{stat.name}]",),
        parents=tuple(_parents(stat.parent)),
        cgroup=cgroup,
        container=procfs.container_of(cgroup) if cgroup else None,
        namespaces=namespaces_of(pid),
    )


def pids() -> list[int]:
    """All processes that are visible now, threads not counted."""
    return [int(entry.name) for entry in os.scandir(_PROC) if entry.name.isdigit()]


def holders(socket_inodes: Collection[int]) -> dict[int, list[Process]]:
    """The processes that hold a descriptor of each of these sockets, by inode; a socket without any is not there."""
    wanted = frozenset(socket_inodes)
    found: dict[int, list[Process]] = {}
    if not wanted:
        return found
    for pid in pids():
        held = wanted.intersection(_sockets_of(pid))
        process = describe(pid) if held else None
        if process is not None:
            for inode in held:
                found.setdefault(inode, []).append(process)
    return found


def namesakes(program: str = PROGRAM, module: str = MODULE) -> list[Process]:
    """The other processes that run our program, directly, through an interpreter or as ``python -m``."""
    found = (describe(pid) for pid in pids() if pid != os.getpid() and is_ours(pid, program, module))
    return [process for process in found if process is not None]


def is_ours(pid: int, program: str = PROGRAM, module: str = MODULE) -> bool:
    """Whether the process runs our program now."""
    return procfs.runs(program, module, link_of(pid, "exe"), arguments_of(pid))


def arguments_of(pid: int) -> tuple[str, ...]:
    """All arguments, as they are: to be looked at, not to be reported. Empty if they cannot be read."""
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
    """Inodes of the namespaces that we may read, by kind."""
    inodes = {kind: procfs.parse_namespace(link_of(pid, f"ns/{kind}") or "") for kind in NAMESPACES}
    return {kind: inode for kind, inode in inodes.items() if inode is not None}


def link_of(pid: int, name: str) -> str | None:
    """Where a link below /proc/PID points; an exe that was removed ends with `` (deleted)``."""
    try:
        return os.readlink(f"/proc/{pid}/{name}")  # noqa: PTH115 -- for each descriptor of the machine
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
            stat = procfs.parse_stat(_read(pid, "stat"))
        except (OSError, procfs.ProcfsError):
            return
        yield Parent(pid, stat.name)
        pid = stat.parent


def _read(pid: int, name: str) -> bytes:
    with (_PROC / str(pid) / name).open("rb", buffering=0) as file:
        return file.read(_READ_BYTES) or b""

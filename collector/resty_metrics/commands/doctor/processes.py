"""Checks of the socket's holders, its senders, and other processes of ours.

These are ``socket.holder``, ``socket.open``, ``socket.senders`` and ``processes``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resty_metrics.commands.doctor.finding import Finding, fail, not_known, of_its_own, ok, warn
from resty_metrics.commands.doctor.socket_file import PUT_BACK
from resty_metrics.kernel.access import user_label
from resty_metrics.process.command_line import command

MAX_NAMED = 8
_NAMES = {"pid": "pid", "net": "network", "mnt": "mount"}


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """A process. ``namespaces``: inodes by kind, those that may be read; ``socket_path``: that of a collector, None for
    any other program; ``ours``: it runs our program; ``user``: the name of its user, None if it is not known."""

    pid: int
    uid: int
    command: str
    parents: tuple[str, ...]
    container: str | None
    namespaces: Mapping[str, int]
    ours: bool = False
    socket_path: str | None = None
    user: str | None = None

    @property
    def label(self) -> str:
        return f"process {self.pid} ({self.command})"

    @property
    def origin(self) -> str:
        """Describe the origin of a process that should not be there."""
        where = "" if self.container is None else f", container {self.container}"
        line = "" if not self.parents else f", started by {' < '.join(self.parents)}"
        return f"{self.label}, {user_label(self.uid, self.user)}{where}{line}"


@dataclass(frozen=True, slots=True)
class Sight:
    """The collector as far as we see it. ``root``: all processes can be seen; ``answered``: it answers a probe.

    ``absent``: the remedy where its socket is not at the path.
    """

    collector: int | None
    root: bool
    answered: bool
    absent: str = PUT_BACK


def holder(path: str, holders: Sequence[ProcessFacts], sight: Sight) -> Finding:
    """Check ``socket.holder``: the socket at the path is the collector's own."""
    check = "socket.holder"
    if not holders:
        if not sight.root:
            return not_known(check, "only root can see which process holds the socket", "run doctor as root")
        if sight.answered:
            return not_known(
                check,
                "the process that answers cannot be seen from here",
                "run doctor in its pid namespace, or on the host",
            )
        evidence = f"no process holds the socket at {path}: its owner has ended, and the kernel refuses senders"
        return fail(check, evidence, sight.absent)
    if any(process.pid == sight.collector for process in holders):
        return ok(check, f"process {sight.collector}, the collector, holds the socket at {path}")
    strangers = "; ".join(process.origin for process in holders)
    if sight.collector is None and any(process.ours for process in holders):
        return warn(check, f"{strangers} holds the socket without the lock", "stop that collector, and start it again")
    remedy = "end that process (resty-metrics doctor --watch names the next one)"
    evidence = f"an impostor: the socket at {path} is held by {strangers}"
    return of_its_own(fail(check, evidence, f"{remedy}; then {sight.absent}"))


def opened(holders: Sequence[ProcessFacts], own: Mapping[str, int]) -> list[Finding]:
    """Check ``socket.open``: list each process that has the socket open, and compare its namespaces with ``own``."""
    return [
        ok("socket.open", f"{process.label} has it open, {_namespaces(process.namespaces, own)}") for process in holders
    ]


def _namespaces(namespaces: Mapping[str, int], own: Mapping[str, int]) -> str:
    words = []
    for kind, word in _NAMES.items():
        if kind not in namespaces:
            words.append(f"{word}: not known")
        elif namespaces[kind] == own.get(kind):
            words.append(f"{word}: as ours")
        else:
            words.append(f"{word}: another ({namespaces[kind]})")
    return f"namespaces {', '.join(words)}"


def senders(connected: Sequence[ProcessFacts], collector_pid: int | None) -> list[Finding]:
    """Check ``socket.senders``: list the processes connected to the socket, except the collector's own probe."""
    processes = [process for process in connected if process.pid != collector_pid]
    if not processes:
        return []
    named = ", ".join(f"{process.pid} ({process.command})" for process in processes[:MAX_NAMED])
    more = "" if len(processes) <= MAX_NAMED else f" and {len(processes) - MAX_NAMED} more"
    return [ok("socket.senders", f"{len(processes)} processes are connected to it: {named}{more}")]


def other_processes(
    processes: Sequence[ProcessFacts], collector_pid: int | None, socket_path: str, own: Mapping[str, int]
) -> list[Finding]:
    """Check ``processes``: the other processes of ours.

    ``own``: our namespaces, where their paths are comparable to ours.
    """
    rest = [process for process in processes if process.pid != collector_pid]
    if not rest:
        return [ok("processes", "no other resty-metrics process runs")]
    return [_other_process(process, socket_path, own) for process in rest]


def _other_process(process: ProcessFacts, socket_path: str, own: Mapping[str, int]) -> Finding:
    if process.socket_path is None:
        return ok("processes", f"{process.label} runs beside the collector")
    if process.namespaces.get("mnt", own.get("mnt")) != own.get("mnt"):
        enter = f"nsenter --target {process.pid} --all {command('doctor', process.socket_path)}"
        return ok("processes", f"{process.label} collects in another mount namespace; examine it there: {enter}")
    if process.socket_path == socket_path:
        evidence = f"a second collector on the same socket: {process.origin}"
        return warn(
            "processes", evidence, f"stop process {process.pid} or the other collector, and check what starts it"
        )
    return ok("processes", f"{process.label} collects on another socket, {process.socket_path}")

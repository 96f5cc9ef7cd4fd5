"""A memory of processes, so that one that has ended can still be named.

Pure; a function that looks at them is passed in.

Rules:
- A child inherits the facts about its parent until it executes a program of its own.
- The facts are kept when a process ends, for the last MAX_GONE of them. Everything is bounded: the oldest go first.
- Parents are those at the fork: /proc forgets them when they end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from resty_metrics.kernel.procfs import MAX_PARENTS, Parent, Process

MAX_ALIVE = 32768
MAX_GONE = 4096

Describe = Callable[[int, Process | None], Process | None]


@dataclass(frozen=True, slots=True)
class Known:
    """A process, and the program that the same process executed before this one, if it did."""

    process: Process
    before: Process | None = None
    executed: bool = False


class Memory:
    """The living and the last ended processes. ``describe(pid, known)`` looks at a living process."""

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._alive: dict[int, Known] = {}
        self._gone: dict[int, Known] = {}

    def meet(self, pid: int) -> None:
        """Remember a process that was there before we were."""
        process = self._describe(pid, None)
        if process is not None:
            self._keep(pid, Known(process))

    def fork(self, parent: int, child: int) -> None:
        if parent not in self._alive:
            self.meet(parent)
        known = self._alive.get(parent)
        if known is not None:
            chain = (Parent(parent, _name(known.process)), *known.process.parents)[:MAX_PARENTS]
            self._keep(child, Known(replace(known.process, pid=child, parents=chain)))

    def execute(self, pid: int) -> Known | None:
        """Note that the process runs another program now. Its exe is None if it ended before we could look at it."""
        known = self._alive.get(pid)
        process = self._describe(pid, known.process if known else None)
        if process is None and known is not None:
            process = replace(known.process, exe=None, command=(), ours=False)
        if process is None:
            return None
        before = known.process if known and known.executed else None
        return self._keep(pid, Known(process, before, executed=True))

    def end(self, pid: int) -> Known | None:
        known = self._alive.pop(pid, None)
        if known is not None:
            self._gone.pop(pid, None)
            self._gone[pid] = known
            _trim(self._gone, MAX_GONE)
        return known

    def forget(self) -> None:
        """Forget everything: events were lost, so the memory may no longer be true."""
        self._alive.clear()
        self._gone.clear()

    def find(self, pid: int) -> Known | None:
        """Return the process that has or had this pid; None if it was never seen and cannot be looked at now."""
        known = self._alive.get(pid)
        if known is not None:
            now = self._describe(pid, known.process)
            # Another exe: the process has executed a program since the event that the caller asks about.
            return replace(known, process=now) if now is not None and now.exe == known.process.exe else known
        if pid in self._gone:
            return self._gone[pid]
        process = self._describe(pid, None)
        return Known(process) if process is not None else None

    def _keep(self, pid: int, known: Known) -> Known:
        self._alive.pop(pid, None)
        self._alive[pid] = known
        _trim(self._alive, MAX_ALIVE)
        return known


def _name(process: Process) -> str:
    return (process.exe or process.command[0] if process.exe or process.command else "?").rpartition("/")[2]


def _trim(memory: dict[int, Known], most: int) -> None:
    if len(memory) > most:
        del memory[next(iter(memory))]

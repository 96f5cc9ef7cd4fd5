"""Keeps the socket ours: looks at the lock and the path, heals, probes, and says who did it.

Rules:
- Look whenever inotify says that something happened in the directory, and each second all the same.
- The lock first: where another holds the lock at our path (the directory was made anew), stand by and never rename
  over; once it is ours again, take the path back.
- The directory keeps the search permission that it had (passage.py).
- Heal by a new socket, bound beside and renamed over. Who did it is found out afterwards, in a thread.
- A probe that gets no answer says nothing: the queue may be full, the reader behind. Then the kernel tells whether who
  connects to the path is connected to us.
- Somebody who keeps coming back makes no line each time: each is said once in a while per fault, and per culprit.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from asyncinotify import Inotify, Mask

from resty_metrics.endpoint.binding import Endpoint, look
from resty_metrics.endpoint.healing import Contention, Fault, Identity, find_fault
from resty_metrics.endpoint.probe import Finding, probe
from resty_metrics.kernel.attribution import attribute_file
from resty_metrics.process.command_line import command
from resty_metrics.process.lock import Lock, LockedError, acquire
from resty_metrics.process.log import say
from resty_metrics.process.passage import Passage, make

CHECK_SECONDS = 1.0
CALM_SECONDS = 0.01  # between two looks, however much happens in the directory
UNREACHABLE_AFTER = 3  # probes in a row that reached somebody else, though the file is ours
_WATCHED = Mask.CREATE | Mask.DELETE | Mask.MOVE | Mask.ATTRIB | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR


class Bound(Protocol):
    """The owner of the socket, which the guard has bind it again or stand by. ``endpoint`` None: it has no socket."""

    @property
    def path(self) -> Path: ...

    @property
    def endpoint(self) -> Endpoint | None: ...

    def bind(self) -> None: ...

    def stand_by(self) -> None: ...


class Guard:
    """Watches one listener's socket. Counters for the page: ``rebinds`` by fault, ``failed_rebinds``."""

    def __init__(self, listener: Bound, lock: Lock, clock: Callable[[], float] = time.monotonic) -> None:
        self.rebinds: Counter[Fault] = Counter()
        self.failed_rebinds = 0
        self.standing_by = False
        self._listener = listener
        self._lock = lock
        self._passage = Passage(lock.path.parent)
        self._clock = clock
        self._contention = Contention()
        self._fault: str | None = None
        self._failing = False
        self._strays = 0
        self._watched: tuple[int, int] | None = None
        self._attributions: set[asyncio.Task[None]] = set()

    @property
    def contended(self) -> bool:
        """Whether it is taken away again and again; what cannot be put right is not taken away."""
        return not self._failing and self._contention.contended(self._clock())

    def up(self) -> bool:
        """Whether workers reach us: the file is ours as we made it, and a probe has not found somebody else."""
        return not self.standing_by and self._strays == 0 and self._find() is None

    def faults(self) -> list[str]:
        """What is degraded, in words."""
        found = [] if self._fault is None else [self._fault]
        if self.contended:
            found.append(
                f"somebody keeps touching the socket at {self._listener.path}: it was put back "
                f"{self._contention.healings} times in a row; see {self._watch_command}"
            )
        return found

    @property
    def _watch_command(self) -> str:
        return command("doctor --watch", self._listener.path)

    @property
    def path(self) -> Path:
        """The path of the socket."""
        return self._listener.path

    @property
    def lock(self) -> Lock:
        """The lock that is held now; it may have been taken anew since the start."""
        return self._lock

    async def run(self) -> None:
        """Until cancelled, or one of its parts fails: that is a bug, and raised."""
        changed = asyncio.Event()
        with ExitStack() as stack:
            inotify = _open_inotify(stack)
            async with asyncio.TaskGroup() as parts:
                parts.create_task(self._probe())
                if inotify is not None:
                    parts.create_task(_wake(inotify, changed))
                while True:
                    if inotify is not None:
                        self._watch_directory(inotify)
                    self.check()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(changed.wait(), CHECK_SECONDS)
                    changed.clear()
                    await asyncio.sleep(CALM_SECONDS)

    def check(self) -> None:
        """Look once, and put right what can be."""
        closed = None if self.standing_by else self._open_passage()
        try:
            fault = self._heal() if self._has_lock() else None
        except OSError as error:
            fault = f"the socket at {self._listener.path} cannot be put right: {error}"
        fault = fault or closed
        if self.standing_by:
            fault = f"standing by: another process holds {self._lock.path}"
        self._tell(fault)

    def _open_passage(self) -> str | None:
        """Give the directory back the search permission that it had; return what is left wrong."""
        directory = self._passage.directory
        try:
            mode = self._passage.mend()
        except OSError as error:
            return f"{directory} lost search permission, which workers need, and it cannot be given back: {error}"
        if mode is not None:
            message = "the directory of the socket lost search permission, which workers need, and has it again"
            say(logging.ERROR, message, per="directory", directory=directory, mode=f"{mode:04o}")
        return None

    def _tell(self, fault: str | None) -> None:
        if fault is not None and fault != self._fault:
            say(logging.ERROR, fault, per="fault")
        elif fault is None and self._fault is not None:
            say(logging.INFO, "the socket is ours again", per=self._fault, socket=self._listener.path)
        self._fault = fault

    def _has_lock(self) -> bool:
        """Hold the lock at the path, taken anew where its file has gone. False: another has it."""
        if self._lock.held():
            return True
        make(self._lock.path.parent)
        try:
            lock = acquire(self._lock.path)
        except LockedError as error:
            if not self.standing_by:
                self.standing_by = True
                self._listener.stand_by()
                say(logging.ERROR, "standing by: the lock was made anew and another holds it", holder=error.pid)
            return False
        try:
            if self._lock.stale is not None:
                lock.note(self._lock.stale)
        except OSError:  # held by us, but not as our lock, it would have us stand by for ever
            lock.release()
            raise
        self._lock.release()
        self._lock = lock
        self.standing_by = False
        return True

    def _find(self) -> Fault | None:
        endpoint = self._listener.endpoint
        return "missing" if endpoint is None else find_fault(endpoint.identity, look(self._listener.path))

    def _heal(self) -> str | None:
        """A new socket where ours is not as it was; what is left wrong."""
        fault = self._find()
        if fault is None and self._strays >= UNREACHABLE_AFTER:
            fault = "unreachable"
        if fault is None:
            self._failing = False
            return None
        now = self._clock()
        if not self._contention.due(now):
            return (
                self._fault
                if self._failing
                else f"the socket at {self._listener.path} is {fault}; it will be put back in a moment"
            )
        self._contention.tried(now)
        there = look(self._listener.path)
        try:
            self._listener.bind()
        except OSError:
            self.failed_rebinds += 1
            self._failing = True
            raise
        self._failing = False
        self._strays = 0
        self._contention.healed()
        self.rebinds[fault] += 1
        say(
            logging.ERROR,
            "the socket was not as we made it and is ours again",
            per=fault,
            fault=fault,
            path=self._listener.path,
        )
        if fault == "replaced" and there is not None:
            self._attribute(there)
        return None

    def _attribute(self, there: Identity) -> None:
        """Say who made the file that stood in our place. Its socket can be found as long as somebody has it open."""
        task = asyncio.create_task(_say_who(self._listener.path, there))
        self._attributions.add(task)
        task.add_done_callback(self._attributions.discard)

    def _watch_directory(self, inotify: Inotify) -> None:
        """inotify follows the inode: a directory that was made anew has to be watched anew."""
        directory = self._listener.path.parent
        try:
            found = directory.stat()
            if (found.st_dev, found.st_ino) != self._watched:
                inotify.add_watch(directory, _WATCHED)
                self._watched = (found.st_dev, found.st_ino)
        except OSError:
            self._watched = None

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            endpoint = self._listener.endpoint
            if endpoint is None:
                continue
            finding = await probe(self._listener.path, endpoint.inode)
            if finding is Finding.STRANGER and self._listener.endpoint is endpoint:
                self._strays += 1
            elif finding is Finding.OURS:
                self._strays = 0


def _open_inotify(stack: ExitStack) -> Inotify | None:
    """None where the kernel has none left for us: then a look each second has to do."""
    try:
        return stack.enter_context(Inotify())
    except OSError as error:
        say(
            logging.WARNING,
            "no inotify, the socket is looked at each second; see fs.inotify.max_user_instances",
            error=error,
        )
        return None


async def _wake(inotify: Inotify, changed: asyncio.Event) -> None:
    async for _ in inotify:
        changed.set()


async def _say_who(path: Path, there: Identity) -> None:
    try:
        found = await asyncio.to_thread(attribute_file, path, there.device, there.inode)
    except OSError as error:
        say(logging.WARNING, "who replaced the socket could not be found out", per="unknown", error=error)
        return
    strangers = [process for process in found if process.pid != os.getpid()]
    for process in strangers:
        say(
            logging.ERROR,
            "the socket had been replaced by this process",
            per=f"{process.exe} {process.command}",
            pid=process.pid,
            executable=process.exe,
            arguments=" ".join(process.command),
            uid=process.uid,
            parents=" < ".join(f"{parent.name}({parent.pid})" for parent in process.parents),
            cgroup=process.cgroup,
        )
    if not strangers:
        hidden = "" if os.geteuid() == 0 else ", or is a process that our user may not look into"
        watch = f"{command('doctor --watch', path)}, by root, shows who comes next"
        say(logging.ERROR, f"who replaced the socket has gone already{hidden}; {watch}", per="gone")

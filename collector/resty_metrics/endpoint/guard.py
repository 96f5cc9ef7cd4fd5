"""The guard that keeps the socket ours: it checks the lock and the path, heals, probes, and logs who replaced it.

Rules:
- Check whenever inotify reports a change in the directory, and also each second.
- The lock comes first: while another process holds it at our path (the directory was made anew), stand by.
- The directory keeps the search permission that it had (passage.py).
- Heal with a new socket, bound beside the path and renamed over it. A thread finds out afterwards who replaced ours.
- A probe without an answer proves nothing: the queue may be full, or the reader behind. Then the kernel tells whether a
  client that connects to the path is connected to us.
- Repeated interference does not log a line each time: a line is logged once in a while per fault, and per culprit.
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
from resty_metrics.process.start import StartError, cause, directory_gone

CHECK_SECONDS = 1.0
CALM_SECONDS = 0.01  # between two checks, however much happens in the directory
UNREACHABLE_AFTER = 3  # probes in a row that reached another process, though the file is ours
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
    """A guard of one listener's socket. Counters for the page: ``rebinds`` by fault, ``failed_rebinds``."""

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
        """Return whether the socket is taken away again and again; one that cannot be put back is not taken away."""
        return not self._failing and self._contention.contended(self._clock())

    def up(self) -> bool:
        """Return whether workers reach us: the file is ours as we made it, and no probe has found another process."""
        return not self.standing_by and self._strays == 0 and self._find() is None

    def faults(self) -> list[str]:
        """Return what is wrong and could not be put right, in words."""
        return [] if self._fault is None else [self._fault]

    @property
    def path(self) -> Path:
        """Return the path of the socket."""
        return self._listener.path

    @property
    def lock(self) -> Lock:
        """Return the lock that is held now; it may have been acquired anew since the start."""
        return self._lock

    async def run(self) -> None:
        """Guard the socket until cancelled. A part that fails is a bug, and its error is raised."""
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
        """Check once, and put right what can be."""
        closed = None if self.standing_by else self._open_passage()
        try:
            fault = self._heal() if self._has_lock() else None
        except StartError as error:
            fault = error.message
        except OSError as error:
            fault = f"cannot restore the socket at {self._listener.path}: {cause(error)}"
        fault = fault or closed
        if self.standing_by:
            fault = f"standing by: another process holds {self._lock.path}"
        self._tell(fault)

    def _open_passage(self) -> str | None:
        """Give the directory back the search permission that it had; return what is still wrong, None: nothing."""
        directory = self._passage.directory
        try:
            mended = self._passage.mend()
        except OSError as error:
            return f"cannot restore the search permission of {directory}, which nginx's workers need: {cause(error)}"
        if mended is not None:
            was, now = mended
            message = "restored the search permission of the socket's directory, which nginx's workers need"
            say(logging.ERROR, message, per="directory", directory=directory, was=f"{was:04o}", now=f"{now:04o}")
        return None

    def _tell(self, fault: str | None) -> None:
        if fault is not None and fault != self._fault:
            say(logging.ERROR, fault, per="fault")
        elif fault is None and self._fault is not None:
            say(logging.INFO, "the socket works again", per=self._fault, socket=self._listener.path)
        self._fault = fault

    def _has_lock(self) -> bool:
        """Return whether we hold the lock at the path; acquire it anew if the file there is not ours. Raises OSError.

        If another process has the lock, have the listener stand by.
        """
        if self._lock.held():
            return True
        self._make_directory()
        try:
            lock = acquire(self._lock.path)
        except LockedError as error:
            if not self.standing_by:
                self.standing_by = True
                self._listener.stand_by()
                say(logging.ERROR, "standing by: another collector holds the lock", holder=error.pid)
            return False
        try:
            if self._lock.stale is not None:
                lock.note(self._lock.stale)
        except OSError:  # else we would hold it, but not as our lock, and stand by for ever
            lock.release()
            raise
        self._lock.release()
        self._lock = lock
        self.standing_by = False
        return True

    def _make_directory(self) -> None:
        """Create the socket's directory again if it was removed. Raises StartError if that is not possible."""
        directory = self._lock.path.parent
        if directory.is_dir():
            return
        try:
            make(directory)
        except OSError as error:
            self.failed_rebinds += 1
            raise StartError(error.errno, directory_gone(directory, os.geteuid(), error)) from error
        message = "created the socket's directory again, since it was removed"
        say(logging.ERROR, message, per="missing directory", directory=directory)

    def _find(self) -> Fault | None:
        endpoint = self._listener.endpoint
        return "missing" if endpoint is None else find_fault(endpoint.identity, look(self._listener.path))

    def _heal(self) -> str | None:
        """Bind a new socket if ours is not as we made it; return what is still wrong, None: nothing. Raises OSError."""
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
                else f"the socket at {self._listener.path} is {fault} and will be restored in a moment"
            )
        self._contention.tried(now)
        replacement = look(self._listener.path)
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
            "restored the socket",
            per=fault,
            fault=fault,
            path=self._listener.path,
        )
        if fault == "replaced" and replacement is not None:
            self._attribute(replacement)
        return None

    def _attribute(self, replacement: Identity) -> None:
        """Log who made the file that stood in our place, which can be found while a process has its socket open."""
        task = asyncio.create_task(_report_replacer(self._listener.path, replacement))
        self._attributions.add(task)
        task.add_done_callback(self._attributions.discard)

    def _watch_directory(self, inotify: Inotify) -> None:
        """Watch the directory, and a new one in its place too: inotify follows the inode."""
        directory = self._listener.path.parent
        try:
            status = directory.stat()
            if (status.st_dev, status.st_ino) != self._watched:
                inotify.add_watch(directory, _WATCHED)
                self._watched = (status.st_dev, status.st_ino)
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
    """Open inotify; return None if the kernel has none left for us. Then a check each second has to do."""
    try:
        return stack.enter_context(Inotify())
    except OSError as error:
        say(
            logging.WARNING,
            "cannot use inotify, so the socket is checked once a second. Raise fs.inotify.max_user_instances",
            error=error,
        )
        return None


async def _wake(inotify: Inotify, changed: asyncio.Event) -> None:
    async for _ in inotify:
        changed.set()


async def _report_replacer(path: Path, replacement: Identity) -> None:
    try:
        processes = await asyncio.to_thread(attribute_file, path, replacement.device, replacement.inode)
    except OSError as error:
        say(logging.WARNING, "cannot find the process that replaced the socket", per="unknown", error=error)
        return
    strangers = [process for process in processes if process.pid != os.getpid()]
    for process in strangers:
        say(
            logging.ERROR,
            "this process had replaced the socket",
            per=f"{process.exe} {process.command}",
            pid=process.pid,
            executable=process.exe,
            arguments=" ".join(process.command),
            uid=process.uid,
            parents=" < ".join(f"{parent.name}({parent.pid})" for parent in process.parents),
            cgroup=process.cgroup,
        )
    if not strangers:
        hidden = "" if os.geteuid() == 0 else " or cannot be inspected by this user"
        watch = f"Run sudo {command('doctor --watch', path)} to see the next one"
        say(logging.ERROR, f"the process that replaced the socket has ended{hidden}. {watch}", per="gone")

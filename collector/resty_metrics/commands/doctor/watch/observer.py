"""Both halves of the watch together: the kernel's file events, explained by its process events.

Rules:
- Process events are read between all other work, since the program of a process is visible only while it lives. They
  are read after the file events that they explain: so the process behind an event is in memory, even if it ended at
  once.
- A half that the kernel refuses is reported, with the missing capability, and the other half goes on.
- Lost events are reported, at most once in TICK_SECONDS.
"""

import select
import stat
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from resty_metrics.commands.doctor.watch import file_events
from resty_metrics.commands.doctor.watch.connector import Connector
from resty_metrics.commands.doctor.watch.errors import RefusedError
from resty_metrics.commands.doctor.watch.holder import Collector, Holder
from resty_metrics.commands.doctor.watch.levels import Levels, PathEvent
from resty_metrics.commands.doctor.watch.memory import Known, Memory
from resty_metrics.commands.doctor.watch.output import Output
from resty_metrics.commands.doctor.watch.process_events import Ended, Executed, Forked, Lost, ProcessEvent
from resty_metrics.commands.doctor.watch.report import Actor, Notice, Sighting, State
from resty_metrics.kernel import paths as files
from resty_metrics.kernel import users
from resty_metrics.kernel.processes import describe, pids

TICK_SECONDS = 1.0

FILE_EVENTS = "file events"
PROCESS_EVENTS = "process events"


class Observer:
    """The watch of a socket path. ``blind`` when the kernel refuses both halves."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._levels: Levels | None = None
        self._connector: Connector | None = None
        self._memory = Memory(describe)
        self._holder = Holder(socket_path)
        self._lost = 0
        self._renewed = self._reported = time.monotonic()

    @property
    def blind(self) -> bool:
        return self._levels is None and self._connector is None

    def open(self) -> list[Notice]:
        """Begin, and return notices about what is watched and what is refused."""
        notices = [*self._open_connector(), *self._open_levels()]
        if self._connector is not None:
            for pid in pids():
                self._memory.meet(pid)
        halves = [(FILE_EVENTS, self._levels), (PROCESS_EVENTS, self._connector)]
        self._holder.ask()
        names = [name for name, half in halves if half is not None]
        if names:
            notices.append(Notice(moment(), "watching", f"{self._socket_path}: {' and '.join(names)}"))
        return notices

    def close(self) -> None:
        if self._levels is not None:
            self._levels.close()
        if self._connector is not None:
            self._connector.close()

    def wait(self, wake: int, output: Output) -> bool:
        """Wait until there is something to read or to write, or for TICK_SECONDS.

        Return True if ``wake`` asks us to end.
        """
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if output.waiting:
            poll.register(output, select.POLLOUT)
        for descriptor in self._levels.descriptors() if self._levels is not None else []:
            poll.register(descriptor, select.POLLIN)
        if self._connector is not None:
            poll.register(self._connector, select.POLLIN)
        return wake in [descriptor for descriptor, _ in poll.poll(TICK_SECONDS * 1000)]

    def look(self) -> Iterator[Sighting | Notice]:
        """Yield all that has happened since the last call."""
        yield from self._process_sightings()
        files, unseen = self._file_events()
        for event in files:
            yield from self._process_sightings()
            yield self._file_sighting(event)
        for path in unseen:
            yield Sighting(moment(), ("found",), str(path), _state(path), None, None)
        yield from self._losses()

    def _open_connector(self) -> Iterator[Notice]:
        try:
            self._connector = Connector()
        except RefusedError as error:
            yield _refused(PROCESS_EVENTS, error)

    def _open_levels(self) -> Iterator[Notice]:
        levels = Levels(self._socket_path)
        try:
            levels.open()
            self._levels = levels
        except RefusedError as error:
            yield _refused(FILE_EVENTS, error)

    def _file_events(self) -> tuple[list[PathEvent], list[Path]]:
        """Return the file events, and the files that already were in a new directory."""
        if self._levels is None:
            return [], []
        files = self._levels.read()
        if not self._levels.stale and time.monotonic() - self._renewed < TICK_SECONDS:
            return files, []
        self._renewed = time.monotonic()
        return files, self._levels.renew()

    def _process_sightings(self) -> Iterator[Sighting]:
        for event in self._connector.read() if self._connector is not None else []:
            sighting = self._apply(event)
            if sighting is not None:
                yield sighting

    def _apply(self, event: ProcessEvent) -> Sighting | None:
        """Remember it; a sighting if it is about a command of ours."""
        if isinstance(event, Forked):
            self._memory.fork(event.parent, event.child)
        elif isinstance(event, Executed):
            return self._command(event.pid, self._memory.execute(event.pid), "executed", None)
        elif isinstance(event, Ended):
            known = self._memory.end(event.pid)
            return self._command(event.pid, known if known and known.executed else None, "ended", event.status)
        elif isinstance(event, Lost):
            self._lost += 1
            self._memory.forget()
        return None

    def _command(self, pid: int, known: Known | None, action: str, status: int | None) -> Sighting | None:
        if known is None or not known.process.ours:
            return None
        return Sighting(moment(), (action,), None, None, status, self._actor(pid, known, self._holder.known))

    def _file_sighting(self, change: PathEvent) -> Sighting:
        pid, state = change.event.pid, _state(change.path)
        if change.path == self._holder.lock:
            self._holder.ask()
        actions = file_events.actions(change.event.mask, exists=state is not None)
        state_left = state if file_events.leaves(actions) else None
        known = self._memory.find(pid) if pid else None
        actor = self._actor(pid, known, self._holder.at(known.process if known else None))
        return Sighting(moment(), actions, str(change.path), state_left, None, actor)

    def _actor(self, pid: int, known: Known | None, collector: Collector | None) -> Actor:
        process = known.process if known else None
        mounts = process.namespaces.get("mnt") if process else None
        same = mounts == collector.mounts if collector and mounts and collector.mounts else None
        before, is_collector = known.before if known else None, collector is not None and collector.pid == pid
        user = users.name_of(process.uid) if process else None
        return Actor(pid, process, before, is_collector, same, user)

    def _losses(self) -> Iterator[Notice]:
        if time.monotonic() - self._reported < TICK_SECONDS:
            return
        self._reported = time.monotonic()
        if self._levels is not None and self._levels.lost:
            yield _lost(FILE_EVENTS, self._levels.lost)
            self._levels.lost = 0
        if self._lost:
            yield _lost(PROCESS_EVENTS, self._lost)
            self._lost = 0


def moment() -> str:
    """Return the present time in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _state(path: Path) -> State | None:
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return None
    owner = users.owner_of(status.st_uid, status.st_gid, files.ROOT)
    return State(stat.filemode(status.st_mode), status.st_uid, status.st_gid, owner)


def _refused(subject: str, error: RefusedError) -> Notice:
    missing = f" ({error.capability} is missing)" if error.capability else ""
    return Notice(moment(), "refused", f"{subject}: {error}{missing}", error.capability)


def _lost(subject: str, count: int) -> Notice:
    return Notice(moment(), "lost", f"{subject} came faster than they were read ({count} times)")

"""The thread that writes: no SQLite call is made anywhere else while the collector runs.

Rules:
- Jobs are done in the order they were given; what waits together is written in one transaction.
- After a failure the journal is first made invalid, then every job is reported as not written, until a snapshot of
  the whole state could be written again.
- A job is always reported, once, through ``report``, which is called on this thread.
- That is not tried where there is no room for it, and less and less often where it fails all the same.
- A directory whose lock is not ours any more (it was made anew, another collector began there) is not touched.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from resty_metrics.journal import snapshot, store
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.files import Directory, Name
from resty_metrics.journal.patience import Patience
from resty_metrics.journal.recovery import ANY
from resty_metrics.journal.state import Capture
from resty_metrics.journal.store import Store
from resty_metrics.process.log import LOGGER

GROUP_BYTES = 8 * 1024 * 1024
ROOM_BYTES = 256 * 1024  # beside the snapshot, before a journal that could not be written is begun again
ROOM_FACTOR = 1.25  # of the snapshot's parts: what a file of them takes


@dataclass(frozen=True, slots=True)
class Append:
    """Write a record of batches with so many ``rows``. ``token`` comes back with the report."""

    record: bytes
    token: Any
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Replace:
    """Begin a new file with this state."""

    capture: Capture


@dataclass(frozen=True, slots=True)
class Check:
    """Is the file still there; and where there is none, could one be made?"""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the file and end the thread."""


Job = Append | Replace | Check | Close


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one or more jobs. ``up``: what is given to the writer now will be written.

    ``error`` is the failure that happened in these jobs; ``usable``: the answer to a Check without a file;
    ``stale``: identity of a journal that could not be made invalid in its own directory.
    """

    jobs: Sequence[Job]
    up: bool
    seconds: float = 0.0
    snapshot_bytes: int = 0
    log_bytes: int = 0
    error: JournalError | None = None
    usable: bool = False
    stale: str | None = None


class Writer(threading.Thread):
    """Writes to a directory as long as it ``is_ours``. ``report`` gets every Report."""

    def __init__(self, directory: Directory, is_ours: Callable[[], bool], report: Callable[[Report], None]) -> None:
        super().__init__(name="journal", daemon=True)
        self._directory = directory
        self._is_ours = is_ours
        self._report = report
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._store: Store | None = None
        self._name: Name | None = None
        self._patience = Patience()
        self._parts_bytes = 0  # of the last snapshot, or as much of it as was written

    def give(self, job: Job) -> None:
        self._jobs.put(job)

    def run(self) -> None:
        for jobs in self._groups():
            began = time.monotonic()
            error, usable, stale = None, False, None
            try:
                usable = self._do(jobs)
            except Exception as failure:
                error, stale = self._surrender(failure)
            self._tell(jobs, time.monotonic() - began, error, usable, stale)
            if isinstance(jobs[0], Close):
                return

    def _tell(
        self, jobs: Sequence[Job], seconds: float, error: JournalError | None, usable: bool, stale: str | None
    ) -> None:
        up, sizes = self._store is not None, (0, 0)
        if self._store is not None:
            sizes = (self._store.snapshot_bytes, self._store.log_bytes)
        self._report(Report(jobs, up, seconds, *sizes, error, usable, stale))

    def _groups(self) -> Iterator[list[Job]]:
        """Jobs as they are to be done together: appends in a row, everything else alone."""
        held: Job | None = None
        while True:
            job = self._jobs.get() if held is None else held
            held, group = None, [job]
            size = len(job.record) if isinstance(job, Append) else GROUP_BYTES
            while size < GROUP_BYTES:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if not isinstance(job, Append):
                    held = job
                    break
                group.append(job)
                size += len(job.record)
            yield group

    def _do(self, jobs: Sequence[Job]) -> bool:
        match jobs[0]:
            case Append():
                if self._store is not None:
                    appends = [job for job in jobs if isinstance(job, Append)]
                    self._store.append([job.record for job in appends], sum(job.rows for job in appends))
            case Replace(capture):
                self._replace(capture)
            case Check():
                return self._check()
            case Close():
                self._close()
        return False

    def _replace(self, capture: Capture) -> None:
        """The new file complete, on the disk and closed; then it is current; then the old one goes."""
        self._require_ours()
        name = self._directory.next()
        store.create(self._directory.file(name), self._measured(snapshot.write(capture)))
        self._directory.name_current(name)
        self._close()
        self._store, self._name = Store(self._directory.file(name)), name
        self._directory.remove_others(name)

    def _measured(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        self._parts_bytes = 0
        for part in parts:
            self._parts_bytes += len(part)
            yield part

    def _check(self) -> bool:
        if self._store is not None:
            self._require_ours()
            self._store.check()
            return False
        if not self._patience.due(time.monotonic()):
            return False
        usable = False
        with contextlib.suppress(JournalError):
            self._require_ours()
            self._directory.invalidate()
            try:
                store.create(self._directory.file(self._directory.next()), [b""])
                usable = self._directory.room() >= ROOM_FACTOR * self._parts_bytes + ROOM_BYTES
            finally:  # also what a full disk left of the attempt: there is one each second
                self._directory.remove_others(None)
        return usable

    def _surrender(self, failure: Exception) -> tuple[JournalError, str | None]:
        """``_give_up``, whatever happened: a thread that ended here would leave every job unreported for ever."""
        if not isinstance(failure, JournalError):
            LOGGER.error("the journal's thread failed, please report this", exc_info=failure)
            failure = JournalError("internal", repr(failure))
        self._patience.fail(time.monotonic())
        name = self._name
        try:
            return self._give_up(failure)
        except Exception:
            LOGGER.exception("the journal could not be made invalid, please report this")
            self._store = self._name = None
            return failure, None if name is None else name.identity

    def _give_up(self, failure: JournalError) -> tuple[JournalError, str | None]:
        """Nothing is written any more: the journal must not be read at the next start. The failure as it is to be told,
        and None if the journal is invalid; else its identity, to be noted elsewhere.
        """
        self._close()
        name, self._name = self._name, None
        if not self._is_ours():
            return failure, None if name is None else name.identity
        try:
            self._directory.invalidate()
        except JournalError as hindrance:
            if failure.reason == "io":  # all that SQLite says of a file system that the kernel made read-only
                failure = hindrance
            return failure, self._identity(name)
        with contextlib.suppress(JournalError):  # room on a full disk
            self._directory.remove_others(None)
        return failure, None

    def _identity(self, name: Name | None) -> str:
        """Of the journal that is at hand, whichever it is where that cannot be known."""
        with contextlib.suppress(JournalError):
            name = name or self._directory.current()
        return ANY if name is None else name.identity

    def _require_ours(self) -> None:
        if not self._is_ours():
            raise JournalError("locked", f"the lock in {self._directory.path} is not ours any more")

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

"""The writer thread: no SQLite call is made anywhere else while the collector runs.

Rules:
- Jobs are done in the order in which they were given. Records that wait together are written in one transaction.
- Each job is reported exactly once through ``report``, which is called on this thread.
- After a failure the journal is first made invalid. Then every job is reported as not written, until a snapshot of the
  whole state has been written again.
- No snapshot is attempted without free space; repeated failures back off.
- A directory whose lock is no longer ours (it was created anew, or another collector began there) is not touched.
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
ROOM_BYTES = 256 * 1024  # free space required besides the snapshot, before writing is tried again after a failure
ROOM_FACTOR = 1.25  # size of a file, relative to that of the snapshot's parts in it


@dataclass(frozen=True, slots=True)
class Append:
    """A job: append a record, with ``rows`` rows in its batches. The report returns ``token``."""

    record: bytes
    token: Any
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Replace:
    """A job: begin a new file with this state."""

    capture: Capture


@dataclass(frozen=True, slots=True)
class Check:
    """A job: check that the file is still there, or if there is none, that a new one could be written."""


@dataclass(frozen=True, slots=True)
class Close:
    """A job: close the file and end the thread."""


Job = Append | Replace | Check | Close


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one or more jobs. ``up``: the writer has a file, and writes the jobs that are given now.

    ``seconds``: duration of these jobs. ``error``: the failure in these jobs, if any. ``usable``: the answer to a Check
    without a file. ``stale``: identity of a journal that could not be made invalid in its own directory.
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
    """The thread that writes to a directory as long as it ``is_ours``. ``report`` is called with every Report."""

    def __init__(self, directory: Directory, is_ours: Callable[[], bool], report: Callable[[Report], None]) -> None:
        super().__init__(name="journal", daemon=True)
        self._directory = directory
        self._is_ours = is_ours
        self._report = report
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._store: Store | None = None
        self._name: Name | None = None
        self._patience = Patience()
        self._parts_bytes = 0  # size of the last snapshot's parts, as far as they were written

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
        """Yield the jobs to do together: consecutive appends up to GROUP_BYTES, every other job alone."""
        next_job: Job | None = None
        while True:
            job = self._jobs.get() if next_job is None else next_job
            next_job, group = None, [job]
            size = len(job.record) if isinstance(job, Append) else GROUP_BYTES
            while size < GROUP_BYTES:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if not isinstance(job, Append):
                    next_job = job
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
        """Write a new file, complete, synced and closed; then make it current; then remove the old one."""
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
            finally:  # even what a full disk left of a failed attempt, or each attempt would leave a file
                self._directory.remove_others(None)
        return usable

    def _surrender(self, failure: Exception) -> tuple[JournalError, str | None]:
        """Give up after any failure, even a bug: if the thread ended, no job would be reported any more.

        Return values as of ``_give_up``.
        """
        if not isinstance(failure, JournalError):
            LOGGER.error("the journal's thread failed because of a bug, please report it", exc_info=failure)
            failure = JournalError("internal", repr(failure))
        self._patience.fail(time.monotonic())
        name = self._name
        try:
            return self._give_up(failure)
        except Exception:
            LOGGER.exception("cannot invalidate the journal because of a bug, please report it")
            self._store = self._name = None
            return failure, None if name is None else name.identity

    def _give_up(self, failure: JournalError) -> tuple[JournalError, str | None]:
        """Stop writing, and make the journal invalid, so that the next start does not read it.

        Return the failure to report, and None if the journal is invalid; else its identity, to be noted elsewhere.
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
        with contextlib.suppress(JournalError):  # frees room on a full disk
            self._directory.remove_others(None)
        return failure, None

    def _identity(self, name: Name | None) -> str:
        """Return the identity of this journal, or else of the current one; ANY if it cannot be read."""
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

"""The tenure of the state directory by this process: its lock, the state that an earlier collector left, its journal.

Rule: a directory that could not be locked at the start, or was created anew since, is tried again each second.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.journal.errors import JournalError, Loss
from resty_metrics.journal.files import Directory
from resty_metrics.journal.journal import Journal
from resty_metrics.journal.recovery import ANY, Recovered, recover
from resty_metrics.journal.state import State
from resty_metrics.journal.store import failures
from resty_metrics.journal.writer import Report, Writer
from resty_metrics.process.lock import Lock, LockedError, acquire, reading
from resty_metrics.process.log import say
from resty_metrics.table.scrapers import YOUNG_SECONDS

CHECK_SECONDS = 1.0
STATE_MODE = 0o750  # of a directory that we create: the page may show the journal's numbers only for a password


@dataclass(slots=True)
class Kept:
    """The result of reading the state directory: the locks, the state, and the error if the state cannot be kept.

    ``directory`` knows which of its files were read. ``loss``: the losses.
    """

    socket_lock: Lock
    state_lock: Lock | None
    state: State
    error: JournalError | None
    directory: Directory | None
    loss: Loss


def lock_state(directory: Path | None) -> tuple[Lock | None, JournalError | None]:
    """Lock the state directory. Return the lock, or the error that prevents it; neither if ``directory`` is None.

    Raises LockedError if another collector holds the lock.
    """
    if directory is None:
        return None, None
    try:
        with failures():
            return acquire(directory / "lock", STATE_MODE), None
    except JournalError as error:
        return None, error


def read_state(directory: Path | None, socket_lock: Lock, state_lock: Lock | None, error: JournalError | None) -> Kept:
    """Read the kept state, or begin with a new one if there is none or it cannot be read. Raises LockedError.

    ``error``: the reason that there is no lock. Then nothing is written in the directory and the state that was read
    continues in memory, so the journal is noted as stale: it must not be read again.
    """
    kept_in = None if directory is None else Directory(directory)
    recovered = Recovered(None)
    if kept_in is not None:
        try:
            recovered = _recover(kept_in, socket_lock, error is None)
        except JournalError as failure:
            say(logging.ERROR, "cannot read the journal. It is left unchanged, and counters begin at 0", error=failure)
            recovered = Recovered(None, loss=Loss(failure.reason))
        _tell_if_empty(recovered, state_lock)
    state = recovered.state
    if state is not None:
        say(logging.INFO, "journal loaded", requests=state.table.requests, records=recovered.records)
    else:
        state = State()
        state.scrapers.forgetful_until = YOUNG_SECONDS
    if error is not None:
        note_stale(socket_lock, ANY if recovered.name is None else recovered.name.identity)
    return Kept(socket_lock, state_lock, state, error, kept_in, recovered.loss)


def _recover(directory: Directory, socket_lock: Lock, writable: bool) -> Recovered:
    spare = socket_lock.path.parent
    if writable:
        return recover(directory, socket_lock.stale, spare=spare)
    with failures(), reading(directory.path / "lock"):
        return recover(directory, socket_lock.stale, writable=False, spare=spare)


def _tell_if_empty(recovered: Recovered, state_lock: Lock | None) -> None:
    """Log a warning if the directory was used before and has no journal: the disk failed, or files were removed."""
    if recovered.state is None and not recovered.logged and state_lock is not None and state_lock.was_held:
        say(
            logging.WARNING,
            "the journal of the previous collector is missing. Counters begin at 0",
            directory=state_lock.path.parent,
        )


def note_stale(lock: Lock, identity: str | None) -> None:
    """Note in the lock beside the socket that this journal must not be read at the next start; None: clear the note."""
    try:
        lock.note(identity)
    except OSError as error:
        say(logging.ERROR, "cannot mark the journal as out of date. Remove it before the next start", error=error)


def running_time(state: State) -> Callable[[], float]:
    """Return the clock of running time, in seconds. It continues where the previous collector ended."""
    offset = state.now - time.monotonic()
    return lambda: time.monotonic() + offset


class Tenure:
    """The tenure of the state directory, from the start to the end. ``directory`` None: nothing is kept."""

    def __init__(self, directory: Path | None, kept: Kept, journal: Journal) -> None:
        self._directory = directory
        self._kept = kept
        self._journal = journal

    async def start(self, patience: float) -> None:
        """Begin to write the state, if there is a directory for it, and wait for that at most ``patience`` seconds."""
        if self._directory is None:
            return
        if self._kept.error is not None:
            self._journal.fail(self._kept.error)
            return
        self._use_journal()
        await self._journal.settle(patience)

    async def run(self) -> None:
        """Check each second that the directory is ours and can be written. A thread does it: its disk may hang."""
        directory, asking = self._directory, None
        while directory is not None:
            await asyncio.sleep(CHECK_SECONDS)
            asking = asking or asyncio.create_task(asyncio.to_thread(self._lock_anew, directory))
            if (await asyncio.wait([asking], timeout=CHECK_SECONDS))[0]:
                self._take_lock(asking.result())
                asking = None
            if self._journal.used:
                self._journal.check()
            elif self._kept.state_lock is not None:
                self._use_journal()
        await asyncio.Event().wait()

    def _lock_anew(self, directory: Path) -> Lock | None:
        """Lock the directory if the start could not, or if it was created anew. Return None if the lock is held, or
        cannot be acquired now.
        """
        if self._holds_directory():
            return None
        try:
            return lock_state(directory)[0]
        except LockedError:
            return None

    def _take_lock(self, lock: Lock | None) -> None:
        """Take over the directory's new lock, and release the old one: it would keep a replaced disk from being
        unmounted.
        """
        if lock is None:
            return
        if self._kept.state_lock is not None:
            self._kept.state_lock.release()
        self._kept.state_lock = lock

    def _holds_directory(self) -> bool:
        return self._kept.state_lock is not None and self._kept.state_lock.held()

    def _use_journal(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._kept.directory is not None

        def report(result: Report) -> None:
            loop.call_soon_threadsafe(self._journal.on_report, result)

        self._journal.use(Writer(self._kept.directory, self._holds_directory, report))

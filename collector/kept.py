"""What is kept beyond this process: the locks, and the state as an earlier collector left it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collector.journal.errors import JournalError
from collector.journal.files import Directory
from collector.journal.recovery import ANY, recover
from collector.journal.state import State
from collector.journal.store import failures
from collector.lock import Lock, acquire
from collector.log import say
from collector.table.scrapers import YOUNG_SECONDS


@dataclass(slots=True)
class Kept:
    """What is kept beyond this process: the locks, the state as it was read, and why it cannot be kept, if so."""

    socket_lock: Lock
    state_lock: Lock | None
    state: State
    error: JournalError | None


def lock_state(directory: Path | None) -> tuple[Lock | None, JournalError | None]:
    """The lock of the state directory, or why it cannot be had. Raises LockedError."""
    if directory is None:
        return None, None
    try:
        with failures():
            return acquire(directory / "lock"), None
    except JournalError as error:
        return None, error


def read_state(directory: Path | None, socket_lock: Lock, state_lock: Lock | None, error: JournalError | None) -> Kept:
    """The state that was kept; a new one where there is none, or it cannot be read."""
    state = None
    if directory is not None and error is None:
        try:
            recovered = recover(Directory(directory), socket_lock.stale)
            state = recovered.state
        except JournalError as failure:
            say(logging.ERROR, "the journal cannot be read; counting begins at 0", error=failure)
        if state is not None:
            say(logging.INFO, "the journal was read", requests=state.table.requests, records=recovered.records)
    if state is None:
        state = State()
        state.scrapers.forgetful_until = YOUNG_SECONDS
    if error is not None:
        socket_lock.note(ANY)
    return Kept(socket_lock, state_lock, state, error)


def running_time(state: State) -> Callable[[], float]:
    """The clock of everything that is kept: it goes on where the collector before this one ended."""
    offset = state.now - time.monotonic()
    return lambda: time.monotonic() + offset

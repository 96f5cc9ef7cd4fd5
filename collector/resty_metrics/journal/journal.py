"""The journal as the event loop sees it: give it a record and what is to happen when that is safe.

Rules:
- What was given first is safe first: callbacks run in the order of ``commit``, in turns with the rest of the loop: one
  that returns an iterator is done piece by piece.
- Nothing here waits for the disk. A writer that is slow leaves records under way; at FULL_BYTES of them the socket is
  not read any more, so that workers keep what they have.
- When nothing can be written, ``commit`` means memory only: the callback runs all the same, after the writer has made
  the journal invalid. From then on each second is an attempt to write a whole snapshot and go on.
- A snapshot is taken when nothing is under way, so it is exactly what the log before it adds up to. It is due when the
  log is large, and when it took long to apply: a start takes as long again, and a few bytes may move a whole family to
  another shape.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from resty_metrics.ingest.drain import Drain
from resty_metrics.journal.errors import JournalError
from resty_metrics.journal.records import of_drain
from resty_metrics.journal.state import Capture
from resty_metrics.journal.tally import Tally
from resty_metrics.journal.turns import Turns
from resty_metrics.journal.writer import Append, Check, Close, Job, Replace, Report, Writer
from resty_metrics.process.log import LOGGER, say

SNAPSHOT_BYTES = 8 * 1024 * 1024
SNAPSHOT_FACTOR = 4  # times the size of the last snapshot
REPLAY_SECONDS = 10.0  # of processor time
FULL_BYTES = 4 * 1024 * 1024  # of records; as rows that wait to be merged they take some six times as much
FULL_RECORDS = 1_024
FULL_WORKS = 64  # of the loop: drains that are not merged yet, where nothing has to be written first

Then = Callable[[], Iterator[None] | None]


class Journal:
    """Writes through a Writer whose ``report`` is ``on_report``, called on the loop.

    ``capture`` gives the whole state; ``stale`` is told the identity of a journal that could not be made invalid, and
    None once a new one is written. ``relieved`` is called when there is room again after ``full``. ``clock`` is
    monotonic seconds.
    """

    def __init__(
        self,
        capture: Callable[[], Capture],
        stale: Callable[[str | None], None],
        relieved: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.tally = Tally()
        self._capture = capture
        self._stale = stale
        self._relieved = relieved
        self._clock = clock
        self._turns = Turns(self._after_turn)
        self._writer: Writer | None = None
        self._under_way = 0
        self._waiting: deque[Append] = deque()
        self._bytes = 0
        self._applied_before = 0.0  # seconds that were spent on what the last snapshot holds
        self._snapshot_due = False
        self._was_full = False
        self._checking = False
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()

    def use(self, writer: Writer) -> None:
        """Begin: with a snapshot of the state as it is. Where no thread is left for the writer, that is a failure."""
        try:
            writer.start()
        except RuntimeError as error:
            self.fail(JournalError("internal", str(error)))
            return
        self._turns.finish()  # what was accepted without a journal must be in its first snapshot
        self._writer = writer
        self._snapshot_due = True
        self._go_on()

    def fail(self, error: JournalError) -> None:
        """The journal cannot be used from the start, or for now."""
        if self.tally.reason is None:
            say(
                logging.ERROR,
                "the journal cannot be written: counting goes on in memory only",
                per=error.reason,
                error=error,
            )
        self.tally.up, self.tally.reason = False, error.reason
        self.tally.errors[error.reason] += 1
        self._settled.set()

    @property
    def wanted(self) -> bool:
        """Whether there is a journal, or should be one."""
        return self.used or self.tally.reason is not None

    @property
    def used(self) -> bool:
        """Whether there is a writer, be it that nothing can be written now."""
        return self._writer is not None

    @property
    def full(self) -> bool:
        """Whether so much is under way that no more should be taken in."""
        under_way = self._bytes >= FULL_BYTES or self.tally.pending >= FULL_RECORDS
        self._was_full = under_way or len(self._turns) >= FULL_WORKS
        return self._was_full

    def keep(self, drain: Drain, then: Then) -> None:
        """``commit`` a drain of the socket."""
        if self._writer is None:
            self._turns.add(_applied(then))
            return
        rows = sum(len(family.labels) for batch in drain.accepted for family in batch.families)
        self.commit(of_drain(drain), then, rows)

    def commit(self, record: bytes | None, then: Then, rows: int = 0) -> None:
        """Call ``then`` when the record, and all that was given before it, is safe. None: nothing to write.

        ``rows`` are those of the batches in it.
        """
        if record is None or self._writer is None:
            self._turns.add(_applied(then))
            return
        self._bytes += len(record)
        self.tally.given.append(self._clock())
        self._waiting.append(Append(record, then, rows))
        self._go_on()

    def check(self) -> None:
        """To be called each second."""
        if self._writer is not None and not self._checking:
            self._checking = True
            self._give(Check())

    async def settle(self, seconds: float) -> None:
        """Wait until it is known whether the journal can be written, but only so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    async def close(self, seconds: float) -> bool:
        """Finish what is under way and close the file. False if that took too long: then it is not safe."""
        if self._writer is None:
            self._turns.finish()
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
                self._give(Close())
                await self._closed.wait()
        except TimeoutError:
            return False
        return True

    def on_report(self, report: Report) -> None:
        """Take the writer's report on some jobs."""
        self._turns.add(self._work_off(report))

    def _work_off(self, report: Report) -> Iterator[None]:
        self._account(report)
        for job in report.jobs:
            if isinstance(job, Append):
                self._bytes -= len(job.record)
                self.tally.given.popleft()
                yield from _applied(job.token)
        self._under_way -= len(report.jobs)  # only now: a snapshot is of a state that these callbacks have made
        if isinstance(report.jobs[0], Close):
            self._closed.set()
        if report.usable:
            self._snapshot_due = True
        self._go_on()
        if self._under_way == 0 and not self._waiting:
            self._idle.set()

    def _after_turn(self) -> None:
        if self._was_full and not self.full:
            self._relieved()

    def _account(self, report: Report) -> None:
        first, tally = report.jobs[0], self.tally
        tally.snapshot_bytes, tally.log_bytes = report.snapshot_bytes, report.log_bytes
        if isinstance(first, Check):
            self._checking = False
        if report.stale is not None:
            self._stale(report.stale)
        if report.error is not None:
            self.fail(report.error)
        elif isinstance(first, Replace):
            self._replaced()
        elif isinstance(first, Append) and report.up:
            tally.commit(report.seconds)
        large = report.log_bytes > max(SNAPSHOT_BYTES, SNAPSHOT_FACTOR * report.snapshot_bytes)
        slow = self._turns.seconds - self._applied_before > REPLAY_SECONDS
        if report.up and (large or slow):
            self._snapshot_due = True

    def _replaced(self) -> None:
        self.tally.snapshots += 1
        if self.tally.reason is not None:
            say(
                logging.INFO,
                "the journal is written again, with everything that was counted meanwhile",
                per=self.tally.reason,
            )
        self.tally.up, self.tally.reason = True, None
        self._stale(None)
        self._settled.set()

    def _go_on(self) -> None:
        """Give the writer what waits; but when a snapshot is due, that first, as soon as nothing is under way."""
        if self._snapshot_due:
            if self._under_way:
                return
            self._snapshot_due = False
            self._applied_before = self._turns.seconds
            self._give(Replace(self._capture()))
        while self._waiting:
            self._give(self._waiting.popleft())

    def _give(self, job: Job) -> None:
        assert self._writer is not None
        self._under_way += 1
        self._idle.clear()
        self._writer.give(job)


def _applied(then: Then) -> Iterator[None]:
    """Run a callback, piece by piece. One that fails is a bug, and does not cost the next one."""
    try:
        pieces = then()
        if pieces is not None:
            yield from pieces
    except Exception:
        LOGGER.exception("what was written could not be applied, please report this")

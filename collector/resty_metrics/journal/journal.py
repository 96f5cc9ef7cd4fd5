"""The journal as the event loop sees it: it takes a record, and a callback to run once the record is safe.

Rules:
- Callbacks run in the order of ``commit``, in turns with the rest of the loop. If a callback returns an iterator, it is
  advanced piece by piece.
- Nothing here waits for the disk. With a slow writer, records pile up; at FULL_BYTES of them the socket is no longer
  read, so that the workers keep their rows.
- If nothing can be written, ``commit`` means memory only: the callback still runs, after the writer has made the
  journal invalid. From then on it checks each second whether a whole snapshot can be written, to go on with that.
- A snapshot is taken when nothing is under way, so it is exactly the sum of the log before it. It is due when the log
  is large, or when applying it took long: a start takes as long again, and a few bytes may move a whole family to
  another shape.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress

from resty_metrics.ingest.drain import Drain
from resty_metrics.journal.errors import REMEDIES, JournalError
from resty_metrics.journal.records import of_drain
from resty_metrics.journal.state import Capture
from resty_metrics.journal.tally import Tally
from resty_metrics.journal.turns import Turns
from resty_metrics.journal.writer import Append, Check, Close, Job, Replace, Report, Writer
from resty_metrics.process.log import LOGGER, say

SNAPSHOT_BYTES = 8 * 1024 * 1024
SNAPSHOT_FACTOR = 4  # times the size of the last snapshot
REPLAY_SECONDS = 10.0  # of processor time
FULL_BYTES = 4 * 1024 * 1024  # of records; the rows of these, waiting to be merged, take about six times as much
FULL_RECORDS = 1_024
FULL_WORKS = 64  # that wait for their turn on the loop: the bound on unmerged drains where there is no journal

Then = Callable[[], Iterator[None] | None]


class Journal:
    """The journal. It writes through a Writer, whose reports are passed to ``on_report`` on the loop.

    ``capture`` returns the whole state. ``stale`` is called with the identity of a journal that could not be made
    invalid, and with None once a new one is written. ``relieved`` is called when there is room again after ``full``.
    ``clock`` returns monotonic seconds.
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
        self._applied_before = 0.0  # processor time of all work that the last snapshot includes
        self._snapshot_due = False
        self._was_full = False
        self._checking = False
        self._settled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = asyncio.Event()

    def use(self, writer: Writer) -> None:
        """Begin to write, with a snapshot of the current state. If the writer's thread cannot start, ``fail``."""
        try:
            writer.start()
        except RuntimeError as error:
            self.fail(JournalError("internal", str(error)))
            return
        self._turns.finish()  # the first snapshot must include all that was accepted without a journal
        self._writer = writer
        self._snapshot_due = True
        self._go_on()

    def fail(self, error: JournalError) -> None:
        """Note that the journal cannot be used, from the start or for now, and log it."""
        if self.tally.reason is None:
            say(
                logging.ERROR,
                "cannot write the journal. Counts are in memory only",
                per=error.reason,
                error=error,
                **({"remedy": REMEDIES[error.reason]} if error.reason in REMEDIES else {}),
            )
        self.tally.up, self.tally.reason = False, error.reason
        self.tally.errors[error.reason] += 1
        self._settled.set()

    @property
    def enabled(self) -> bool:
        """True if there is a journal, or should be one."""
        return self.used or self.tally.reason is not None

    @property
    def used(self) -> bool:
        """True if there is a writer, even if nothing can be written at the moment."""
        return self._writer is not None

    @property
    def full(self) -> bool:
        """True if so much is under way that the socket should not be read."""
        under_way = self._bytes >= FULL_BYTES or self.tally.pending >= FULL_RECORDS
        self._was_full = under_way or len(self._turns) >= FULL_WORKS
        return self._was_full

    def keep(self, drain: Drain, then: Then) -> None:
        """Commit a drain of the socket."""
        if self._writer is None:
            self._turns.add(_applied(then))
            return
        rows = sum(len(family.labels) for batch in drain.accepted for family in batch.families)
        self.commit(of_drain(drain), then, rows)

    def commit(self, record: bytes | None, then: Then, rows: int = 0) -> None:
        """Call ``then`` once the record and every earlier one is safe. ``record`` None: there is nothing to write.

        ``rows``: the number of rows in the record's batches.
        """
        if record is None or self._writer is None:
            self._turns.add(_applied(then))
            return
        self._bytes += len(record)
        self.tally.pending_since.append(self._clock())
        self._waiting.append(Append(record, then, rows))
        self._go_on()

    def check(self) -> None:
        """Have the writer check its file, unless it is still busy with the last check. Called each second."""
        if self._writer is not None and not self._checking:
            self._checking = True
            self._give(Check())

    async def settle(self, seconds: float) -> None:
        """Wait until it is known whether the journal can be written, for at most so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._settled.wait()

    async def close(self, seconds: float) -> bool:
        """Finish all work and close the file. Return False after so many seconds: then not everything is safe."""
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
                self.tally.pending_since.popleft()
                yield from _applied(job.token)
        self._under_way -= len(report.jobs)  # only now: the next snapshot must include what these callbacks did
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
                "the journal is written again and is complete",
                per=self.tally.reason,
            )
        self.tally.up, self.tally.reason = True, None
        self._stale(None)
        self._settled.set()

    def _go_on(self) -> None:
        """Pass the waiting records to the writer. If a snapshot is due, wait until nothing is under way, and pass it
        first.
        """
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
    """Run a callback, piece by piece. A failure is a bug: it is logged, and the next callback runs all the same."""
    try:
        pieces = then()
        if pieces is not None:
            yield from pieces
    except Exception:
        LOGGER.exception("cannot apply a written record because of a bug, please report it")

"""Log lines on their way to a descriptor that may block for ever: a pipe without a reader, a journald that hangs.

Rules:
- Only a separate thread waits for the descriptor. O_NONBLOCK is no solution: it would apply to every process that
  shares the open file.
- The queue is bounded. A line is dropped if the queue is full, or if the descriptor refuses it: a full disk, a reader
  that has ended. Dropped lines are counted; a line in their place gives their number.
- Queueing a line takes no lock that a finalizer could wait for: a failing finalizer is logged, wherever it runs.
"""

import logging
import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

MAX_LINES = 1_000
FLUSH_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Line:
    """A formatted line. ``overflowed``: how many lines had found the queue full before it was put."""

    text: str
    overflowed: int


class Backlog(logging.Handler):
    """A handler that never waits for its descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._queue: SimpleQueue[_Line | threading.Event] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._overflowed = 0
        self._refused = 0
        self._reported = 0

    @property
    def dropped(self) -> int:
        """Count the lines that were not written."""
        return self._overflowed + self._refused

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line, or drop it where the queue is full."""
        if self._queue.qsize() >= MAX_LINES:
            self._overflowed += 1
            return
        try:
            text = self.format(record)
        except Exception as error:
            text = self.format(_unformatted(record, error))
        self._queue.put(_Line(text, self._overflowed))
        self._start()

    def flush(self) -> None:
        """Wait until the lines of before are written, but no longer than FLUSH_SECONDS."""
        if self._thread is not None:
            reached = threading.Event()
            self._queue.put(reached)
            reached.wait(FLUSH_SECONDS)

    def _start(self) -> None:
        """Start the thread with the first line; where the machine has no thread left, with a later one."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._report(item.overflowed)
            self._refused += not self._write(item.text)
            if self._queue.empty():
                self._report(self._overflowed)

    def _report(self, overflowed: int) -> None:
        """Write how many lines were dropped since the last report, if any were."""
        dropped = overflowed + self._refused
        if dropped > self._reported and self._write(self.format(_report(dropped - self._reported))):
            self._reported = dropped

    def _write(self, text: str) -> bool:
        """Write a line, however long that takes. False: the descriptor refuses it."""
        remaining = memoryview(f"{text}\n".encode(errors="backslashreplace"))
        try:
            while remaining:
                remaining = remaining[self._write_some(remaining) :]
        except OSError:
            return False
        return True

    def _write_some(self, remaining: memoryview) -> int:
        try:
            return os.write(self._descriptor, remaining)
        except BlockingIOError:  # another process that shares the open file has set O_NONBLOCK
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0


def _report(lines: int) -> logging.LogRecord:
    message = "log lines were dropped because stderr did not accept them"
    return _record(logging.WARNING, message, lines=lines)


def _unformatted(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    message = "a log line cannot be formatted because of a bug, please report it"
    return _record(logging.ERROR, message, where=f"{record.pathname}:{record.lineno}", error=repr(error))


def _record(level: int, message: str, **fields: object) -> logging.LogRecord:
    record = logging.LogRecord("resty-metrics", level, __file__, 0, message, None, None)
    record.fields = fields
    return record

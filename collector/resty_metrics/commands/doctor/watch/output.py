"""Lines of output that never make the watch wait: a pager that nobody scrolls must not cost events.

Rules:
- A pipe or a terminal is opened again, so that it is non-blocking for us and not for others who share it. A socket is
  written to without waiting. A file does not block.
- A line goes out at once. Lines that the reader does not take are kept, up to a bound; further lines are counted, and
  the count is reported when there is room again. When the reader has gone, ``broken`` is True.
- There is no thread: it would hold the interpreter while a culprit comes and goes.
"""

import os
import select
import socket
import stat
import time
from collections.abc import Callable

MAX_BYTES = 4 * 1024 * 1024
LAST_SECONDS = 1.0


class Output:
    """Lines to a descriptor. ``excuse`` makes the line that reports the number of lines left out."""

    def __init__(self, descriptor: int, excuse: Callable[[int], str]) -> None:
        self.broken = False
        self._descriptor = _unblocked(descriptor)
        self._socket = _as_socket(self._descriptor)
        self._excuse = excuse
        self._left_out = 0
        self._waiting = bytearray()

    def fileno(self) -> int:
        return self._descriptor

    @property
    def waiting(self) -> bool:
        """Return whether the reader has not yet taken everything."""
        return bool(self._waiting)

    def say(self, line: str) -> None:
        if self._left_out and self._keep(self._excuse(self._left_out)):
            self._left_out = 0
        if self._left_out or not self._keep(line):
            self._left_out += 1
        self.flush()

    def flush(self) -> None:
        """Write as much as the reader takes now."""
        try:
            while self._waiting and not self.broken:
                del self._waiting[: self._write()]
        except BlockingIOError:
            return
        except OSError:
            self.broken = True

    def close(self) -> None:
        """Write the kept lines, but not for longer than LAST_SECONDS."""
        if self._left_out:
            self._keep(self._excuse(self._left_out))
        poll, ends = select.poll(), time.monotonic() + LAST_SECONDS
        poll.register(self._descriptor, select.POLLOUT)
        self.flush()
        while self._waiting and not self.broken and (remaining := ends - time.monotonic()) > 0:
            poll.poll(remaining * 1000)
            self.flush()
        if self._socket is not None:
            self._socket.close()
        os.close(self._descriptor)

    def _keep(self, line: str) -> bool:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if len(self._waiting) + len(data) > MAX_BYTES:
            return False
        self._waiting += data
        return True

    def _write(self) -> int:
        if self._socket is not None:
            return self._socket.send(self._waiting, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._descriptor, self._waiting)


def _unblocked(descriptor: int) -> int:
    """Return a descriptor of our own for the same file, non-blocking where possible."""
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
        try:
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            # Perhaps another user's terminal. It may make us wait, which is better than silence.
            return os.dup(descriptor)
    return os.dup(descriptor)


def _as_socket(descriptor: int) -> socket.socket | None:
    return socket.socket(fileno=os.dup(descriptor)) if stat.S_ISSOCK(os.fstat(descriptor).st_mode) else None

"""A pipe that is full because nobody reads it, and threads that hang in it or in a debugger."""

import contextlib
import ctypes
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

BYTES = 4096
_ATTACH, _DETACH = 16, 17  # ptrace(2)
_ALL = 0x40000000  # __WALL of waitpid(2)


@contextlib.contextmanager
def small_pipe() -> Iterator[tuple[int, int]]:
    """The read and the write end of a pipe that holds one page."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, BYTES)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def fill(writing: int) -> None:
    """Write until nothing fits. The write end is shared with the collector, so it may not be left non-blocking."""
    os.set_blocking(writing, False)
    try:
        for size in (BYTES, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"x" * size)
    finally:
        os.set_blocking(writing, True)


def blocked_in_write(pid: int) -> bool:
    """Return whether a thread of the process waits for a reader."""
    found = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/wchan")]
    return any(name.endswith(("pipe_write", "unix_stream_sendmsg", "sock_alloc_send_pskb")) for name in found)


@contextlib.contextmanager
def main_thread_held(pid: int) -> Iterator[None]:
    """Stop the main thread of a child, as a debugger does; the other threads go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(_ATTACH, pid, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(pid, _ALL)
    try:
        yield
    finally:
        assert libc.ptrace(_DETACH, pid, None, None) == 0, os.strerror(ctypes.get_errno())

"""fanotify by ctypes: Python has no binding, and packages on PyPI need a compiler.

Rules:
- There is one group per directory, so that the descriptor tells the directory of an event and no file handles are
  compared.
- FAN_UNLIMITED_MARKS is set only because the kernel refuses it without CAP_SYS_ADMIN: otherwise it would accept us and
  give every other process the pid 0.
- The queue stays bounded (16,384 events); the kernel reports an overflow.
"""

import ctypes
import errno
import os
from pathlib import Path

from resty_metrics.commands.doctor.watch.errors import RefusedError
from resty_metrics.commands.doctor.watch.file_events import FileEvent, parse

_CLOEXEC, _NONBLOCK, _UNLIMITED_MARKS = 0x1, 0x2, 0x20
_REPORT_DIRECTORY, _REPORT_NAME = 0x400, 0x800
_FLAGS = _CLOEXEC | _NONBLOCK | _UNLIMITED_MARKS | _REPORT_DIRECTORY | _REPORT_NAME
_ADD, _ONLY_DIRECTORY, _FLUSH = 0x1, 0x8, 0x80
_FROM_HERE = -100
_READ_BYTES = 16 * 1024

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]

_REFUSALS = {
    errno.EPERM: "the kernel lets only root of the initial user namespace watch files",
    errno.ENOSYS: "this kernel has no fanotify, or a filter of system calls forbids it",
    errno.EINVAL: "this kernel's fanotify has no names of files; Linux 5.9 has",
    errno.EOPNOTSUPP: "the file system has no events",
    errno.ENODEV: "the file system has no events",
    errno.EXDEV: "the file system has no events",
}


def group() -> int:
    """Return a descriptor that watches nothing yet. Raises RefusedError."""
    descriptor: int = _LIBC.fanotify_init(_FLAGS, os.O_RDONLY)
    if descriptor < 0:
        raise _refusal(ctypes.get_errno())
    return descriptor


def watch(descriptor: int, directory: Path, mask: int) -> bool:
    """Let the descriptor be readable with events of the directory. False if none is there. Raises RefusedError."""
    if _LIBC.fanotify_mark(descriptor, _ADD | _ONLY_DIRECTORY, mask, _FROM_HERE, os.fsencode(directory)) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOENT, errno.ENOTDIR):
        return False
    raise _refusal(number, directory)


def forget(descriptor: int) -> None:
    """Watch nothing any more; what has happened can still be read."""
    _LIBC.fanotify_mark(descriptor, _FLUSH, 0, _FROM_HERE, None)


def read(descriptor: int) -> list[FileEvent]:
    """Return the waiting events, as many as fit a read; empty if there are none. Raises FormatError."""
    try:
        return list(parse(os.read(descriptor, _READ_BYTES)))
    except BlockingIOError:
        return []


def _refusal(number: int, directory: Path | None = None) -> RefusedError:
    text = _REFUSALS.get(number, "the kernel refuses")
    where = f" of {directory}" if directory is not None else ""
    capability = "CAP_SYS_ADMIN" if number == errno.EPERM else None
    return RefusedError(f"{text}{where}: {os.strerror(number)}", capability)

"""Descriptors 0, 1 and 2, which may be closed when we start, or lead to a pipe without a reader."""

import contextlib
import os
import socket
import struct
import sys

_SEND_MICROSECONDS = 1_000  # per write; a dump has hundreds


def open_missing() -> None:
    """Open /dev/null as each of the three that is closed: else a file of ours gets its number, and errors are printed
    into that file.
    """
    while True:
        descriptor = os.open(os.devnull, os.O_RDWR)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)
        _renew(descriptor)


def _renew(descriptor: int) -> None:
    """Open a stream for a descriptor that was closed when Python started, which made none for it."""
    name = ("stdin", "stdout", "stderr")[descriptor]
    stream = open(descriptor, "r" if name == "stdin" else "w", closefd=False)  # noqa: SIM115 for as long as we live
    setattr(sys, name, stream)


def open_for_dump() -> int:
    """Return a descriptor of stderr for the dump at the death of the process.

    Writing to it does not wait for a reader.
    """
    with contextlib.suppress(OSError):
        # An open file of our own: O_NONBLOCK on that of stderr would hold for every process that shares it.
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(2)) as stderr:  # journald's cannot be opened again
        stderr.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, _SEND_MICROSECONDS))
    return 2

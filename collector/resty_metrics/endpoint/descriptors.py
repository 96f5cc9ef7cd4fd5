"""The descriptors that come with datagrams: anybody who may send can pass one, of anything.

Rules:
- Answers go only to Unix datagram sockets, by send() with MSG_DONTWAIT, never by write().
- No descriptor is closed on the loop, since its last close may block. A TCP socket that lingers waits for its peer, as
  long as the sender has chosen. A file waits for its file server, for ever if that does not answer. A Unix socket
  closes the descriptors that still wait in its queue, and so waits for them in the same way.
- Descriptors that cannot be answered have a thread of their own: a file server that does not answer delays nothing
  else. The process's limit of descriptors bounds how many wait there; beyond it a datagram is applied, but not
  answered.
- There is room for as many as one datagram can have: the kernel would close what does not fit at once, on the loop.
"""

import array
import contextlib
import errno
import os
import queue
import socket
import struct
import threading
from collections.abc import Sequence

_CREDENTIALS = struct.Struct("3i")
_INT = struct.Struct("i")
_MOST = 253  # descriptors of a datagram: SCM_MAX_FD of the kernel
ANCILLARY_BYTES = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_MOST * _INT.size)
_SEND_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_NO_UID = 65534


def read_ancillary(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
    """Return the sender's uid and the descriptors; without credentials, the uid is _NO_UID."""
    uid, descriptors = _NO_UID, array.array("i")
    for level, kind, data in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % _INT.size])
        elif kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            uid = _CREDENTIALS.unpack_from(data)[1]
    return uid, list(descriptors)


def is_answerable(descriptor: int) -> bool:
    """Return whether it is a Unix datagram socket. fstat is not used, since it would ask a file server."""
    try:
        reply = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=descriptor)
    except OSError:
        return False
    try:
        domain = reply.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN)
        kind = reply.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    finally:
        reply.detach()
    return (domain, kind) == (socket.AF_UNIX, socket.SOCK_DGRAM)


def send(descriptor: int, answer: bytes) -> bool:
    """Send an answer, and return whether it was taken."""
    reply = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=descriptor)
    try:
        reply.send(answer, _SEND_FLAGS)
    except OSError:
        return False
    finally:
        reply.detach()
    return True


def is_connected(descriptor: int, answer: bytes) -> bool:
    """Send this answer to find out whether the other end of a socket pair is open, and return it.

    A full queue has an owner, so it counts as open.
    """
    reply = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=descriptor)
    try:
        reply.send(answer, _SEND_FLAGS)
    except BlockingIOError:
        return True
    except OSError as error:
        return error.errno == errno.ENOBUFS
    finally:
        reply.detach()
    return True


class Closer:
    """A thread that closes descriptors. It starts with the first; it is a daemon, so the process ends without it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def give(self, descriptors: list[int]) -> None:
        if not descriptors:
            return
        self._queue.put(descriptors)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread is left: the next ones try again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            for descriptor in self._queue.get():
                with contextlib.suppress(OSError):  # it is closed all the same
                    os.close(descriptor)

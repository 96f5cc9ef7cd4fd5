"""The descriptors that come with datagrams: anybody who may send can pass one, of anything.

Rules:
- Answers go to Unix datagram sockets alone, by send() with MSG_DONTWAIT, never by write().
- None is closed on the loop. The last close of a TCP socket that lingers waits for its peer, as long as the sender has
  chosen; that of a file waits for its file server, for ever if it does not answer; that of a Unix socket does the same
  for what still waits in its queue.
- What cannot be answered has a thread of its own: a file server that does not answer is in nobody else's way. What
  waits there is bounded by the process's limit of descriptors; beyond it datagrams count, and are not answered.
- There is room for as many as one datagram can have: what does not fit the kernel closes at once, on the loop.
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
    """The sender's uid and the descriptors."""
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
    """Whether it is a Unix datagram socket. It is not looked at with fstat, which would ask a file server."""
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
    """Whether the answer was taken."""
    reply = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=descriptor)
    try:
        reply.send(answer, _SEND_FLAGS)
    except OSError:
        return False
    finally:
        reply.detach()
    return True


def is_connected(descriptor: int, answer: bytes) -> bool:
    """Return whether the other end of a socket pair is open, by sending it this answer. A full queue has an owner."""
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
    """A thread that closes what it is given. It begins with the first; as a daemon it is waited for by nobody."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._given: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def give(self, descriptors: list[int]) -> None:
        if not descriptors:
            return
        self._given.put(descriptors)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            with contextlib.suppress(RuntimeError):  # there is none left: with the next ones, perhaps
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            for descriptor in self._given.get():
                with contextlib.suppress(OSError):  # closed all the same
                    os.close(descriptor)

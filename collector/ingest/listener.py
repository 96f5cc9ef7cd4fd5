"""The socket: datagrams from the kernel to the intake, answers back over the descriptors that came with them.

Rules:
- Bound under a temporary name with mode and owner set, then renamed over the path: there is always a socket there.
- SO_PASSCRED before bind: a datagram that was queued earlier would have no credentials.
- Every received descriptor is closed on every path; the newest of a stream is kept until its answer has gone.
- Nothing blocks: a stranger may pass any descriptor, so answers go by send() with MSG_DONTWAIT, never by write().
- A wake-up is bounded, so that scrapes get their turn.
- The path is never unlinked at exit: who starts next renames over it.
"""

import array
import logging
import os
import re
import socket
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from collector.ingest.intake import Intake, Outcome
from collector.ingest.wire import MAX_DATAGRAM
from collector.log import say

DRAIN_DATAGRAMS = 256
DRAIN_SECONDS = 0.02
RECEIVE_BUFFER = 4 * 1024 * 1024

_CREDENTIALS = struct.Struct("3i")
_INT = struct.Struct("i")
_ANCILLARY = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(_INT.size)
_RECEIVE_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_SEND_FLAGS = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
_NO_UID = 65534


@dataclass(frozen=True, slots=True)
class Identity:
    """What our socket's file looked like when we made it."""

    device: int
    inode: int
    mode: int
    owner: int


def _identity(path: Path) -> Identity:
    found = path.stat(follow_symlinks=False)
    return Identity(found.st_dev, found.st_ino, found.st_mode, found.st_uid)


def bind(path: Path, mode: int) -> tuple[socket.socket, Identity]:
    """A bound socket at ``path``, whatever was there before. Call it under the lock. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _remove_leftovers(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.bind(str(temporary))
        temporary.chmod(mode)
        identity = _identity(temporary)
        temporary.rename(path)
    except OSError:
        sock.close()
        temporary.unlink(missing_ok=True)
        raise
    return sock, identity


def _remove_leftovers(path: Path) -> None:
    """Temporary names of collectors that died between bind and rename."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"\d+")
    for entry in path.parent.iterdir():
        if pattern.fullmatch(entry.name) and stat.S_ISSOCK(entry.lstat().st_mode):
            entry.unlink(missing_ok=True)


def _read_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, list[int]]:
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


class Listener:
    """The bound socket. Counters for the page: ``oversized``, ``without_descriptor``, ``answers_failed``."""

    def __init__(self, path: Path, mode: int, intake: Intake, clock: Callable[[], float]) -> None:
        self.path = path
        self.oversized = 0
        self.without_descriptor = 0
        self.answers_failed = 0
        self._intake = intake
        self._clock = clock
        self._socket, self._identity = bind(path, mode)
        self._reply_to: dict[bytes, int] = {}
        self._refused: set[int] = set()

    def fileno(self) -> int:
        return self._socket.fileno()

    def up(self) -> bool:
        """Whether the file at the path is our socket, with the mode and owner that we gave it."""
        try:
            return _identity(self.path) == self._identity
        except OSError:
            return False

    def drain(self) -> bool:
        """Take what is queued, bounded, and answer it. True if the queue is empty now."""
        ends = self._clock() + DRAIN_SECONDS
        empty = False
        for _ in range(DRAIN_DATAGRAMS):
            if not self._receive():
                empty = True
                break
            if self._clock() > ends:
                break
        self._answer()
        return empty

    def close(self) -> None:
        """Take the last of the queue, answer it, close."""
        ends = self._clock() + 1.0
        while not self.drain() and self._clock() < ends:
            pass
        self._socket.close()

    def _receive(self) -> bool:
        try:
            datagram, ancillary, flags, _ = self._socket.recvmsg(MAX_DATAGRAM + 1, _ANCILLARY, _RECEIVE_FLAGS)
        except BlockingIOError:
            return False
        except OSError as error:
            say(logging.ERROR, "cannot receive", reason=error.strerror)
            return False
        uid, descriptors = _read_ancillary(ancillary)
        if flags & socket.MSG_TRUNC or len(datagram) > MAX_DATAGRAM:
            self.oversized += 1
            _close(descriptors)
            return True
        outcome = self._intake.receive(datagram, uid, self._clock())
        self._keep(outcome, descriptors)
        self._mention(outcome, uid)
        return True

    def _keep(self, outcome: Outcome, descriptors: list[int]) -> None:
        """The newest descriptor of a stream waits for its answer; all others go."""
        if not descriptors:
            self.without_descriptor += 1
            return
        if outcome.stream is None or (outcome.result == "held" and outcome.stream in self._reply_to):
            _close(descriptors)  # who is refused does not take over the answers of another
            return
        *surplus, newest = descriptors
        earlier = self._reply_to.get(outcome.stream)
        if earlier is not None:
            surplus.append(earlier)
        self._reply_to[outcome.stream] = newest
        _close(surplus)

    def _answer(self) -> None:
        for stream, answer in self._intake.commit():
            descriptor = self._reply_to.pop(stream, None)
            if descriptor is not None:
                self._send(descriptor, answer)
        _close(list(self._reply_to.values()))
        self._reply_to.clear()

    def _send(self, descriptor: int, answer: bytes) -> None:
        try:
            reply = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=descriptor)
        except OSError:  # a stranger passed something that is no socket
            os.close(descriptor)
            self.answers_failed += 1
            return
        with reply:
            try:
                reply.send(answer, _SEND_FLAGS)
            except OSError:
                self.answers_failed += 1

    def _mention(self, outcome: Outcome, uid: int) -> None:
        if outcome.reason == "uid" and uid not in self._refused and len(self._refused) < 64:
            self._refused.add(uid)
            say(
                logging.WARNING,
                "a user who may not send was refused; if nginx's workers run as it, start with this flag",
                uid=uid,
                flag=f"--socket.allow-uid={uid}",
            )
        elif outcome.result in ("dropped", "held", "unanswerable") and outcome.reason != "uid":
            say(logging.WARNING, "a datagram was refused", result=outcome.result, reason=outcome.reason)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

"""From the kernel to the intake, and answers back over the descriptors that came with the datagrams.

Rules:
- Every received descriptor is closed on every path. The newest of a sender is kept as long as an answer is owed.
- Nothing blocks: a stranger may pass any descriptor (descriptors.py).
- A wake-up is bounded, so that scrapes get their turn; while the journal has too much under way nothing is read.
- A batch is answered when it is safe; whatever else is in the drain at once.
"""

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from resty_metrics.advice import remedies
from resty_metrics.endpoint import descriptors
from resty_metrics.endpoint.binding import Endpoint, bind
from resty_metrics.endpoint.descriptors import ANCILLARY_BYTES, Closer, is_answerable, is_connected, read_ancillary
from resty_metrics.ingest.drain import Drain, Outcome
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.leaving import Leaving
from resty_metrics.process.log import say
from resty_metrics.wire.datagram import MAX_DATAGRAM

DRAIN_DATAGRAMS = 256
DRAIN_SECONDS = 0.001  # and about as long again to merge what was read, which takes memory until then
LAST_DRAIN_SECONDS = 1.0

_RECEIVE_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_MAX_REFUSED = 64
_CUT = "a worker sent more rows of gauges than fit: the others are not on the page"


class Keeper(Protocol):
    """A keeper makes drains safe. When a drain and every one before it is safe, it calls ``then`` and works off the
    iterator that this returns, piece by piece. ``full``: it has enough to do.
    """

    @property
    def full(self) -> bool: ...

    def keep(self, drain: Drain, then: Callable[[], Iterator[None]]) -> None: ...


class Listener:
    """Reads the bound socket. Counters for the page: ``oversized``, ``without_descriptor``, ``answers_failed``.

    ``endpoint`` None: standing by, nothing is read. ``attach`` has the loop call ``drain``.
    """

    def __init__(self, path: Path, mode: int, intake: Intake, keeper: Keeper, clock: Callable[[], float]) -> None:
        self.path = path
        self.endpoint: Endpoint | None = None
        self.oversized = 0
        self.without_descriptor = 0
        self.answers_failed = 0
        self._mode = mode
        self._intake = intake
        self._keeper = keeper
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reading = False
        self._reply_to: dict[bytes, int] = {}
        self._owed: Counter[bytes] = Counter()
        self._leaving = Leaving(intake.senders, is_connected)
        self._refused: set[int] = set()
        self._done: list[int] = []
        self._closer, self._strangers = Closer("close"), Closer("close-strangers")

    def bind(self) -> None:
        """Put a new socket at the path; what is queued at the old one is read to its end. Raises OSError."""
        old = self.endpoint
        new = bind(self.path, self._mode, again=old is not None)
        self._stop_reading()
        self.endpoint = new
        self.resume()
        if old is not None:
            self._finish(old)

    def stand_by(self) -> None:
        """Somebody else collects here: let go of the socket, acknowledge nothing of what is queued."""
        self._stop_reading()
        if self.endpoint is not None:
            _shut(self.endpoint)
            self.endpoint.socket.close()
            self.endpoint = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read whenever there is something."""
        self._loop = loop
        self.resume()

    def resume(self) -> None:
        """Read again, unless the keeper still has too much to do."""
        if self._loop is not None and self.endpoint is not None and not self._reading and not self._keeper.full:
            self._loop.add_reader(self.endpoint.socket.fileno(), self._readable)
            self._reading = True

    def close(self, seconds: float = LAST_DRAIN_SECONDS) -> None:
        """Take the last of the queue, for so long, and close."""
        self._stop_reading()
        if self.endpoint is not None:
            ends = self._clock() + seconds
            while not self.drain() and self._clock() < ends:
                pass
            self.endpoint.socket.close()
            self.endpoint = None

    def drain(self) -> bool:
        """Take what is queued, bounded. True if the queue is empty now."""
        assert self.endpoint is not None
        return self._drain(self.endpoint.socket)

    def _readable(self) -> None:
        self.drain()
        if self._keeper.full:
            self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reading and self._loop is not None and self.endpoint is not None:
            self._loop.remove_reader(self.endpoint.socket.fileno())
        self._reading = False

    def _finish(self, old: Endpoint) -> None:
        """The senders of a socket that was replaced get EPIPE and open the path again; what they had sent counts."""
        _shut(old)
        ends = self._clock() + LAST_DRAIN_SECONDS
        while not self._drain(old.socket) and self._clock() < ends:
            pass
        old.socket.close()

    def _drain(self, sock: socket.socket) -> bool:
        ends = self._clock() + DRAIN_SECONDS
        empty = False
        for _ in range(DRAIN_DATAGRAMS):
            if not self._receive(sock):
                empty = True
                break
            if self._clock() > ends:
                break
        self._end_drain()
        return empty

    def _receive(self, sock: socket.socket) -> bool:
        try:
            datagram, ancillary, flags, _ = sock.recvmsg(MAX_DATAGRAM + 1, ANCILLARY_BYTES, _RECEIVE_FLAGS)
        except BlockingIOError:
            return False
        except OSError as error:
            say(logging.ERROR, "cannot receive", reason=error.strerror)
            return False
        uid, passed = read_ancillary(ancillary)
        answerable = self._sort(passed)
        if flags & socket.MSG_TRUNC or len(datagram) > MAX_DATAGRAM:
            self.oversized += 1
            self._done += answerable
            return True
        outcome = self._intake.receive(datagram, uid, self._clock(), time.time_ns() // 1_000_000)
        self.without_descriptor += not passed
        self._keep(outcome, answerable)
        self._mention(outcome, uid)
        return True

    def _sort(self, passed: list[int]) -> list[int]:
        """Those that can be answered; the others go."""
        answerable = [descriptor for descriptor in passed if is_answerable(descriptor)]
        if len(answerable) < len(passed):
            self.answers_failed += 1
            self._strangers.give([descriptor for descriptor in passed if descriptor not in answerable])
        return answerable

    def _keep(self, outcome: Outcome, answerable: list[int]) -> None:
        """The newest descriptor of a sender waits for its answer; all others go."""
        if not answerable:
            return
        if outcome.sender is None or (outcome.result == "held" and outcome.sender in self._reply_to):
            self._done += answerable  # who is refused does not take over the answers of another
            return
        *surplus, newest = answerable
        earlier = self._reply_to.get(outcome.sender)
        if earlier is not None:
            surplus.append(earlier)
        self._reply_to[outcome.sender] = newest
        self._done += surplus

    def _end_drain(self) -> None:
        drain = self._intake.take()
        self._answer(drain.prompt)
        self._owed.update(drain.waiting)
        self._keeper.keep(drain, partial(self._settle, drain))

    def _settle(self, drain: Drain) -> Iterator[None]:
        settled = yield from self._intake.settle_in_steps(drain)
        for failure in settled.failures:
            say(
                logging.ERROR,
                "rows could not be counted because of a bug, please report it",
                failure.error,
                per=failure.family.name,
                family=failure.family.name,
                rows=failure.rows,
            )
        self._owed.subtract(drain.waiting)
        self._answer(settled.answers)
        for sender in drain.waiting:
            if self._owed[sender] <= 0:
                del self._owed[sender]

    def _answer(self, answers: Iterable[tuple[bytes, bytes]]) -> None:
        """Send answers; a sender's descriptor stays as long as another answer is owed to it."""
        for sender, answer in answers:
            descriptor = self._reply_to.get(sender)
            if descriptor is None:
                continue
            self.answers_failed += not descriptors.send(descriptor, answer)
            if self._owed[sender] <= 0:
                del self._reply_to[sender]
                self._done += self._leaving.keep(sender, descriptor, answer, self._clock())
        self._close()

    def check_leaving(self) -> None:
        """Ask the kernel which of the workers that are leaving are still there. To be called each second."""
        self._done += self._leaving.check(self._clock())
        self._close()

    def _close(self) -> None:
        self._closer.give(self._done)
        self._done = []

    def _mention(self, outcome: Outcome, uid: int) -> None:
        if outcome.error is not None:
            say(
                logging.ERROR,
                "a datagram was dropped because of a bug, please report it",
                outcome.error,
                per=type(outcome.error).__name__,
                rows=outcome.rows,
            )
        elif outcome.reason == "uid" and uid not in self._refused and len(self._refused) < _MAX_REFUSED:
            self._refused.add(uid)
            say(
                logging.WARNING,
                "a user who may not send was refused; if nginx's workers run as it, start with this flag",
                uid=uid,
                flag=f"--socket.allow-uid={uid}",
            )
        elif outcome.result == "heartbeat" and outcome.reason is not None:
            say(logging.WARNING, _CUT, reason=outcome.reason, remedy=remedies.of_gauge_rows(outcome.reason))
        elif outcome.result in ("dropped", "held", "unanswerable") and outcome.reason != "uid":
            say(logging.WARNING, "a datagram was refused", result=outcome.result, reason=outcome.reason)


def _shut(endpoint: Endpoint) -> None:
    try:
        endpoint.socket.shutdown(socket.SHUT_RD)
    except OSError as error:
        say(logging.WARNING, "the old socket could not be shut down", reason=error.strerror)

"""The listener: passes datagrams from the socket to the intake, and sends answers on the descriptors they carried.

Rules:
- Every received descriptor is closed on every path. The newest of a sender is kept as long as an answer is owed.
- Nothing blocks, whatever kind of descriptor a stranger passes (descriptors.py).
- A wake-up is bounded, so that scrapes get their turn. While the journal has too much under way, nothing is read.
- A batch is answered once it is safe, everything else in the drain at once.
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

from resty_metrics.endpoint import descriptors
from resty_metrics.endpoint.binding import Endpoint, bind
from resty_metrics.endpoint.descriptors import ANCILLARY_BYTES, Closer, is_answerable, is_connected, read_ancillary
from resty_metrics.health import remedies
from resty_metrics.ingest.drain import Drain, Outcome
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.leaving import Leaving
from resty_metrics.process.log import say
from resty_metrics.wire.datagram import MAX_DATAGRAM

DRAIN_DATAGRAMS = 256
DRAIN_SECONDS = 0.001  # merging takes about as long again, and the datagrams take memory until then
LAST_DRAIN_SECONDS = 1.0

_RECEIVE_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
_MAX_REFUSED = 64
_CUT = "a worker sent more rows of gauges than fit: the others are not on the page"


class Keeper(Protocol):
    """A keeper that makes drains safe. Once a drain and every earlier one is safe, it calls ``then``, and advances the
    iterator that this returns piece by piece. ``full``: too much is under way to take more.
    """

    @property
    def full(self) -> bool: ...

    def keep(self, drain: Drain, then: Callable[[], Iterator[None]]) -> None: ...


class Listener:
    """The reader of the bound socket. Counters for the page: ``oversized``, ``without_descriptor``, ``answers_failed``.

    ``endpoint`` None: standing by, nothing is read. After ``attach`` the loop calls ``drain``.
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
        self._to_close: list[int] = []
        self._closer, self._strangers = Closer("close"), Closer("close-strangers")

    def bind(self) -> None:
        """Bind a new socket at the path, then read all that is queued at the old one. Raises OSError."""
        old = self.endpoint
        new = bind(self.path, self._mode, again=old is not None)
        self._stop_reading()
        self.endpoint = new
        self.resume()
        if old is not None:
            self._finish(old)

    def stand_by(self) -> None:
        """Close the socket, since another collector holds the path. Acknowledge none of the queued datagrams."""
        self._stop_reading()
        if self.endpoint is not None:
            _shut(self.endpoint)
            self.endpoint.socket.close()
            self.endpoint = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read in this loop whenever the socket is readable."""
        self._loop = loop
        self.resume()

    def resume(self) -> None:
        """Start reading again, unless the keeper is still full."""
        if self._loop is not None and self.endpoint is not None and not self._reading and not self._keeper.full:
            self._loop.add_reader(self.endpoint.socket.fileno(), self._readable)
            self._reading = True

    def close(self, seconds: float = LAST_DRAIN_SECONDS) -> None:
        """Read the rest of the queue, for at most so many seconds, and close the socket."""
        self._stop_reading()
        if self.endpoint is not None:
            ends = self._clock() + seconds
            while not self.drain() and self._clock() < ends:
                pass
            self.endpoint.socket.close()
            self.endpoint = None

    def drain(self) -> bool:
        """Read a bounded number of queued datagrams. Return True if the queue is empty."""
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
        """Shut down a replaced socket, read what is queued there, and close it.

        Its senders get EPIPE and open the path again; what they had sent counts.
        """
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
            say(logging.ERROR, "cannot receive from the socket", reason=error.strerror)
            return False
        uid, passed = read_ancillary(ancillary)
        answerable = self._sort(passed)
        if flags & socket.MSG_TRUNC or len(datagram) > MAX_DATAGRAM:
            self.oversized += 1
            self._to_close += answerable
            return True
        outcome = self._intake.receive(datagram, uid, self._clock(), time.time_ns() // 1_000_000)
        self.without_descriptor += not passed
        self._keep(outcome, answerable)
        self._mention(outcome, uid)
        return True

    def _sort(self, passed: list[int]) -> list[int]:
        """Return the descriptors that can be answered on, and close the others."""
        answerable = [descriptor for descriptor in passed if is_answerable(descriptor)]
        if len(answerable) < len(passed):
            self.answers_failed += 1
            self._strangers.give([descriptor for descriptor in passed if descriptor not in answerable])
        return answerable

    def _keep(self, outcome: Outcome, answerable: list[int]) -> None:
        """Keep the newest descriptor of a sender for its answer, and close all others."""
        if not answerable:
            return
        if outcome.sender is None or (outcome.result == "held" and outcome.sender in self._reply_to):
            self._to_close += answerable  # a refused datagram must not redirect the answers of another sender
            return
        *surplus, newest = answerable
        earlier = self._reply_to.get(outcome.sender)
        if earlier is not None:
            surplus.append(earlier)
        self._reply_to[outcome.sender] = newest
        self._to_close += surplus

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
                "cannot count some rows because of a bug, please report it",
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
        """Send answers. A sender's descriptor stays open as long as another answer is owed to it."""
        for sender, answer in answers:
            descriptor = self._reply_to.get(sender)
            if descriptor is None:
                continue
            self.answers_failed += not descriptors.send(descriptor, answer)
            if self._owed[sender] <= 0:
                del self._reply_to[sender]
                self._to_close += self._leaving.keep(sender, descriptor, answer, self._clock())
        self._close()

    def check_leaving(self) -> None:
        """Check which of the leaving workers are still there. Called each second."""
        self._to_close += self._leaving.check(self._clock())
        self._close()

    def _close(self) -> None:
        self._closer.give(self._to_close)
        self._to_close = []

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
                "a user that may not send was refused. If nginx's workers run as this user, start with this flag",
                uid=uid,
                flag=f"--socket.allow-uid={uid}",
            )
        elif outcome.result == "heartbeat" and outcome.reason is not None:
            say(logging.WARNING, _CUT, reason=outcome.reason, remedy=remedies.of_gauge_rows(outcome.reason))
        elif outcome.result in ("dropped", "held", "unanswerable") and outcome.reason != "uid":
            say(logging.WARNING, "a datagram was not accepted", result=outcome.result, reason=outcome.reason)


def _shut(endpoint: Endpoint) -> None:
    try:
        endpoint.socket.shutdown(socket.SHUT_RD)
    except OSError as error:
        say(logging.WARNING, "cannot shut down the old socket", reason=error.strerror)

"""One client's connection: aiohttp's, with limits on what the client makes us hold and on how long it takes.

Rules:
- aiohttp has one request at a time. It gets the next one when the kernel has taken the previous answer; until then
  nothing is read. So a client that sends without reading waits, and costs no more than before.
- The end of the client's stream does not end the connection while a request is unanswered.
- The head of a request must be complete HEAD_SECONDS after its first byte. A client that reads nothing of what was sent
  to it for UNREAD_SECONDS is cut off. Between requests a connection may stay open for REST_SECONDS.
- A request that cannot be read is counted and logged; the log line quotes nothing of it.
"""

import asyncio
import fcntl
import logging
import struct
import termios
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiohttp import hdrs, web
from aiohttp.http_exceptions import LineTooLong

from resty_metrics.process.log import say
from resty_metrics.web.inbox import Inbox
from resty_metrics.web.link import UNDECRYPTED
from resty_metrics.web.room import Room
from resty_metrics.web.tally import Closed, Refused, Tally

if TYPE_CHECKING:
    from resty_metrics.web.tls import Tls

HEAD_SECONDS = 10.0
UNREAD_SECONDS = 30.0
REST_SECONDS = 75.0
MAX_LINE_BYTES = 8190  # of the request line, and of each header
MAX_HEADERS = 64
SERVER = "resty-metrics"
_OPTIONS: dict[str, Any] = {
    "keepalive_timeout": REST_SECONDS,
    "lingering_time": 0.0,  # no request's body is read
    "max_line_size": MAX_LINE_BYTES,
    "max_field_size": MAX_LINE_BYTES,
    "max_headers": MAX_HEADERS,
    "auto_decompress": False,
    "access_log": None,
}


class Connection(web.RequestHandler):
    """A handler of one connection's requests.

    ``busy``: a request is being answered; ``since``: when the connection began to wait for one, by the loop's clock.
    ``headers`` returns the headers of every answer.
    """

    def __init__(
        self,
        manager: web.Server,
        loop: asyncio.AbstractEventLoop,
        tls: "Tls | None",
        tally: Tally,
        room: Room,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        super().__init__(manager, loop=loop, **_OPTIONS)
        self.busy = False
        self.since = loop.time()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._tls = tls
        self._tally = tally
        self._room = room
        self._headers = headers
        self._inbox = Inbox()
        self._unsent = 0
        self._client_transport: asyncio.Transport | None = None
        self._descriptor = -1
        self._head_since: float | None = None
        self._unread = 0
        self._unread_since: float | None = None
        self._stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client_transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self._descriptor = transport.get_extra_info("socket").fileno()
        if self._tls is not None and not self._tls.admits(transport.get_extra_info("peercert")):
            self.cut("client_san")
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._client_transport = None
        self._room.hold(self, 0)
        if not self.lost.done():
            self.lost.set_result(None)
        # Called later, since aiohttp's task fails if it has not begun by then. Called without the error, since a task
        # that waits to write would hold it in a cycle with its traceback: the next write raises its own.
        self._loop.call_soon(super().connection_lost, None)

    def data_received(self, data: bytes) -> None:
        self._inbox.feed(data)
        self._give()

    def eof_received(self) -> bool:  # type: ignore[override]
        return self._inbox.whole

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = 0 if self._client_transport is None else self._client_transport.get_write_buffer_size()
        self._note()

    def resume_writing(self) -> None:
        self._unsent = 0
        self._note()
        super().resume_writing()

    @property
    def waits_since(self) -> float | None:
        """The time since which the connection waits for its client: for a request, or to be read; None: it does not.

        A client that has read something since the last check is not waited for.
        """
        if not self.busy:
            return self.since
        return self._unread_since if self._stalled else None

    def begin(self) -> None:
        """Note that the head of a request is complete."""
        self.busy = True
        self._head_since = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if not resp.prepared:
            self.add_headers(resp)
        lost = True
        try:
            resp, lost = await super().finish_response(request, resp, start_time)
            return resp, lost
        finally:
            self.busy, self.since, self._head_since = False, self._loop.time(), None
            if request.body_exists:
                self.close()
            elif resp.keep_alive and not lost:
                self._inbox.clear()
                self._give()

    def add_headers(self, answer: web.StreamResponse) -> None:
        """Add the headers that every answer has. Call it before the answer is prepared."""
        answer.headers[hdrs.SERVER] = SERVER
        answer.headers.update(self._headers())

    def overdue(self, now: float) -> Closed | None:
        """Return why the client has run out of time; None if it has not."""
        if self._head_since is not None and now - self._head_since > HEAD_SECONDS:
            return "slow_request"
        before, self._unread = self._unread, 0 if self._client_transport is None else _unread(self._descriptor)
        if not self._unread:
            self._unread_since = None
        elif self._unread_since is None or self._unread != before:  # the client reads, however slowly
            self._unread_since = now
        self._stalled = self._unread_since is not None and self._unread_since < now
        if self._unread_since is not None and now - self._unread_since > UNREAD_SECONDS:
            return "slow_read"
        return None

    def cut(self, reason: Closed) -> None:
        """Close the connection now, whatever the client has still to read; count and log the reason."""
        self._tally.closed[reason] += 1
        say(logging.WARNING, "closed a connection to the page", reason=reason, client=self._client())
        self.abort()

    def discard(self) -> None:
        """End a connection that was never made: it and aiohttp's parser refer to each other."""
        if self._client_transport is None:
            self.connection_lost(None)

    def abort(self) -> None:
        if self._client_transport is not None:
            self._client_transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun, there cannot be another")
        if status == 400:
            answer = self._unreadable(exc)
        else:
            self._tally.refused["failed"] += 1
            words = "a request failed because of a bug, please report it"
            say(logging.ERROR, words, exc, reason="failed", client=self._client())
            answer = web.Response(status=status, text="the request failed; see the collector's log\n")
        answer.force_close()
        return answer

    def _unreadable(self, exc: BaseException | None) -> web.Response:
        if exc is not None:
            exc.__traceback__ = exc.__context__ = None  # they would keep this connection until cycles are collected
        large = self._inbox.too_large or isinstance(exc, LineTooLong)
        reason: Refused = "too_large" if large else "malformed"
        self._tally.refused[reason] += 1
        say(logging.WARNING, "a malformed request was refused", reason=reason, client=self._client())
        return web.Response(status=431 if large else 400, text=f"the request is {reason.replace('_', ' ')}\n")

    def _give(self) -> None:
        """Give aiohttp the bytes of the next request; read from the link only while more of it is to come."""
        part = self._inbox.take()
        if part and self._head_since is None:
            self._head_since = self._loop.time()
        if part:
            super().data_received(part)
            if self._messages and not self._inbox.whole:
                self._inbox.close()  # aiohttp cannot read it, and would report that again for each further part
        if self._client_transport is not None:
            if self._inbox.whole or self._inbox.closed:
                self._client_transport.pause_reading()
            else:
                self._client_transport.resume_reading()
        self._note()

    def _note(self) -> None:
        held = 0
        if self._client_transport is not None:
            held = self._inbox.size + self._unsent + int(self._client_transport.get_extra_info(UNDECRYPTED, 0))
        self._room.hold(self, held)

    def _client(self) -> str:
        peer = self._client_transport.get_extra_info("peername") if self._client_transport is not None else None
        return str(peer[0]) if isinstance(peer, tuple) else "-"


def _unread(descriptor: int) -> int:
    """Return how many bytes the kernel holds that the other side has not taken; 0 if it does not say."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(count)

"""One client's connection: aiohttp's, with an eye on what the client makes us hold, and on how long it takes.

Rules:
- aiohttp has one request at a time. The next is given to it when the kernel has taken the answer to the one before;
  until then nothing is read. So a client that sends without reading waits, and costs no more than it did.
- An end of the client's stream is not the end of the connection while there is a request to answer.
- From the first byte of a request its head has HEAD_SECONDS to be whole; a client that has read nothing of what was
  sent to it for UNREAD_SECONDS is cut off. Between requests a connection may rest for REST_SECONDS.
- A request that cannot be read is counted and logged without a word of it.
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
    "lingering_time": 0.0,  # there is no request whose body we read
    "max_line_size": MAX_LINE_BYTES,
    "max_field_size": MAX_LINE_BYTES,
    "max_headers": MAX_HEADERS,
    "auto_decompress": False,
    "access_log": None,
}


class Connection(web.RequestHandler):
    """``busy``: a request is being answered; ``since``: when it began to wait for one, by the loop's clock.

    ``headers``: of every answer.
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
        self._way: asyncio.Transport | None = None
        self._descriptor = -1
        self._head_since: float | None = None
        self._unread = 0
        self._unread_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._way = cast(asyncio.Transport, transport)  # uvloop's are none by their class
        self._descriptor = transport.get_extra_info("socket").fileno()
        if self._tls is not None and not self._tls.admits(transport.get_extra_info("peercert")):
            self.cut("client_san")
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._way = None
        self._room.hold(self, 0)
        if not self.lost.done():
            self.lost.set_result(None)
        # Later, since aiohttp's task fails if it has not begun by then. Without the error, which whoever waits to write
        # would have in a cycle with its own traceback: the next write has one of its own.
        self._loop.call_soon(super().connection_lost, None)

    def data_received(self, data: bytes) -> None:
        self._inbox.feed(data)
        self._give()

    def eof_received(self) -> bool:  # type: ignore[override]
        return self._inbox.whole

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = 0 if self._way is None else self._way.get_write_buffer_size()
        self._note()

    def resume_writing(self) -> None:
        self._unsent = 0
        self._note()
        super().resume_writing()

    @property
    def rests(self) -> bool:
        """Whether we wait for the client: for a request, or until it reads."""
        return not self.busy or self._unread_since is not None

    def begin(self) -> None:
        """The head of a request is whole."""
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
        """Add the headers of every answer, before it is prepared."""
        answer.headers[hdrs.SERVER] = SERVER
        answer.headers.update(self._headers())

    def overdue(self, now: float) -> Closed | None:
        """Why the client has had its time; None: it has not."""
        if self._head_since is not None and now - self._head_since > HEAD_SECONDS:
            return "slow_request"
        before, self._unread = self._unread, 0 if self._way is None else _unread(self._descriptor)
        if not self._unread:
            self._unread_since = None
        elif self._unread_since is None or self._unread != before:  # it reads, however slowly
            self._unread_since = now
        elif now - self._unread_since > UNREAD_SECONDS:
            return "slow_read"
        return None

    def cut(self, reason: Closed) -> None:
        """End it now, whatever the client has still to read."""
        self._tally.closed[reason] += 1
        say(logging.WARNING, "a connection to the page was closed", reason=reason, client=self._client())
        self.abort()

    def discard(self) -> None:
        """End a connection that was never made: aiohttp's parser and it have each other."""
        if self._way is None:
            self.connection_lost(None)

    def abort(self) -> None:
        if self._way is not None:
            self._way.abort()

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
            exc.__traceback__ = exc.__context__ = None  # it would keep this connection until cycles are looked for
        large = self._inbox.too_large or isinstance(exc, LineTooLong)
        reason: Refused = "too_large" if large else "malformed"
        self._tally.refused[reason] += 1
        say(logging.WARNING, "a request could not be read", reason=reason, client=self._client())
        return web.Response(status=431 if large else 400, text=f"the request is {reason.replace('_', ' ')}\n")

    def _give(self) -> None:
        """Have aiohttp read what belongs to the next request, and the link what is still to come of it."""
        part = self._inbox.take()
        if part and self._head_since is None:
            self._head_since = self._loop.time()
        if part:
            super().data_received(part)
            if self._messages and not self._inbox.whole:
                self._inbox.close()  # aiohttp cannot read it, and would note that again for all that comes
        if self._way is not None:
            if self._inbox.whole or self._inbox.closed:
                self._way.pause_reading()
            else:
                self._way.resume_reading()
        self._note()

    def _note(self) -> None:
        held = 0
        if self._way is not None:
            held = self._inbox.size + self._unsent + int(self._way.get_extra_info(UNDECRYPTED, 0))
        self._room.hold(self, held)

    def _client(self) -> str:
        peer = self._way.get_extra_info("peername") if self._way is not None else None
        return str(peer[0]) if isinstance(peer, tuple) else "-"


def _unread(descriptor: int) -> int:
    """The bytes that the kernel holds and the other side has not taken."""
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0\0\0\0"))
    except OSError:
        return 0
    return int(count)

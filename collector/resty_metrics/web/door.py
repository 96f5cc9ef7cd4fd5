"""The door: accepts connections from the listening sockets, up to the limit.

The event loop accepts by itself, without asyncio's servers. So a new connection gets the TLS that is in force at that
moment, it counts from its first moment, before its handshake, and one above the limit costs nothing.

Rules:
- At the limit, a new connection takes the place of the one that has kept us waiting longest, for a request or by not
  reading: a client that only holds connections open keeps nobody from the page. If all are being served, the new one is
  closed.
- A handshake has HANDSHAKE_SECONDS, and at most MOST_HANDSHAKES run at once: OpenSSL reserves 128 KiB for a client that
  only announces a large first message. A further handshake takes the place of the oldest.
- What all connections cost at most is reported whenever their number changes, so that pages leave room for it.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING

from aiohttp import web

from resty_metrics.process.log import say
from resty_metrics.web.connection import Connection
from resty_metrics.web.limits import Limits
from resty_metrics.web.link import Link
from resty_metrics.web.room import Room
from resty_metrics.web.secure import Secure
from resty_metrics.web.tally import Closed, Tally

if TYPE_CHECKING:
    from resty_metrics.web.tls import Tls

HANDSHAKE_SECONDS = 10.0
MOST_HANDSHAKES = 64
SWEEP_SECONDS = 1.0
CONNECTION_BYTES, TLS_CONNECTION_BYTES = 26 * 1024, 52 * 1024  # the most that each costs, without its part of Room
_AT_ONCE = 64
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Door:
    """An acceptor of connections. ``tls`` returns their TLS, None: plain HTTP; ``headers``: those of every answer.

    ``cost`` is told the most bytes that the connections can take, each time that changes.
    """

    def __init__(
        self,
        server: web.Server,
        tls: "Callable[[], Tls | None]",
        headers: Callable[[], Mapping[str, str]],
        limits: Limits,
        tally: Tally,
        cost: Callable[[int], None],
    ) -> None:
        self._server = server
        self._tls = tls
        self._headers = headers
        self._limits = limits
        self._tally = tally
        self._cost = cost
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._room = Room()
        self._inside: dict[Connection, asyncio.Task[None]] = {}
        self._new: dict[Connection, socket.socket] = {}  # whose tasks, which close them, have not begun
        self._shaking: dict[Connection, None] = {}  # in their handshake, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def open(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections from sockets that listen."""
        for sock in sockets:
            sock.setblocking(False)
            self._sockets.append(sock)
            self._loop.add_reader(sock, self._accept, sock)
        self._sweep()

    def close(self) -> None:
        """Accept no more connections; the open ones are answered when the server is shut down."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        if self._timer is not None:
            self._timer.cancel()

    def clear(self) -> None:
        """Abort the connections that are still open, whatever their clients have not read."""
        for connection in tuple(self._inside):
            connection.abort()
            self._forget(connection)

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SHORT:
                    raise
                self._rest(sock, error)
                return
            self._admit(accepted)

    def _rest(self, sock: socket.socket, error: OSError) -> None:
        """Let a queue wait a second for descriptors or memory: trying again at once would keep the loop busy."""
        say(logging.ERROR, "cannot accept connections to the page, trying again in a second", reason=error.strerror)
        self._loop.remove_reader(sock)
        self._loop.call_later(SWEEP_SECONDS, self._go_on, sock)

    def _go_on(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    def _admit(self, accepted: socket.socket) -> None:
        if not self._make_room():
            self._tally.closed["limit"] += 1
            words = "a connection to the page was refused: as many are open as --web.max-connections allows"
            say(logging.WARNING, words, reason="limit", most=self._limits.max_connections)
            accepted.close()
            return
        accepted.setblocking(False)
        tls = self._tls()
        connection = Connection(self._server, self._loop, tls, self._tally, self._room, self._headers)
        if tls is not None:
            if len(self._shaking) >= MOST_HANDSHAKES:
                self._dismiss(next(iter(self._shaking)), "evicted")
            self._shaking[connection] = None
        self._new[connection] = accepted
        self._inside[connection] = self._loop.create_task(self._serve(connection, accepted, tls))
        self._count()

    def _make_room(self) -> bool:
        most = self._limits.max_connections
        if not most or len(self._inside) < most:
            return True
        waiting = [(since, connection) for connection in self._inside if (since := connection.waits_since) is not None]
        if not waiting:
            return False
        self._dismiss(min(waiting, key=itemgetter(0))[1], "evicted")
        return True

    def _dismiss(self, connection: Connection, reason: Closed) -> None:
        connection.cut(reason)
        self._forget(connection)
        self._count()

    def _forget(self, connection: Connection) -> None:
        self._inside.pop(connection).cancel()
        self._shaking.pop(connection, None)
        if connection in self._new:
            self._new.pop(connection).close()
            connection.discard()

    async def _serve(self, connection: Connection, accepted: socket.socket, tls: "Tls | None") -> None:
        """Serve a connection from its handshake to its end."""
        del self._new[connection]
        try:
            if tls is None:
                await self._loop.connect_accepted_socket(lambda: Link(connection), accepted)
            else:
                await self._shake_hands(connection, accepted, tls)
        except OSError as error:  # ssl.SSLError is one, as is TimeoutError
            self._tally.closed["handshake"] += 1
            say(logging.DEBUG, "a TLS handshake failed", reason=getattr(error, "reason", None) or type(error).__name__)
        else:
            await connection.lost
        finally:
            connection.discard()
            self._inside.pop(connection, None)
            self._count()

    async def _shake_hands(self, connection: Connection, accepted: socket.socket, tls: "Tls") -> None:
        secure = Secure(connection, tls.context, self._loop)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self._loop.connect_accepted_socket(partial(Link, secure), accepted)
                await secure.ready
        except (TimeoutError, asyncio.CancelledError):
            secure.abort()
            raise
        finally:
            self._shaking.pop(connection, None)
            del secure  # else the error's traceback refers to it, and it to the error

    def _count(self) -> None:
        self._tally.connections = len(self._inside)
        cost = CONNECTION_BYTES if self._tls() is None else TLS_CONNECTION_BYTES
        self._cost(self._room.most + len(self._inside) * cost)

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in tuple(self._inside):
            reason = connection.overdue(now)
            if reason is not None:
                self._dismiss(connection, reason)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

"""TLS between a link and a connection, by Python's ``ssl``: that of the event loops keeps 256 KiB or more a connection.

Rules:
- Nothing is decrypted while the connection does not read, and what it writes goes to the link at once: a few KiB are
  held in here, whatever the client does.
- The end of the client's stream, by TLS or without it, is reported when everything before it was read. The connection
  then ends as soon as it has nothing left to answer.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, cast

from resty_metrics.web.link import UNDECRYPTED, Reader

_READ_BYTES = 16 * 1024  # the most that a record holds (RFC 8446, 5.1)
_WRITE_BYTES = 4 * 1024  # OpenSSL's buffers stay as large as they once were


class Secure(asyncio.Transport):
    """A reader of a link, and the transport of its own reader.

    ``ready``: done when the handshake is; an OSError if that failed.
    """

    def __init__(self, reader: Reader, context: ssl.SSLContext, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.ready: asyncio.Future[None] = loop.create_future()
        self._reader = reader
        self._loop = loop
        self._context = context
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._undecrypted = 0
        self._link: asyncio.Transport | None = None
        self._connected = self._full = self._paused = self._closing = self._ended = False

    # Called by the link.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._link = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._undecrypted += len(data)
        self._incoming.write(data)
        if self._connected:
            self._read()
        else:
            self._shake_hands()

    def eof_received(self) -> bool:
        if not self._connected:
            self._fail(ConnectionResetError())
        else:
            self._ended = True
            self._read()
        return True

    def pause_writing(self) -> None:
        self._full = True
        if self._connected:
            self._reader.pause_writing()

    def resume_writing(self) -> None:
        self._full = False
        if self._connected:
            self._reader.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing, self._link = True, None
        if self._connected:
            self._reader.connection_lost(exc)
        else:
            self._end(ConnectionResetError())

    # Called by the connection.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        rest, records = memoryview(data), [self._outgoing.read()]
        try:
            while rest:
                rest = rest[self._tls.write(rest[:_WRITE_BYTES]) :]
                records.append(self._outgoing.read())
        except ssl.SSLError:
            self.abort()
            return
        if self._link is not None:
            self._link.write(b"".join(records))  # in one call: when it fills up, its size is read once

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        self._paused = True
        if self._link is not None:
            self._link.pause_reading()

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._read)  # not at once: the connection may still be reading earlier bytes

    def is_reading(self) -> bool:
        return not self._paused

    def get_write_buffer_size(self) -> int:
        return 0 if self._link is None else self._link.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._context
        if name == "peercert":
            return self._tls.getpeercert()
        if name == UNDECRYPTED:
            return self._undecrypted
        return default if self._link is None else self._link.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Tell the client that TLS ends here, and close when it has taken what was written."""
        if self._closing:
            return
        self._closing = True
        with suppress(ssl.SSLError):  # the client's own end of TLS is not awaited
            self._tls.unwrap()
        self._flush()
        if self._link is not None:
            self._link.close()

    def abort(self) -> None:
        self._closing = True
        if self._link is not None:
            self._link.abort()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert tells the client why
            self._fail(error)
        else:
            self._flush()
            self._begin()

    def _begin(self) -> None:
        self._connected = True
        self._undecrypted = 0
        if not self.ready.done():
            self.ready.set_result(None)
        self._reader.connection_made(self)
        if self._full:
            self._reader.pause_writing()
        self._read()

    def _fail(self, error: OSError) -> None:
        self._end(error)
        self._closing = True
        if self._link is not None:
            self._link.close()

    def _end(self, error: OSError) -> None:
        """Record why there was no handshake, for a task that still waits for ``ready``."""
        if not self.ready.done():
            self.ready.set_exception(error.with_traceback(None))  # which refers to this object
            self.ready.exception()  # else asyncio would log that nobody retrieved it

    def _read(self) -> None:
        """Decrypt for the connection as long as it reads; then let the link read on, or report the stream's end."""
        while not self._paused and not self._closing:
            try:
                plain = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                self.abort()
                return
            if not plain:
                self._ended = True
                break
            self._undecrypted = 0
            self._reader.data_received(plain)
        if self._undecrypted:
            self._reader.data_received(b"")  # no bytes, but it counts what we hold
        self._flush()
        if self._paused or self._closing or self._link is None:
            return
        if not self._ended:
            self._link.resume_reading()
            return
        self._link.pause_reading()
        if not self._reader.eof_received():
            self.close()

    def _flush(self) -> None:
        if self._link is not None and self._outgoing.pending:
            self._link.write(self._outgoing.read())

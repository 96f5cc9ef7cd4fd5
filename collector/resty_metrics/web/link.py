"""The link from a socket to a connection: reads little at a time, and has the kernel take an answer before the next.

Rules:
- All links read into one small buffer and pass the bytes on at once. An event loop's own buffers are 250 KiB.
- A transport reports that it is full as soon as it holds a byte that the kernel has not taken.
"""

import asyncio
from typing import Protocol, cast

READ_BYTES = 4 * 1024
UNDECRYPTED = "undecrypted"  # extra info of a transport: how many bytes of an incomplete TLS record it holds
_BUFFER = memoryview(bytearray(READ_BYTES))


class Reader(Protocol):
    """A receiver at the end of a link: a connection, or the TLS in front of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...


class Link(asyncio.BufferedProtocol):
    """A protocol for a socket's transport that passes every call on to ``reader``."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).set_write_buffer_limits(0)
        self._reader.connection_made(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self._reader.data_received(bytes(_BUFFER[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._reader.eof_received()

    def pause_writing(self) -> None:
        self._reader.pause_writing()

    def resume_writing(self) -> None:
        self._reader.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.connection_lost(exc)

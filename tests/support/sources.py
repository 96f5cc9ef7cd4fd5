"""Servers that answer a source's request as they are told to, rightly or not."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

PAGE = b"Active connections: 1 \nserver accepts handled requests\n 1 1 1 \nReading: 0 Writing: 1 Waiting: 0 \n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def saying(data: bytes, close: bool = False) -> Handler:
    """A server that answers every request with these bytes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(data)
            await writer.drain()
            if close:
                break

    return handle


async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()


async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Half an answer, and nothing more."""
    writer.write(answer(PAGE[:30], length=len(PAGE)))
    await reader.read()


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What nginx says to a client hello at a port without ``ssl``."""
    await reader.read(1)
    writer.write(answer(b"", "400 Bad Request"))


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def serving(
    handler: Handler, port: int = 0, tls: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[str]:
    """The address of a server on loopback, or on a unix socket; its connections have ended when the block has."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await handler(reader, writer)
        finally:
            writer.close()  # Python 3.13 warns of a writer that nobody closed
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    if path is not None:
        server = await asyncio.start_unix_server(connected, path)
        address = f"unix:{path}:/stub_status"
    else:
        server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/stub_status"
    try:
        yield address
    finally:
        server.close()
        await asyncio.gather(*connections)


class Flood:
    """A document without end, and how much of it was taken."""

    def __init__(self, size: int) -> None:
        self.taken = 0
        self._size = size

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {self._size}\r\n\r\n".encode())
        piece = b" " * 65536
        while self.taken < self._size:
            writer.write(piece)
            await writer.drain()
            self.taken += len(piece)

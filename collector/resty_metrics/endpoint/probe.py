"""A datagram through the path to ourselves, which shows whether a client that connects there reaches us.

Rules:
- An answer proves it. No answer proves nothing: a full queue and a reader that is behind look the same. Then
  NETLINK_SOCK_DIAG names the socket that the probe is connected to.
- Nothing blocks the loop: connect and send on a Unix datagram socket do not block, and the answer is awaited.
- If this process has no descriptor left, the result is unknown; that is no error, the next probe may get one.
"""

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from enum import Enum
from pathlib import Path

from resty_metrics.kernel import sock_diag
from resty_metrics.wire.datagram import VERSION, Header, Kind, WireError, read_answer, write_datagram

ANSWER_SECONDS = 1.0
_DATAGRAM_FLAGS = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC


class Finding(Enum):
    """The owner of the socket that a probe reached."""

    OURS = "ours"
    STRANGER = "stranger"
    UNKNOWN = "unknown"


async def probe(path: Path, inode: int) -> Finding:
    """Send a probe through ``path`` and return who is reached; ``inode`` is our socket's own."""
    with ExitStack() as stack:
        try:
            client = stack.enter_context(socket.socket(socket.AF_UNIX, _DATAGRAM_FLAGS))
            receiver, answering = map(stack.enter_context, socket.socketpair(socket.AF_UNIX, _DATAGRAM_FLAGS))
        except OSError:
            return Finding.UNKNOWN
        try:
            client.connect(str(path))
        except OSError:
            return Finding.STRANGER  # nobody listens, it is no datagram socket, or we may not reach it
        if await _is_answered(client, receiver, answering):
            return Finding.OURS
        return _peer(client, inode)


async def _is_answered(client: socket.socket, receiver: socket.socket, answering: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    header = Header(VERSION, Kind.PROBE, os.urandom(16), 0, 1, 1)
    try:
        socket.send_fds(client, [write_datagram(header, {})], [answering.fileno()], socket.MSG_NOSIGNAL)
    except OSError:
        return False
    readable = asyncio.Event()
    loop.add_reader(receiver.fileno(), readable.set)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await readable.wait()
        return read_answer(receiver.recv(64)).sender == header.sender
    except (TimeoutError, OSError, WireError):
        return False
    finally:
        loop.remove_reader(receiver.fileno())


def _peer(client: socket.socket, inode: int) -> Finding:
    peer = None
    with suppress(OSError):
        peer = sock_diag.peer(os.fstat(client.fileno()).st_ino)
    if peer is None:
        return Finding.UNKNOWN
    return Finding.OURS if peer == inode else Finding.STRANGER

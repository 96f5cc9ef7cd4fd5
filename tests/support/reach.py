"""Who answers at a socket's path, asked as ``doctor`` or a worker would: with a probe of the protocol."""

import os
import select
import socket
from pathlib import Path

from resty_metrics.wire.datagram import VERSION, Header, Kind, WireError, read_answer, write_datagram

_FLAGS = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK


def answers(path: Path, seconds: float = 0.5) -> bool:
    """Whether a collector answers a datagram that is sent to the path now."""
    header = Header(VERSION, Kind.PROBE, os.urandom(16), 0, 1, 1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, _FLAGS)
    with ours, theirs, socket.socket(socket.AF_UNIX, _FLAGS) as sender:
        try:
            sender.connect(str(path))
            socket.send_fds(sender, [write_datagram(header, {})], [theirs.fileno()], socket.MSG_NOSIGNAL)
            readable, _, _ = select.select([ours], [], [], seconds)
            return bool(readable) and read_answer(ours.recv(64)).sender == header.sender
        except (OSError, WireError):
            return False

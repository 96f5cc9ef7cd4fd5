"""Netlink messages as bytes: the frame that all families share. Pure; the sockets are elsewhere.

Rules:
- Numbers are in the byte order of the machine; messages and attributes begin at multiples of four bytes.
- Any inconsistent bytes raise NetlinkError; nothing is read past the end of a message.

Source: ``include/uapi/linux/netlink.h``.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

REQUEST = 0x1
DUMP = 0x300
ERROR = 2
DONE = 3
OVERRUN = 4

Reason = Literal["truncated", "malformed"]

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
_ATTRIBUTE_FLAGS = 0xC000


class NetlinkError(Exception):
    """Bytes that are not netlink messages; ``reason`` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"a {reason} netlink message")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type, the sequence number of the request that it answers, and the bytes after the header."""

    kind: int
    sequence: int
    body: bytes


def pack(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Build a message to send; the kernel fills in the port."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """Yield the messages of one datagram. Raises NetlinkError."""
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise NetlinkError("truncated")
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            raise NetlinkError("malformed")
        if length > len(data) - at:
            raise NetlinkError("truncated")
        yield Message(kind, sequence, data[at + _HEADER.size : at + length])
        at += _aligned(length)


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes of a body by type. Raises NetlinkError."""
    by_kind, at = {}, 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise NetlinkError("truncated")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            raise NetlinkError("malformed")
        if length > len(data) - at:
            raise NetlinkError("truncated")
        by_kind[kind & ~_ATTRIBUTE_FLAGS] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return by_kind


def error_number(message: Message) -> int:
    """Return the errno that an ERROR or DONE message carries; 0 for none. Raises NetlinkError."""
    if message.kind == DONE and not message.body:
        return 0
    if len(message.body) < _NUMBER.size:
        raise NetlinkError("truncated")
    number: int = _NUMBER.unpack_from(message.body)[0]
    if number > 0:
        raise NetlinkError("malformed")
    return -number


def _aligned(length: int) -> int:
    return length + 3 & ~3

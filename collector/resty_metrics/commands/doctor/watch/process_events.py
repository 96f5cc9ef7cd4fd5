"""Process events of the kernel's connector, in bytes. Pure.

Rules:
- Only whole processes count: what a thread does is left out.
- Numbers are those of the initial pid namespace.

Source: ``include/uapi/linux/cn_proc.h``, ``include/uapi/linux/connector.h``.
"""

import struct
from dataclasses import dataclass

from resty_metrics.commands.doctor.watch.errors import FormatError
from resty_metrics.kernel.netlink import NetlinkError, messages, pack

GROUP = 1

_DONE = 3
_HEADER = struct.Struct("=IIIIHH")
_EVENT = struct.Struct("=IIQ")
_NUMBER = struct.Struct("=I")
_FORK = struct.Struct("=iiii")
_EXEC = struct.Struct("=ii")
_EXIT = struct.Struct("=iiI")
_PROCESS_EVENTS = (1, 1)
_LISTEN, _IGNORE = 1, 2
_ANSWER, _FORKED, _EXECUTED, _ENDED = 0, 0x1, 0x2, 0x80000000


@dataclass(frozen=True, slots=True)
class Answer:
    """To the request that had this number; ``error`` is an errno, 0 for granted."""

    request: int
    error: int


@dataclass(frozen=True, slots=True)
class Forked:
    parent: int
    child: int


@dataclass(frozen=True, slots=True)
class Executed:
    pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """An exit. ``status`` as wait(2) has it."""

    pid: int
    status: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that the kernel could not keep for us."""


ProcessEvent = Answer | Forked | Executed | Ended | Lost


def pack_request(listen: bool, number: int) -> bytes:
    """Build the request that turns process events on or off."""
    body = _NUMBER.pack(_LISTEN if listen else _IGNORE)
    return pack(_DONE, 0, number, _HEADER.pack(*_PROCESS_EVENTS, 0, number, len(body), 0) + body)


def parse(data: bytes) -> list[ProcessEvent]:
    """Parse the events of one datagram. Raises FormatError."""
    try:
        events = [_event(message.body) for message in messages(data)]
    except NetlinkError as error:
        raise FormatError(error.reason) from error
    except struct.error as error:
        raise FormatError("truncated") from error
    return [event for event in events if event is not None]


def _event(body: bytes) -> ProcessEvent | None:
    index, value, _, answered, _, _ = _HEADER.unpack_from(body)
    if (index, value) != _PROCESS_EVENTS:
        return None
    kind, _, _ = _EVENT.unpack_from(body, _HEADER.size)
    data = body[_HEADER.size + _EVENT.size :]
    if kind == _ANSWER:
        return Answer(answered - 1, _NUMBER.unpack_from(data)[0])
    return _change(kind, data)


def _change(kind: int, data: bytes) -> ProcessEvent | None:
    if kind == _FORKED:
        _, parent, thread, child = _FORK.unpack_from(data)
        return Forked(parent, child) if thread == child else None
    if kind == _EXECUTED:
        return Executed(_EXEC.unpack_from(data)[1])
    if kind == _ENDED:
        thread, pid, status = _EXIT.unpack_from(data)
        return Ended(pid, status) if thread == pid else None
    return None

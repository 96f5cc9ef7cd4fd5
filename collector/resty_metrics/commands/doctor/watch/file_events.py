"""File events of fanotify, in bytes and in words. Pure.

Rules:
- The kernel joins unread events of one process on one name into one, and their order is lost. Whether a file exists now
  mostly shows the order: if it does, its creation came last.
- An event is about a name in a directory; the directory itself is ``.``.

Source: ``fanotify(7)``, ``include/uapi/linux/fanotify.h``.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from resty_metrics.commands.doctor.watch.errors import FormatError

ATTRIBUTES = 0x4
MOVED_AWAY = 0x40
MOVED_HERE = 0x80
CREATED = 0x100
DELETED = 0x200
SELF_DELETED = 0x400
LOST = 0x4000
ON_CHILDREN = 0x08000000
ON_DIRECTORIES = 0x40000000

_VERSION = 3
_EVENT = struct.Struct("=IBBHQii")
_RECORD = struct.Struct("=BBH")
_HANDLE = struct.Struct("=8xIi")
_DIRECTORY_AND_NAME = 2

_APPEARS = ((CREATED, "created"), (MOVED_HERE, "moved_here"))
_VANISHES = ((MOVED_AWAY, "moved_away"), (DELETED, "deleted"))
_CHANGES = ((ATTRIBUTES, "attributes_changed"),)


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An act of a process on a name, in bits of the kernel. ``pid`` is 0 for a process that has none here."""

    mask: int
    pid: int
    name: str


def parse(data: bytes) -> Iterator[FileEvent]:
    """Yield the events of one read. Raises FormatError."""
    at = 0
    while at < len(data):
        if len(data) - at < _EVENT.size:
            raise FormatError("truncated")
        length, version, _, header, mask, _, pid = _EVENT.unpack_from(data, at)
        if version != _VERSION:
            raise FormatError("version")
        if not _EVENT.size <= header <= length:
            raise FormatError("malformed")
        if length > len(data) - at:
            raise FormatError("truncated")
        yield FileEvent(mask, pid, _name(data[at + header : at + length]))
        at += length


def _name(records: bytes) -> str:
    """Return the name in the records that follow an event; empty if there is none."""
    at = 0
    while at < len(records):
        if len(records) - at < _RECORD.size:
            raise FormatError("truncated")
        kind, _, length = _RECORD.unpack_from(records, at)
        if length < _RECORD.size:
            raise FormatError("malformed")
        if length > len(records) - at:
            raise FormatError("truncated")
        if kind == _DIRECTORY_AND_NAME:
            return _name_of(records[at + _RECORD.size : at + length])
        at += length
    return ""


def _name_of(record: bytes) -> str:
    """Return the name behind the file system and the handle of the directory."""
    if len(record) < _HANDLE.size:
        raise FormatError("truncated")
    size, _ = _HANDLE.unpack_from(record)
    if size > len(record) - _HANDLE.size:
        raise FormatError("truncated")
    name = record[_HANDLE.size + size :].partition(b"\0")[0]
    return name.decode("utf-8", "surrogateescape")


def actions(mask: int, exists: bool) -> tuple[str, ...]:
    """Return the actions in the order that leads to the present state."""
    order = (*_VANISHES, *_APPEARS, *_CHANGES) if exists else (*_APPEARS, *_CHANGES, *_VANISHES)
    return tuple(word for bit, word in order if mask & bit)


def leaves(actions: tuple[str, ...]) -> bool:
    """Return whether these actions leave a file at the path."""
    return actions[-1] not in [word for _, word in _VANISHES]

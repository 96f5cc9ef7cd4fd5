"""fanotify events, from bytes that a kernel sent (Linux 6.18, little-endian), and what they are called."""

import struct
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resty_metrics.commands.doctor.watch.errors import FormatError
from resty_metrics.commands.doctor.watch.file_events import (
    ATTRIBUTES,
    CREATED,
    DELETED,
    LOST,
    MOVED_AWAY,
    MOVED_HERE,
    FileEvent,
    actions,
    leaves,
    parse,
)

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes were captured on such a machine")

HANDLE = bytes(8) + struct.pack("=Ii", 8, 1) + bytes(range(8))


def record(name: bytes, kind: int = 2) -> bytes:
    data = HANDLE + name + bytes(-len(HANDLE + name) % 4 or 4)
    return struct.pack("=BBH", kind, 0, 4 + len(data)) + data


def event(mask: int, records: bytes = b"", version: int = 3) -> bytes:
    return struct.pack("=IBBHQii", 24 + len(records), version, 0, 24, mask, -1, 77) + records


def test_events_with_names() -> None:
    data = event(CREATED | DELETED, record(b"c.sock")) + event(ATTRIBUTES, record(b"."))
    assert list(parse(data)) == [FileEvent(0x300, 77, "c.sock"), FileEvent(4, 77, ".")]


def test_an_event_without_a_name() -> None:
    assert list(parse(event(LOST))) == [FileEvent(LOST, 77, "")]
    assert list(parse(event(CREATED, record(b"", kind=1)))) == [FileEvent(CREATED, 77, "")]


def test_a_name_of_any_bytes() -> None:
    assert next(parse(event(CREATED, record(b"\xff\n")))).name == "\udcff\n"


WHOLE = event(CREATED, record(b"c.sock"))
TORN = [
    ("half a header", WHOLE[:23], "truncated"),
    ("half a record", WHOLE[:-1], "truncated"),
    ("another version", event(CREATED, version=4), "version"),
    ("a header of nothing", WHOLE[:6] + b"\0\0" + WHOLE[8:], "malformed"),
    ("a header beyond the event", WHOLE[:6] + b"\xff\xff" + WHOLE[8:], "malformed"),
    ("a record of nothing", event(CREATED, bytes(8)), "malformed"),
    ("a record beyond the event", event(CREATED, b"\2\0\xff\xff" + bytes(8)), "truncated"),
    ("half a record's header", event(CREATED, b"\2\0"), "truncated"),
    ("no room for the handle", event(CREATED, b"\2\0\x08\0" + bytes(4)), "truncated"),
    ("a handle beyond the record", event(CREATED, struct.pack("=BBH8xIi", 2, 0, 20, 9, 1)), "truncated"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in TORN], ids=[case[0] for case in TORN])
def test_torn_events(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError) as refused:
        list(parse(data))
    assert refused.value.reason == reason


@given(st.binary(max_size=100))
def test_any_bytes_are_events_or_an_error(data: bytes) -> None:
    for whole in (data, event(CREATED, data)):
        with suppress(FormatError):
            list(parse(whole))


ACTIONS = [
    (CREATED, True, ("created",), True),
    (DELETED | CREATED, True, ("deleted", "created"), True),
    (DELETED | CREATED, False, ("created", "deleted"), False),
    (DELETED, True, ("deleted",), False),
    (CREATED | ATTRIBUTES | MOVED_AWAY, False, ("created", "attributes_changed", "moved_away"), False),
    (MOVED_AWAY | MOVED_HERE, True, ("moved_away", "moved_here"), True),
    (ATTRIBUTES, True, ("attributes_changed",), True),
]


@pytest.mark.parametrize(("mask", "exists", "words", "left"), ACTIONS)
def test_what_was_done_ends_in_what_is_there(mask: int, exists: bool, words: tuple[str, ...], left: bool) -> None:
    assert actions(mask, exists) == words
    assert leaves(words) is left

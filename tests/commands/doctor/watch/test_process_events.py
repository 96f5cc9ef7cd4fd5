"""Process events, from bytes that a kernel sent (Linux 6.18, little-endian)."""

import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resty_metrics.commands.doctor.watch.errors import FormatError
from resty_metrics.commands.doctor.watch.process_events import (
    Answer,
    Ended,
    Executed,
    Forked,
    ProcessEvent,
    pack_request,
    parse,
)

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes were captured on such a machine")

NETLINK = bytes.fromhex("4c000000030000000000000000000000")
CONNECTOR = bytes.fromhex("0100000001000000000000000000000028000000")
ANSWERED = bytes.fromhex("0100000001000000000000000600000028000000")


def datagram(event: str, connector: bytes = CONNECTOR) -> bytes:
    return NETLINK + connector + bytes.fromhex(event) + bytes(40 - len(event) // 2)


EVENTS: list[tuple[str, bytes, list[ProcessEvent]]] = [
    ("granted", datagram("00000000010000003cb7b7af5501000000000000", ANSWERED), [Answer(5, 0)]),
    ("refused", datagram("00000000010000003cb7b7af5501000001000000", ANSWERED), [Answer(5, 1)]),
    (
        "a fork",
        datagram("01000000010000002621edaf550100006b0400006b0400009604000096040000"),
        [Forked(0x46B, 0x496)],
    ),
    ("a thread", datagram("01000000010000002621edaf550100006b0400006b040000970400006b040000"), []),
    ("an exec", datagram("0200000000000000182735b0550100009604000096040000"), [Executed(0x496)]),
    (
        "an end",
        datagram("0000008000000000b0e73db055010000960400009604000000010000110000006b0400006b040000"),
        [Ended(0x496, 256)],
    ),
    ("the end of a thread", datagram("0000008000000000b0e73db0550100009704000096040000"), []),
    ("a change of user", datagram("0400000000000000182735b0550100009604000096040000"), []),
    ("of another connector", datagram("0200000000000000182735b055010000", bytes([9]) + CONNECTOR[1:]), []),
    ("nothing", b"", []),
]


@pytest.mark.parametrize(("data", "expected"), [case[1:] for case in EVENTS], ids=[case[0] for case in EVENTS])
def test_events(data: bytes, expected: list[ProcessEvent]) -> None:
    assert parse(data) == expected


def test_a_request() -> None:
    assert pack_request(listen=True, number=7).hex() == (
        "28000000030000000700000000000000010000000100000000000000070000000400000001000000"
    )
    assert pack_request(listen=False, number=7).endswith(b"\2\0\0\0")


@pytest.mark.parametrize("size", [17, 35, 40, 51, 55])
def test_torn_events(size: int) -> None:
    data = EVENTS[2][1]
    for torn in (data[:size], size.to_bytes(4, sys.byteorder) + data[4:size]):
        with pytest.raises(FormatError):
            parse(torn)


@given(st.binary(max_size=60))
def test_any_bytes_are_events_or_an_error(data: bytes) -> None:
    for whole in (data, (16 + len(data)).to_bytes(4, sys.byteorder) + NETLINK[4:] + data):
        with suppress(FormatError):
            parse(whole)

"""Netlink frames: what the kernel sends is read, what it cannot have sent is a NetlinkError and nothing else."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resty_metrics.kernel.netlink import (
    DONE,
    ERROR,
    Message,
    NetlinkError,
    attributes,
    error_number,
    messages,
    pack,
)

NOT_FOUND = bytes.fromhex(
    "3c000000020000000100000067710000"
    "feffffff2800000014000100010000000000000001000000ffffffff0100000007000000ffffffffffffffff"
)


def test_a_message_is_read_as_it_was_packed() -> None:
    assert list(messages(pack(20, 1, 7, b"body"))) == [Message(20, 7, b"body")]


def test_messages_begin_at_multiples_of_four() -> None:
    data = pack(20, 1, 1, b"abcde") + bytes(3) + pack(3, 0, 2, b"")
    assert [(message.kind, message.body) for message in messages(data)] == [(20, b"abcde"), (3, b"")]


def test_an_error_of_the_kernel() -> None:
    (message,) = messages(NOT_FOUND)
    assert message.kind == ERROR
    assert error_number(message) == 2


TORN = [
    ("half a header", pack(20, 0, 1, b"")[:15], "truncated"),
    ("half a body", pack(20, 0, 1, b"12345678")[:20], "truncated"),
    ("a length below the header", b"\x0f\0\0\0" + bytes(12), "malformed"),
    ("a length of nothing", bytes(16), "malformed"),
    ("a length beyond the end", b"\xff\xff\xff\xff" + bytes(12), "truncated"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in TORN], ids=[case[0] for case in TORN])
def test_torn_messages(data: bytes, reason: str) -> None:
    with pytest.raises(NetlinkError) as refused:
        list(messages(data))
    assert refused.value.reason == reason


def test_attributes_by_type_without_their_flags() -> None:
    assert attributes(bytes.fromhex("05000180610000000400ff3f")) == {1: b"a", 0x3FFF: b""}


@pytest.mark.parametrize("data", ["05", "0500", "0300010000", "ffff010000", "0500010061000000ff"])
def test_torn_attributes(data: str) -> None:
    with pytest.raises(NetlinkError):
        attributes(bytes.fromhex(data))


ENDS = [
    ("a plain end", DONE, b"", 0),
    ("an end with a number", DONE, bytes(4), 0),
    ("no rights", ERROR, b"\xff" * 4, 1),
]


@pytest.mark.parametrize(("kind", "body", "number"), [case[1:] for case in ENDS], ids=[case[0] for case in ENDS])
def test_how_an_answer_ends(kind: int, body: bytes, number: int) -> None:
    assert error_number(Message(kind, 1, body)) == number


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff", b"\1\0\0\0"])
def test_an_error_that_is_none(body: bytes) -> None:
    with pytest.raises(NetlinkError):
        error_number(Message(ERROR, 1, body))


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_an_error(data: bytes) -> None:
    with suppress(NetlinkError):
        list(messages(data))
    with suppress(NetlinkError):
        attributes(data)

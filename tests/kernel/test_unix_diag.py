"""Answers about Unix sockets, from bytes that a kernel sent (Linux 6.18, little-endian)."""

import os
import sys
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resty_metrics.kernel.netlink import NetlinkError
from resty_metrics.kernel.unix_diag import UnixSocket, pack_request, parse, same_file, user_device

BOUND = bytes.fromhex(
    "01020100c5a603000f000000000000000d0000002f746d702f6b2e73000000000c00010022c020000000e00f0500060000000000"
)
CONNECTED = bytes.fromhex("01020100c6a603001000000000000000080000000061627308000200c5a603000500060000000000")
little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes were captured on such a machine")


@little_endian
def test_a_bound_socket() -> None:
    assert parse(BOUND) == UnixSocket(239301, 2, "/tmp/k.s", (os.makedev(254, 0), 2146338), None)


@little_endian
def test_a_connected_socket_with_an_abstract_name() -> None:
    assert parse(CONNECTED) == UnixSocket(239302, 2, "\0abs", None, 239301)


@little_endian
def test_a_request() -> None:
    assert pack_request(0x7, 0x10203).hex() == "01000000ffffffff0302010007000000ffffffffffffffff"


@little_endian
@pytest.mark.parametrize("cut", [0, 15, 17, 19, 28, 33, 38, 45, 48])
def test_an_answer_that_is_cut(cut: int) -> None:
    with pytest.raises(NetlinkError):
        parse(BOUND[:cut])


HOSTILE = [
    ("another family", b"\2" + BOUND[1:]),
    ("half a file", BOUND[:16] + bytes.fromhex("0800010022c02000")),
    ("half a peer", BOUND[:16] + bytes.fromhex("0600020022c00000")),
]


@pytest.mark.parametrize("body", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
def test_an_answer_that_makes_no_sense(body: bytes) -> None:
    with pytest.raises(NetlinkError):
        parse(body)


@given(st.binary(max_size=64))
def test_any_attributes_are_a_socket_or_an_error(data: bytes) -> None:
    with suppress(NetlinkError):
        parse(BOUND[:16] + data)


@pytest.mark.parametrize("name", [b"", b"\0"])
def test_a_peer_of_zero_and_an_empty_name_are_nothing(name: bytes) -> None:
    body = BOUND[:16] + bytes.fromhex("0800020000000000")
    body += (4 + len(name)).to_bytes(2, sys.byteorder) + bytes(2) + name
    assert parse(body).peer is None


def test_a_name_that_is_no_text_keeps_its_bytes() -> None:
    body = BOUND[:16] + (4 + 4).to_bytes(2, sys.byteorder) + bytes(2) + b"/\xff\xfe\0"
    assert os.fsencode(parse(body).name or "") == b"/\xff\xfe"


DEVICES = [(0, 0), (0, 25), (8, 1), (254, 0), (253, 255), (253, 256), (259, 1048575), (4095, 1048575)]


@pytest.mark.parametrize(("major", "minor"), DEVICES)
def test_a_device_is_as_stat_has_it(major: int, minor: int) -> None:
    assert user_device(major << 20 | minor) == os.makedev(major, minor)


def test_a_file_with_a_long_inode_is_compared_by_what_the_kernel_gives() -> None:
    sock = UnixSocket(1, 2, None, (7, 5), None)
    assert same_file(sock, 7, 1 << 32 | 5)
    assert not same_file(sock, 8, 5)
    assert not same_file(UnixSocket(1, 2, None, None, None), 7, 5)

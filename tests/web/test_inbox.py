"""The heads of requests, cut where they end, whatever the pieces that they come in."""

import pytest
from resty_metrics.web.inbox import MOST_HEAD_BYTES, Inbox

FIRST = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
SECOND = b"GET /b HTTP/1.1\r\nHost: y\r\nX: z\r\n\r\n"
# what comes, and the heads in it with what is left behind them
CUTS = [
    (FIRST, [FIRST], b""),
    (FIRST + SECOND, [FIRST, SECOND], b""),
    (FIRST + SECOND[:-1], [FIRST], SECOND[:-1]),
    (b"\r\n\n\r\n" + FIRST + b"\r\n" + SECOND, [FIRST, SECOND], b""),
    (b"\r\n\r\n\r\n", [], b""),
    (b"GET / HTTP/1.1\n\nGET / HTTP/1.1\n\n", [], b"GET / HTTP/1.1\n\nGET / HTTP/1.1\n\n"),
    (b"\x16\x03\x01", [], b"\x16\x03\x01"),
    (b"GET / HTTP/1.1\r\n\r\r\n\r\n" + FIRST, [b"GET / HTTP/1.1\r\n\r\r\n\r\n", FIRST], b""),
]


def cut(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    """Return the heads that are handed out, and what of one that has no end."""
    inbox, heads, part = Inbox(), [], b""
    for piece in pieces:
        inbox.feed(piece)
        while handed_out := inbox.take():
            part += handed_out
            if inbox.whole:
                assert inbox.take() == b""
                heads.append(part)
                part = b""
                inbox.clear()
    assert inbox.size == len(part)
    return heads, part


@pytest.mark.parametrize(("sent", "heads", "rest"), CUTS, ids=range(len(CUTS)))
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 1000])
def test_heads_are_cut_where_they_end(sent: bytes, heads: list[bytes], rest: bytes, size: int) -> None:
    assert cut([sent[start : start + size] for start in range(0, len(sent), size)]) == (heads, rest)


@pytest.mark.parametrize("size", [1, 4096, 100_000])
def test_a_head_that_is_too_large_is_refused_by_the_parser_and_forgotten(size: int) -> None:
    inbox, handed_out = Inbox(), b""
    sent = b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_HEAD_BYTES
    for start in range(0, len(sent), size):
        inbox.feed(sent[start : start + size])
        handed_out += inbox.take()
    assert inbox.too_large
    assert handed_out.endswith(b"\0")
    assert len(handed_out) <= MOST_HEAD_BYTES + 1
    assert inbox.size <= MOST_HEAD_BYTES + size


def test_a_head_of_the_largest_size_is_one() -> None:
    head = b"GET / HTTP/1.1\r\n" + b"x" * (MOST_HEAD_BYTES - 20) + b"\r\n\r\n"
    assert len(head) == MOST_HEAD_BYTES
    assert cut([head + FIRST]) == ([head, FIRST], b"")

"""The socket to the collector: a path that no address can hold is refused, wherever it comes from."""

import pytest
from support.luajit import ask

LONGEST = "/tmp/" + "x" * 102


@pytest.mark.parametrize("first", ["/tmp/short", LONGEST + "x"])
def test_a_path_that_is_too_long_is_not_connected_to(first: str) -> None:
    (result,) = ask(["connect", first, "/tmp/" + "x" * 200])
    assert result[1] == b"setup"
    assert result[2] == b"a socket's path has at most 107 bytes, this one has 205: /tmp/" + b"x" * 200


def test_the_longest_path_is_tried() -> None:
    (result,) = ask(["connect", LONGEST, LONGEST])
    assert result[:2] == [b"ENOENT", b"ENOENT"]

"""Buckets as they stand in nginx's configuration."""

import pytest
from support.luajit import ask

READ = [
    ("1", [1000]),
    ("0.005 0.01 10", [5, 10, 10000]),
    ("  0.001\t0.002  ", [1, 2]),
    ("0.1 0.25 0.5", [100, 250, 500]),
    (" ".join(str(n) for n in range(1, 65)), [n * 1000 for n in range(1, 65)]),
]
REFUSED = ["", "  ", "fast", "1 2 x", "2 1", "1 1", "0.0001 0.0002", "0", "-1", "nan", "inf", "1e99", "0.0001"]


@pytest.mark.parametrize(("text", "bounds"), READ)
def test_are_read_as_milliseconds(text: str, bounds: list[int]) -> None:
    assert ask(["bounds", text]) == [[bounds, False]]


@pytest.mark.parametrize("text", REFUSED)
def test_are_refused_with_what_to_do(text: str) -> None:
    ((bounds, reason),) = ask(["bounds", text])
    assert bounds is False
    assert b"bucket" in reason

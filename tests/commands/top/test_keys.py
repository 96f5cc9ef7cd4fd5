"""What is typed, and what it does."""

import pytest
from resty_metrics.commands.top import keys
from resty_metrics.commands.top.keys import State

TYPED = [
    ("q", ["quit"]),
    ("\x1b[A\x1bOB", ["up", "down"]),
    ("\x1b[5~\x1b[6~", ["page up", "page down"]),
    ("3\x1b[C r", ["3", ">", "pause", "reverse"]),
    ("\x1b[Z\t", ["previous", "next"]),
    ("?", ["help"]),
    ("\x1b[1;5Azü\x1bx\x1b", []),
]


@pytest.mark.parametrize(("typed", "expected"), TYPED)
def test_read(typed: str, expected: list[str]) -> None:
    assert list(keys.read(typed)) == expected


ROWS, HEIGHT = 100, 10
PRESSED = [
    ("down", State(), State(top=1)),
    ("up", State(), State()),
    ("page down", State(top=85), State(top=90)),
    ("up", State(top=5000), State(top=89)),
    ("end", State(), State(top=90)),
    ("home", State(top=90), State()),
    (">", State(top=7, reverse=True), State(sort="4xx")),
    ("<", State(), State(sort="server")),
    ("2", State(sort="5xx", top=3, reverse=True), State(view="upstreams")),
    ("1", State(sort="5xx", top=3), State(sort="5xx", top=3)),
    ("previous", State(), State(view="workers")),
    ("next", State(view="workers"), State()),
    ("reverse", State(top=3), State(reverse=True)),
    ("pause", State(), State(paused=True)),
    ("pause", State(paused=True), State()),
    ("quit", State(), State(quit=True)),
    ("help", State(top=3), State(top=3, help=True)),
    ("help", State(top=3, help=True), State(top=3)),
    ("up", State(top=3, help=True), State(top=3)),
    ("2", State(help=True), State(view="upstreams")),
    ("quit", State(help=True), State(quit=True)),
]


@pytest.mark.parametrize(("key", "before", "after"), PRESSED)
def test_pressed(key: str, before: State, after: State) -> None:
    assert keys.pressed(before, key, "rate", ROWS, HEIGHT) == after


def test_from_the_last_column_to_the_first() -> None:
    assert keys.pressed(State(sort="out"), ">", "out", ROWS, HEIGHT) == State(sort="server")


def test_nothing_is_shown_yet() -> None:
    """Before the first page there is no column to sort by."""
    for key in ("<", ">", "end", "page down"):
        assert keys.pressed(State(), key, None, 0, 0).top == 0

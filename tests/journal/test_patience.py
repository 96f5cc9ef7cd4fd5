"""When to try again to write a journal."""

import pytest
from resty_metrics.journal.patience import FIRST_SECONDS, MOST_SECONDS, QUIET_SECONDS, Patience

pytestmark = pytest.mark.slow


def waits(patience: Patience, now: float, times: int) -> list[float]:
    """How long it waits after each failure, where each attempt fails as soon as it is due."""
    pauses = []
    for _ in range(times):
        patience.fail(now)
        wait = 0.0
        while not patience.due(now + wait):
            wait += FIRST_SECONDS
        pauses.append(wait)
        now += wait
    return pauses


def test_an_attempt_is_due_before_any_failure() -> None:
    assert Patience().due(0.0)


def test_it_doubles_up_to_the_most() -> None:
    assert waits(Patience(), 5.0, 9) == [0, 1, 2, 4, 8, 16, 32, MOST_SECONDS, MOST_SECONDS]


def test_what_was_written_for_long_begins_anew() -> None:
    patience = Patience()
    waits(patience, 0.0, 9)
    assert waits(patience, 10_000.0, 3) == [0, 1, 2]


def test_what_was_written_for_a_moment_does_not() -> None:
    patience, now = Patience(), 0.0
    for expected in (0, 1, 2, 4):
        patience.fail(now)
        assert patience.due(now + expected)
        assert expected == 0 or not patience.due(now + expected - 0.1)
        now += expected + QUIET_SECONDS / 2

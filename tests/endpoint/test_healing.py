"""When the socket is healed, and when it is said that somebody keeps coming back."""

import pytest
from resty_metrics.endpoint.healing import BACKOFF_MOST, QUIET_SECONDS, Contention


def healed(contention: Contention, *moments: float) -> None:
    for now in moments:
        assert contention.due(now)
        contention.tried(now)
        contention.healed()


@pytest.mark.parametrize("moments", [(), (0,), (0, 3), (0, 20, 23), (0, 3, 30, 33)])
def test_one_or_two_within_seconds_may_be_a_hand(moments: tuple[float, ...]) -> None:
    contention = Contention()
    healed(contention, *moments)
    assert not contention.contended(moments[-1] if moments else 0)


def test_the_third_in_a_row_is_contention_until_it_is_quiet() -> None:
    contention = Contention()
    healed(contention, 0, 3, 6)
    assert (contention.contended(6), contention.healings) == (True, 3)
    assert contention.contended(6 + QUIET_SECONDS)
    assert not contention.contended(6 + QUIET_SECONDS + BACKOFF_MOST)
    healed(contention, 60)
    assert (contention.contended(60), contention.healings) == (False, 1)


def test_what_cannot_be_put_right_is_not_contended_when_it_can() -> None:
    contention = Contention()
    now = 0.0
    for _ in range(6):
        now += BACKOFF_MOST
        contention.tried(now)
    healed(contention, now + BACKOFF_MOST)
    assert not contention.contended(now + BACKOFF_MOST)


def test_the_first_two_at_once_then_slower_and_slower() -> None:
    """One who is back at once: the moments at which it is healed."""
    contention, moments, now = Contention(), [], 0.0
    while now < 20:
        if contention.due(now):
            healed(contention, now)
            moments.append(now)
        now += 0.5
    assert moments == [0.0, 0.5, 1.5, 3.5, 7.5, 12.5, 17.5]


def test_the_wait_stays_bounded() -> None:
    contention = Contention()
    healed(contention, *(number * BACKOFF_MOST for number in range(2000)))
    assert contention.due(2000 * BACKOFF_MOST)

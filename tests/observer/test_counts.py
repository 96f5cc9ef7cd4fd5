"""Events of the last minutes."""

from resty_metrics.observer.counts import SPAN_SECONDS, STEP_SECONDS, Counts, Growth, Kind

Key = tuple[Kind, str, str]
LOST: Key = ("lost", "", "dropped")


def test_only_growth_counts_and_only_of_the_window() -> None:
    growth = Growth()
    uid: Key = ("refused", "", "uid")
    version: Key = ("refused", "", "version")
    samples: list[tuple[float, Counts]] = [
        (0.0, {uid: 100, LOST: 7}),
        (10.0, {uid: 103, LOST: 7}),
        (400.0, {uid: 104, version: 2, LOST: 7}),
    ]
    for now, counts in samples:
        growth.observe(counts, now)
    assert growth.over("refused", 600, 400.0) == {("", "uid"): 4, ("", "version"): 2}
    assert growth.over("refused", 300, 400.0) == {("", "version"): 2, ("", "uid"): 1}
    assert growth.over("lost", 600, 400.0) == {}
    assert growth.over("refused", 600, 2000.0) == {}


def test_nothing_seen_is_nothing_grown() -> None:
    assert Growth().over("lost", 600, 0.0) == {}


def test_a_counter_that_began_anew_did_not_grow() -> None:
    growth = Growth()
    growth.observe({LOST: 9}, 0.0)
    growth.observe({LOST: 2}, 5.0)
    assert growth.over("lost", 600, 5.0) == {}


def test_samples_are_kept_for_a_span() -> None:
    growth = Growth()
    for now in range(3600):
        growth.observe({LOST: now}, float(now))
    assert SPAN_SECONDS <= growth.over("lost", 10 * SPAN_SECONDS, 3599.0)["", "dropped"] <= SPAN_SECONDS + 10


def test_a_counter_that_always_grows_takes_few_samples() -> None:
    """A window is then as exact as a step."""
    growth = Growth()
    for now in range(600):
        growth.observe({LOST: now}, float(now))
    assert len(growth._samples) <= 600 / (STEP_SECONDS - 1) + 2
    assert 30 <= growth.over("lost", 30, 599.0)["", "dropped"] <= 30 + STEP_SECONDS


def test_a_long_step_takes_few_samples_and_ends_nothing_early() -> None:
    growth = Growth(step=60.0)
    for now in range(0, 1800, 5):
        growth.observe({LOST: now}, float(now))
        assert now < 600 or 600 <= growth.over("lost", 600, float(now))["", "dropped"] <= 660
    assert len(growth._samples) <= 14


def test_growth_of_a_moment_is_not_that_of_the_next() -> None:
    growth = Growth()
    growth.observe({}, 0.0)
    for count in (1, 2):
        growth.observe({LOST: count, ("uid", "", "7"): 2 * count}, 1.0)
        assert growth.over("lost", 30, 1.0) == {("", "dropped"): count}
        assert growth.over("uid", 30, 1.0) == {("", "7"): 2 * count}
    assert growth.over("lost", 30, 40.0) == {}

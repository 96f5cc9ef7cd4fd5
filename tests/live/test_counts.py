"""What grew lately."""

from resty_metrics.live.counts import SPAN_SECONDS, Counts, Growth


def test_only_growth_counts_and_only_of_the_window() -> None:
    growth = Growth()
    samples: list[tuple[float, Counts]] = [
        (0.0, {("refused", "uid"): 100, ("lost", "dropped"): 7}),
        (10.0, {("refused", "uid"): 103, ("lost", "dropped"): 7}),
        (400.0, {("refused", "uid"): 104, ("refused", "version"): 2, ("lost", "dropped"): 7}),
    ]
    for now, counts in samples:
        growth.observe(counts, now)
    assert growth.over("refused", 600, 400.0) == {"uid": 4, "version": 2}
    assert growth.over("refused", 300, 400.0) == {"version": 2, "uid": 1}
    assert growth.over("lost", 600, 400.0) == {}
    assert growth.over("refused", 600, 2000.0) == {}


def test_nothing_seen_is_nothing_grown() -> None:
    assert Growth().over("lost", 600, 0.0) == {}


def test_a_counter_that_began_anew_did_not_grow() -> None:
    growth = Growth()
    growth.observe({("lost", "dropped"): 9}, 0.0)
    growth.observe({("lost", "dropped"): 2}, 5.0)
    assert growth.over("lost", 600, 5.0) == {}


def test_samples_are_kept_for_a_span() -> None:
    growth = Growth()
    for now in range(0, 3600, 5):
        growth.observe({("lost", "dropped"): now}, float(now))
    assert growth.over("lost", 10 * SPAN_SECONDS, 3595.0)["dropped"] <= SPAN_SECONDS + 10

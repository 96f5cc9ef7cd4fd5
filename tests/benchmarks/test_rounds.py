"""The arithmetic of the benchmarks: each measurement beside the reference nearest in time."""

import json
from functools import partial

import pytest

from benchmarks.figures import Figure, Reach, document, markdown, short, table
from benchmarks.rounds import Spread, exponent, measure, order, series, spread


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, "r a r b r"), (1, "r b r a r"), (2, "r a r b r")],
)
def test_the_reference_stands_before_and_after_each_of_the_others(number: int, expected: str) -> None:
    assert order(("r", "a", "b"), "r", number) == expected.split()


def test_a_machine_that_gets_slower_does_not_look_like_a_slower_subject() -> None:
    """Each takes half as long again as the reference, while the machine slows down to a third of its speed."""
    slowness = iter(range(10, 31))
    costs = {"r": 1.0, "a": 1.5}

    def work(name: str) -> float:
        return costs[name] * next(slowness)

    measured = measure({name: partial(work, name) for name in costs}, "r", 5, lambda _: None)
    assert measured["a"].ratio.middle == pytest.approx(1.5)
    assert measured["a"].ratio.low == pytest.approx(1.5)


def test_who_has_a_reference_on_one_side_only_is_held_against_that() -> None:
    by_name = series([("a", 3.0), ("r", 1.0), ("b", 2.0), ("r", 2.0)], "r")
    assert (by_name["a"].references, by_name["b"].references) == ([1.0], [1.5])
    assert by_name["a"].above == Spread(2.0, 2.0, 2.0)


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5, 1, 3, 2, 4]) == Spread(2, 3, 4)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_an_exponent_is_found_again(power: float) -> None:
    sizes = [10, 100, 1000]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def figure(value: float, reach: Reach | None) -> Figure:
    return Figure("page", "all", "us", Spread(1, value, 3), 9, ("client", 8, Spread(0.2, 0.25, 0.3)), reach)


@pytest.mark.parametrize(
    ("value", "reach", "reached"),
    [(2, Reach(2), True), (2.1, Reach(2), False), (2, Reach(2, least=True), True), (1, Reach(2, least=True), False)],
)
def test_a_number_is_reached_or_not(value: float, reach: Reach, reached: bool) -> None:
    (written,) = json.loads(document({}, [figure(value, reach)]))["figures"]
    assert written["reached"] is reached
    assert ("yes" if reached else "NO") in table([figure(value, reach)])


def test_a_table_and_its_json_say_the_same() -> None:
    (written,) = json.loads(document({}, [figure(2, None)]))["figures"]
    assert (written["value"], written["quartiles"], written["ratio"]) == (2, [1, 3], 0.25)
    assert written["reference"] == {"what": "client", "value": 8}
    head, line = table([figure(2, None)]).splitlines()
    assert line.split() == ["all", "2.00", "us", "1.00", "..", "3.00", "client", "8.00", "0.25"]
    assert head.startswith("what")
    assert markdown([figure(2, None)]).splitlines()[2] == "| all | 2.00 | us | 1.00 .. 3.00 | client | 8.00 | 0.25 |  |"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (412345.6, "412,346")]
)
def test_a_number_is_short(value: float, text: str) -> None:
    assert short(value) == text

"""Packed numbers against plain lists of them."""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.shapes.sums import MAX_COUNT, guard, pack, reader, split, sums_of, total
from resty_metrics.table.families import Family
from resty_metrics.table.rows import Creation
from support.effort import examples

WIDTH = 4
EDGES = [0, 1, 2**31, MAX_COUNT - 1, MAX_COUNT, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**80, -1]
COUNTS = st.integers(0, MAX_COUNT) | st.sampled_from([edge for edge in EDGES if 0 <= edge <= MAX_COUNT])
NUMBERS = COUNTS | st.sampled_from(EDGES) | st.floats(allow_nan=False)
SHAPE = Shape("h", "histogram", ("l",), (1, 2), ("sum",))


@pytest.mark.parametrize("count", [True, False, 1.0, -1, MAX_COUNT + 1, 2**64, "1", None])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_count_is_not_packed(count: Any, place: int) -> None:
    counts = [0, MAX_COUNT, 7]
    assert pack(counts) is not None
    assert pack([*counts[:place], count, *counts[place:]]) is None


def test_no_counts_are_no_rows() -> None:
    assert split(pack([]) or b"", WIDTH) == []


@given(st.lists(st.lists(COUNTS, min_size=WIDTH, max_size=WIDTH), max_size=5))
def test_rows_are_split_as_they_were_packed(rows: list[list[int]]) -> None:
    lanes = pack([count for row in rows for count in row])
    assert lanes is not None
    assert [list(reader(WIDTH)(packed)) for packed in split(lanes, WIDTH)] == rows


@given(st.lists(NUMBERS, min_size=1, max_size=WIDTH))
def test_numbers_stay_what_they_were(numbers: list[float]) -> None:
    kept = reader(len(numbers))(sums_of(numbers))
    assert [(number, type(number)) for number in kept] == [(number, type(number)) for number in numbers]


@pytest.mark.parametrize("number", EDGES)
def test_only_what_leaves_its_highest_bit_free_is_packed(number: int) -> None:
    assert isinstance(sums_of([number, 0]), int) == (0 <= number < 2**63)


def test_the_guard_has_the_highest_bit_of_each_lane() -> None:
    assert reader(WIDTH)(guard(WIDTH)) == (2**63,) * WIDTH


def merged(batches: Sequence[Sequence[float]], start: Sequence[float]) -> tuple[float, ...]:
    """The numbers of a row that had ``start`` and got these, packed wherever they can be."""
    family = Family(SHAPE, Creation())
    family.merge(family_batch(SHAPE, "", False, [("x", *[0] * WIDTH)]), 1, 0.0)
    family.rows[0].sums = sums_of(start)
    for deltas in batches:
        family.merge(family_batch(SHAPE, "", False, [("x", *deltas)]), 1, 0.0)
    return tuple(family.rows[0].numbers)


DELTAS = st.lists(COUNTS, min_size=WIDTH, max_size=WIDTH) | st.lists(
    COUNTS | st.floats(0, 1e9), min_size=WIDTH, max_size=WIDTH
)


@given(st.lists(DELTAS, max_size=6), st.lists(NUMBERS, min_size=WIDTH, max_size=WIDTH))
@settings(max_examples=examples(500))
def test_a_row_adds_up_as_a_list_would(batches: list[list[float]], start: list[float]) -> None:
    expected = start
    for deltas in batches:
        expected = [*map(add, expected, deltas)]
    sums = merged(batches, start)
    assert [(number, type(number)) for number in sums] == [(number, type(number)) for number in expected]


@given(st.lists(st.lists(NUMBERS, min_size=WIDTH, max_size=WIDTH), max_size=6))
def test_rows_together_are_what_lists_would_be(rows: list[list[float]]) -> None:
    sums = reader(WIDTH)(total(map(sums_of, rows), WIDTH))
    assert sums == reduce(lambda left, right: tuple(map(add, left, right)), rows, (0,) * WIDTH)


def test_a_sum_that_outgrows_its_lane_goes_on() -> None:
    times = 2**10 + 3
    most = MAX_COUNT * times
    assert most > 2**63
    assert merged([[MAX_COUNT, 1, 0, MAX_COUNT]] * times, [0] * WIDTH) == (most, times, 0, most)

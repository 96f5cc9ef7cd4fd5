"""A family that changes its shape, step by step: what a page shows meanwhile, and what a bug on the way costs."""

from itertools import count

import pytest
from resty_metrics.page.requests import render
from resty_metrics.shapes.shape import HISTOGRAM_COLUMNS, Conversion, FamilyBatch, Shape, family_batch
from resty_metrics.shapes.sums import Numbers
from resty_metrics.table import moving, overflow
from resty_metrics.table.table import Table

ROWS = 2_000
OLD = Shape("h_seconds", "histogram", ("tenant", "path"), (1.0, 2.0, 3.0), HISTOGRAM_COLUMNS, custom=True)
NEW = Shape("h_seconds", "histogram", ("tenant",), (2.0, 4.0), HISTOGRAM_COLUMNS, custom=True)


def batch(shape: Shape, *rows: tuple[object, ...], reset: bool = False) -> FamilyBatch:
    return family_batch(shape, "", False, rows, reset)


def filled() -> Table:
    """A family of ROWS rows, two of each tenant; its text is kept."""
    table = Table()
    rows = [(str(number // 2), str(number), 1, 0, 2, 3, 0.5 * number) for number in range(ROWS)]
    table.merge([batch(OLD, *rows)], 1, 0.0)
    render(table)
    return table


def page(table: Table) -> list[bytes]:
    return [b"".join(family.lines) for family in render(table)]


def test_a_page_shows_one_shape_or_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two steps the family is as it was before, and no step moves more than its share."""
    monkeypatch.setattr(moving, "STEP_NUMBERS", 1_000)
    moves = [batch(NEW, ("0", 1, 1, 1, 9))]
    table, at_once = filled(), filled()
    before = page(table)
    at_once.merge(moves, 2, 1.0)
    pages = [page(table) for _ in table.merge_in_steps(moves, 2, 1.0)]
    assert len(pages) > ROWS * OLD.width // moving.STEP_NUMBERS
    assert pages == [before] * (len(pages) - 1) + [page(at_once)]
    (family,) = table.families.values()
    assert len(family.rows) == ROWS // 2
    assert family.rows[0].numbers == (2 + 1, 4 + 1, 6 + 1, 0.5 + 9)
    assert family.capture() == at_once.families[NEW.key].capture()
    assert (table.room.rows, table.room.bytes) == (at_once.room.rows, at_once.room.bytes)


def test_rows_that_go_are_not_moved_first() -> None:
    table = filled()
    assert len([*table.merge_in_steps([batch(NEW, ("a", 1, 0, 0, 1), reset=True)], 2, 1.0)]) == 1
    (family,) = table.families.values()
    assert [(row.labels, row.numbers) for row in family.rows] == [(("a",), (1, 0, 0, 1))]


def test_a_bug_on_the_way_costs_the_rows_of_the_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = filled()
    before, numbers, calls = page(table), Conversion.numbers, count()

    def failing(self: Conversion, row: Numbers) -> tuple[float, ...]:
        if next(calls) == ROWS // 2:
            raise ArithmeticError
        return numbers(self, row)

    monkeypatch.setattr(Conversion, "numbers", failing)
    (failure,) = table.merge([batch(NEW, ("0", 1, 1, 1, 9))], 2, 1.0)
    assert isinstance(failure.error, ArithmeticError)
    assert failure.rows == table.failed_rows == 1
    assert page(table) == before
    table.merge([batch(NEW, ("0", 1, 1, 1, 9))], 2, 1.0)
    (family,) = table.families.values()
    assert sum(sum(row.numbers[:3]) for row in family.rows) == ROWS * 6 + 3


def test_rows_with_many_numbers_make_room_some_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others do so a minute later, or when they are needed; nothing is lost."""
    monkeypatch.setattr(overflow, "EVICTED_NUMBERS", 100 * OLD.width)
    table = Table(max_rows=1_000)
    rows = [(str(number), "", 1, 0, 2, 3, 0.5) for number in range(1_000)]
    table.merge([batch(OLD, *rows)], 1, 0.0)
    (family,) = table.families.values()
    for minute, (new, evicted) in enumerate([(1, 100), (50, 100), (50, 200)]):
        more = [(f"{minute} {number}", "", 1, 0, 0, 0, 0) for number in range(new)]
        table.merge([batch(OLD, *more)], 1, 3_600.0 + 60 * minute)
        assert family.evicted == evicted, minute
    assert sum(sum(row.numbers[:4]) for row in family.rows) == 1_000 * 6 + 101

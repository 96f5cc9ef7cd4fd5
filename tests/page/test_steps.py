"""A page in steps shows one moment, whatever happens to the table between two of them."""

from collections.abc import Callable

import pytest

from collector.page import exposition, requests
from collector.table.shapes import FamilyBatch, Shape
from collector.table.table import Table

OLD = Shape("sizes", "histogram", ("path", "kind"), (5, 10), ("sum",), custom=True)
NEW = Shape("sizes", "histogram", ("kind",), (10,), ("sum",), custom=True)
LOGINS = Shape("logins_total", "counter", ("result",), None, ("value",), custom=True)
ROWS = 2 * requests.STEP_ROWS + 1


def merge(table: Table, shape: Shape, *rows: tuple[object, ...], birth_ms: int = 1, reset: bool = False) -> None:
    table.merge([FamilyBatch(shape, "", False, rows, reset)], birth_ms, 0.0)


def made() -> Table:
    table = Table()
    merge(table, OLD, *[(f"/{number}", "a", 1, 2, 3, number) for number in range(ROWS)])
    merge(table, LOGINS, ("ok", 7))
    return table


def text(families: list[exposition.MetricFamily]) -> bytes:
    return exposition.render(families, openmetrics=False)


def change_all(table: Table) -> None:
    merge(table, OLD, *[(f"/{number}", "a", 1, 1, 1, 1) for number in range(ROWS)])
    merge(table, LOGINS, ("ok", 1), ("bad", 1))


def make_new_rows(table: Table) -> None:
    merge(table, OLD, *[(f"/new{number}", "b", 1, 1, 1, 1) for number in range(10)])


def reshape(table: Table) -> None:
    merge(table, NEW, ("a", 1, 1, 1), birth_ms=2)


def reset(table: Table) -> None:
    merge(table, OLD, reset=True)
    merge(table, LOGINS, reset=True)


def change_type(table: Table) -> None:
    merge(table, Shape("sizes", "counter", ("path",), None, ("value",), custom=True), ("/0", 1), birth_ms=2)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("happen", [change_all, make_new_rows, reshape, reset, change_type])
def test_what_happens_between_two_steps_is_on_the_next_page(happen: Callable[[Table], None], steps: int) -> None:
    table, alike = made(), made()
    expected = text(requests.render(alike))
    running = requests.in_steps(requests.capture(table))
    rendered = [family for _ in range(steps) for family in next(running)]
    happen(table)
    rendered += [family for step in running for family in step]
    assert text(rendered) == expected

    happen(alike)
    for family in alike.families.values():
        for row in family.rows:
            row.text = None
    assert text(requests.render(table)) == text(requests.render(alike))


def test_two_pages_at_once_show_a_moment_each() -> None:
    """The one that began later is done first, and has kept the text of rows that the other shows as they were."""
    table = made()
    first_moment = text(requests.render(made()))
    early = requests.in_steps(requests.capture(table))
    next(early)
    change_all(table)
    late = text(requests.render(table))
    assert text([family for step in early for family in step]) == first_moment
    assert text(requests.render(table)) == late


def test_a_step_has_a_bounded_number_of_rows() -> None:
    table = made()
    steps = list(requests.in_steps(requests.capture(table)))
    assert len(steps) == 3 + 1 + 1 + 1  # the rows of two families, and what each has finished
    (sizes,) = steps[3]
    assert [chunk.count(b"_count{") for chunk in sizes.lines] == [requests.STEP_ROWS, requests.STEP_ROWS, 1]


def test_a_row_that_is_new_to_a_scraper_is_at_0_across_steps() -> None:
    table = made()
    sizes, logins = requests.render(table, shown_before=ROWS - 1)
    shown = b"".join(sizes.lines)
    assert f'_count{{path="/{ROWS - 2}",kind="a"}} 6\n'.encode() in shown
    assert f'_count{{path="/{ROWS - 1}",kind="a"}} 0\n'.encode() in shown
    assert shown.count(b"} 0\n") == 4 - 1 + 1  # buckets and count of the last row; the sum of the first is 0.0
    assert logins.lines == [b'logins_total{result="ok"} 0\n']

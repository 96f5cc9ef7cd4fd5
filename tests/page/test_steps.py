"""A page in steps shows one moment, whatever happens to the table between two of them."""

import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from resty_metrics.exposition import text as exposition
from resty_metrics.page import requests
from resty_metrics.page.blocks import BLOCK_ROWS
from resty_metrics.page.templates import template
from resty_metrics.shapes.shape import DURATION_SCALE, DURATIONS, REQUEST_COLUMNS, Shape, family_batch
from resty_metrics.table.table import Table

OLD = Shape("sizes", "histogram", ("path", "kind"), (5, 10), ("sum",), custom=True)
NEW = Shape("sizes", "histogram", ("kind",), (10,), ("sum",), custom=True)
SERVED = Shape("http_requests", "requests", ("server", "method", "status"), None, REQUEST_COLUMNS)
TIMED = Shape(DURATIONS, "histogram", ("server", "status_class"), (5,), ("sum",), DURATION_SCALE)
LOGINS = Shape("logins_total", "counter", ("result",), None, ("value",), custom=True)
ROWS = 2 * BLOCK_ROWS + 1


def merge(table: Table, shape: Shape, *rows: tuple[object, ...], birth_ms: int = 1, reset: bool = False) -> None:
    table.merge([family_batch(shape, "", False, rows, reset)], birth_ms, 0.0)


def make_table() -> Table:
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


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("happen", [change_all, make_new_rows, reshape, reset, change_type])
def test_what_happens_between_two_steps_is_on_the_next_page(happen: Callable[[Table], None], steps: int) -> None:
    table, alike = make_table(), make_table()
    expected = text(requests.render(alike))
    running = requests.in_steps(requests.capture(table))
    rendered = [family for _ in range(steps) for family in next(running)]
    happen(table)
    rendered += [family for step in running for family in step]
    assert text(rendered) == expected

    happen(alike)
    for family in alike.families.values():
        for row in family.rows:
            row.kept = False
    assert text(requests.render(table)) == text(requests.render(alike))


def test_two_pages_at_once_show_a_moment_each() -> None:
    """The one that began later is done first, and has kept the text of rows that the other shows as they were."""
    table = make_table()
    first_moment = text(requests.render(make_table()))
    early = requests.in_steps(requests.capture(table))
    next(early)
    change_all(table)
    late = text(requests.render(table))
    assert text([family for step in early for family in step]) == first_moment
    assert text(requests.render(table)) == late


def alone(table: Table) -> bytes:
    """The table's page as it would be if nothing of it had ever been kept."""
    page = b""
    for family in table.families.values():
        make = template(family.shape).render
        columns = zip(*[make(row.labels, row.numbers) for row in family.rows], strict=True)
        page += b"".join(map(b"".join, columns))
    return page


def lines_of(families: list[exposition.MetricFamily]) -> bytes:
    return b"".join(line for family in families for line in family.lines)


@pytest.mark.parametrize("seed", range(40))
def test_pages_under_way_at_once_never_mix(seed: int) -> None:
    """Any interleaving of changes and of the steps of several pages: each page is the table at its capture."""
    source, table = random.Random(seed), make_table()
    merge(table, SERVED, *[(str(number), "GET", "200", 3, 4, 5) for number in range(BLOCK_ROWS + 9)])
    merge(table, TIMED, *[(str(number), "2xx", 1, 2, 3) for number in range(BLOCK_ROWS + 9)])
    births = itertools.count(2)
    shapes = [OLD, NEW]
    pages: list[tuple[Iterator[list[exposition.MetricFamily]], list[exposition.MetricFamily], bytes]] = []
    checked = 0
    for _ in range(150):
        action = source.random()
        if action < 0.2 and len(pages) < 4:
            pages.append((requests.in_steps(requests.capture(table)), [], alone(table)))
        elif action < 0.75 and pages:
            place = source.randrange(len(pages))
            steps, rendered, expected = pages[place]
            step = next(steps, None)
            if step is None:
                assert lines_of(rendered) == expected
                checked += 1
                del pages[place]
            else:
                rendered += step
        elif action < 0.95:
            numbers = [source.randrange(ROWS + 200) for _ in range(source.choice([1, 3, 200]))]
            merge(table, OLD, *[(f"/{number}", "a", 1, source.randrange(10**6), 3, 0.5) for number in numbers])
            statuses = [source.choice(("200", "101")) for _ in numbers]
            merge(table, SERVED, *[(str(n), "GET", s, n + 1, 4, 5) for n, s in zip(numbers, statuses, strict=True)])
            timed = [n for n, status in zip(numbers, statuses, strict=True) if status != "101"]
            merge(table, TIMED, *[(str(n), "2xx", 1, n, 3) for n in timed])
        elif action < 0.98:
            gone = [(f"/{source.randrange(ROWS)}", "a")]
            table.merge([family_batch(OLD, "", False, [], deleted=gone)], 1, 0.0)
        else:
            shapes.reverse()
            merge(table, shapes[0], (*["a"] * len(shapes[0].labels), *[1] * shapes[0].width), birth_ms=next(births))
    for steps, rendered, expected in pages:
        rendered += [family for step in steps for family in step]
        assert lines_of(rendered) == expected
        checked += 1
    assert checked > 3
    assert lines_of(requests.render(table)) == alone(table)


def test_what_has_not_changed_is_taken_as_it_is() -> None:
    table = make_table()
    before, _ = requests.render(table)
    merge(table, OLD, ("/0", "a", 1, 0, 0, 0))
    after, _ = requests.render(table)
    assert [old is new for old, new in zip(before.lines, after.lines, strict=True)] == [False, True, True]


def test_a_step_has_a_bounded_number_of_rows() -> None:
    table = make_table()
    steps = list(requests.in_steps(requests.capture(table)))
    assert len(steps) == 3 + 1 + 1 + 1  # of two families their blocks, and what each has finished
    (sizes,) = steps[3]
    assert [chunk.count(b"_count{") for chunk in sizes.lines] == [BLOCK_ROWS, BLOCK_ROWS, 1]


def test_a_row_that_is_new_to_a_scraper_is_at_0_across_steps() -> None:
    table = make_table()
    sizes, logins = requests.render(table, shown_before=ROWS - 1)
    shown = b"".join(sizes.lines)
    assert f'_count{{path="/{ROWS - 2}",kind="a"}} 6\n'.encode() in shown
    assert f'_count{{path="/{ROWS - 1}",kind="a"}} 0\n'.encode() in shown
    assert shown.count(b"} 0\n") == 4 - 1 + 1  # buckets and count of the last row; the sum of the first is 0.0
    assert logins.lines == [b'logins_total{result="ok"} 0\n']

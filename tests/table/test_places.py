"""Places of nginx and of families: those that were idle for an hour give way to what is new."""

import random
from collections.abc import Mapping
from typing import Any

import pytest
from resty_metrics.journal import snapshot
from resty_metrics.journal.state import State, capture
from resty_metrics.page import assemble
from resty_metrics.page.requests import render
from resty_metrics.shapes.shape import FamilyKey, Shape, family_batch
from resty_metrics.table.families import Family
from resty_metrics.table.overflow import IDLE_SECONDS
from resty_metrics.table.places import Search
from resty_metrics.table.table import MAX_INSTANCES, Table

HOUR, MONTH = IDLE_SECONDS, 30 * 24 * IDLE_SECONDS


def counter(instance: str, name: str = "c_total", *, custom: bool = False) -> Shape:
    return Shape(name, "counter", ("l",), None, ("value",), custom=custom, instance=instance)


def send(table: Table, *shapes: Shape, now: float, rows: int = 1) -> None:
    values = [(str(number), 1) for number in range(rows)]
    table.merge([family_batch(shape, "", False, values) for shape in shapes], 1, now)


def names(table: Table) -> list[tuple[str, str]]:
    return [(key.instance, key.name) for key in table.families]


def again(table: Table) -> Table:
    """The table as a later collector reads it."""
    return snapshot.read(list(snapshot.write(capture(State(table=table), 0.0)))).table


def test_names_that_are_idle_for_a_month_leave_their_places() -> None:
    """An nginx that is named after its pod has another name with each start: the 65th must be counted."""
    table = Table()
    for number in range(10 * MAX_INSTANCES):
        send(table, counter(f"pod-{number}"), now=number * MONTH)
    assert (table.refused_rows, table.evicted_instances) == (0, 9 * MAX_INSTANCES)
    assert list(table.instances) == [f"pod-{number}" for number in range(9 * MAX_INSTANCES, 10 * MAX_INSTANCES)]
    assert table.room.rows == MAX_INSTANCES


def test_names_that_were_used_within_the_hour_keep_their_places() -> None:
    table = Table(max_instances=2)
    send(table, counter("a"), now=0.0)
    send(table, counter("b"), now=1.0)
    send(table, counter("c"), now=HOUR - 0.1, rows=3)
    assert (list(table.instances), table.refused_rows, table.evicted_instances) == (["a", "b"], 3, 0)
    send(table, counter("c"), now=HOUR)
    assert (list(table.instances), table.refused_rows, table.evicted_instances) == (["b", "c"], 3, 1)


def test_the_nginx_that_is_idle_longest_goes_with_all_that_it_has() -> None:
    """One family that is used keeps the nginx; a family without rows is used as well."""
    table = Table(max_instances=3)
    send(table, counter("old", "x_total"), counter("old", "y_total"), counter("older"), counter("kept"), now=0.0)
    send(table, counter("old", "y_total"), now=1.0)
    table.merge([family_batch(counter("kept"), "", False, [], reset=True)], 1, HOUR)
    send(table, counter("new"), now=2 * HOUR - 1)
    assert names(table) == [("old", "x_total"), ("old", "y_total"), ("kept", "c_total"), ("new", "c_total")]
    send(table, counter("newer"), now=2 * HOUR - 1)
    assert names(table) == [("kept", "c_total"), ("new", "c_total"), ("newer", "c_total")]
    assert (table.evicted_instances, table.evicted_families, table.room.rows) == (2, 0, 2)


def test_what_comes_back_begins_with_new_rows() -> None:
    """A scraper that saw the old ones is shown 0 first: the counter never falls unnoticed."""
    table = Table(max_instances=1)
    send(table, counter("a"), now=0.0, rows=3)
    shown = table.next_creation
    send(table, counter("b"), now=HOUR)
    send(table, counter("a"), now=2 * HOUR)
    (row,) = table.families[counter("a").key].rows
    assert (row.created, row.numbers) == (4, (1,))
    moment = assemble.capture(table, shown)
    assert [(family.shape.instance, family.known) for family in moment.families] == [("a", 0)]


def test_a_family_takes_the_place_of_one_that_its_nginx_uses_no_more() -> None:
    table = Table(max_families=2)
    send(table, counter("b"), now=0.0)
    for now, name in enumerate(("x_total", "y_total")):
        send(table, counter("a", name), now=float(now))
    send(table, counter("a", "z_total"), now=HOUR - 0.1)
    assert (table.lost_rows, table.evicted_families) == (1, 0)
    send(table, counter("a", "z_total"), now=HOUR)
    assert names(table) == [("b", "c_total"), ("a", "y_total"), ("a", "z_total")], "b is another nginx"
    assert (table.lost_rows, table.evicted_families, table.evicted_instances) == (1, 1, 0)


def test_a_family_of_the_user_takes_no_place_of_a_built_in_one() -> None:
    table = Table(max_families=8)
    send(table, counter("a", "built_in_total"), now=0.0)
    for number in range(6):
        send(table, counter("a", f"mine_{number}_total", custom=True), now=1.0 + number)
    send(table, counter("a", "more_total", custom=True), now=HOUR + 1)
    assert names(table)[0] == ("a", "built_in_total")
    assert ("a", "mine_0_total") not in names(table)
    for number in range(2, 6):
        send(table, counter("a", f"mine_{number}_total", custom=True), now=2 * HOUR)
    send(table, counter("a", "mine_1_total", custom=True), counter("a", "more_total", custom=True), now=2 * HOUR)
    send(table, counter("a", "last_total", custom=True), now=2 * HOUR + 1)
    assert (table.lost_rows, table.evicted_families) == (1, 1)
    send(table, counter("a", "other_total"), counter("a", "another_total"), now=2 * HOUR + 1)
    assert (len(table.families), table.evicted_families) == (8, 2), "a built-in one takes any place that is idle"


def test_in_a_table_without_places_an_idle_nginx_goes_before_families_of_others() -> None:
    """Its built-in families too, and as many nginx as it takes to keep an eighth for the built-in ones."""
    table = Table(max_table_families=16)
    send(table, counter("living", "x_total", custom=True), now=0.0)
    for number in range(15):
        send(table, counter(f"dead-{number}"), now=1.0 + number)
    send(table, counter("living", "y_total"), now=HOUR)
    assert (table.lost_rows, table.evicted_instances, table.evicted_families) == (0, 0, 1)
    send(table, counter("living", "z_total", custom=True), now=HOUR + 15)
    assert (table.lost_rows, table.evicted_instances, table.evicted_families) == (0, 3, 1)
    assert len(table.families) == 16 - 16 // 8


def test_an_nginx_does_not_give_way_to_itself() -> None:
    table = Table(max_table_families=2)
    send(table, counter("a", "x_total"), now=0.0)
    send(table, counter("b", "x_total"), now=1.0)
    send(table, counter("a", "y_total"), counter("a", "x_total"), now=2 * HOUR)
    assert names(table) == [("a", "x_total"), ("a", "y_total")]
    assert (table.evicted_instances, table.evicted_families) == (1, 0)


def test_what_is_refused_costs_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of names and families that find no place walks over the families once."""
    walks = []
    oldest = Search._oldest

    def counted(search: Search, scope: Any, used: Mapping[Any, float], now: float) -> Any:
        walks.append(scope)
        return oldest(search, scope, used, now)

    monkeypatch.setattr(Search, "_oldest", counted)
    table = Table(max_instances=2, max_families=2)
    send(table, *[counter(name, family) for name in "ab" for family in ("x_total", "y_total")], now=0.0)
    for number in range(100):
        send(table, counter(f"n{number}"), counter("a", f"n{number}_total"), now=float(number))
    assert (table.refused_rows, table.lost_rows, len(walks)) == (100, 100, 2)
    send(table, counter("c"), now=HOUR)
    assert (table.evicted_instances, len(walks)) == (1, 3)


def test_memories_of_searches_are_bounded() -> None:
    table = Table(max_instances=2, max_families=1)
    for number in range(200):
        send(table, counter(f"n{number}"), counter(f"n{number}", "more_total"), now=number * HOUR)
    assert len(table._search._not_before) <= 4


def test_a_journal_that_does_not_say_when_a_family_was_used_has_it_from_its_rows() -> None:
    table = Table(max_instances=2)
    send(table, counter("a"), now=5.0)
    send(table, counter("b"), now=HOUR)
    families: list[Family] = list(table.families.values())
    for family in families:
        family.used = 0.0
    read = again(table)
    assert [family.used for family in read.families.values()] == [5.0, HOUR]


@pytest.mark.parametrize("seed", range(20))
def test_a_replay_gives_the_same_places(seed: int) -> None:
    """Any batches; a snapshot at any place between them, and what follows it merged anew, make the same table."""
    source, now = random.Random(seed), 0.0
    table, replayed = (Table(max_instances=3, max_families=4, max_table_families=8) for _ in range(2))
    for _ in range(600):
        now += source.choice((0.0, 1.0, HOUR / 4, HOUR / 4, HOUR))
        shapes = [
            counter(f"n{source.randrange(6)}", f"c{source.randrange(6)}_total", custom=source.random() < 0.7)
            for _ in range(source.randrange(1, 4))
        ]
        for copy in (table, replayed):
            send(copy, *shapes, now=now, rows=2)
        if source.random() < 0.1:
            replayed = again(replayed)
        assert table.capture() == replayed.capture()
        assert list(table.instances) == list(replayed.instances)
        assert len(table.instances) <= 3
        assert len(table.families) <= 8
        assert table.room.rows == sum(len(family.rows) for family in table.families.values())
    assert render(table) == render(replayed)
    assert table.evicted_instances > 10
    assert table.evicted_families > 2
    assert FamilyKey("c0_total") not in table.families

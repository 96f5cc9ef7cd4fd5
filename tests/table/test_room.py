"""The room that all families of a table share."""

import random
from dataclasses import replace
from itertools import pairwise

import pytest
from resty_metrics.journal import snapshot
from resty_metrics.journal.state import State, capture
from resty_metrics.page.requests import render
from resty_metrics.shapes.shape import REQUEST_COLUMNS, FamilyKey, Shape, family_batch
from resty_metrics.table.overflow import IDLE_SECONDS
from resty_metrics.table.room import Aliases, Room
from resty_metrics.table.table import Table

LEFT = ("s", "GET", "200")


def counter(name: str, instance: str = "", *labels: str) -> Shape:
    return Shape(name, "counter", labels or ("l",), None, ("value",), custom=True, instance=instance)


def requests(instance: str = "") -> Shape:
    labels = ("server", "method", "status", "tenant")
    return Shape("http_requests", "requests", labels, None, REQUEST_COLUMNS, instance=instance)


def send(table: Table, shape: Shape, *rows: tuple[object, ...], now: float = 0.0, birth_ms: int = 1) -> None:
    table.merge([family_batch(shape, "", False, rows)], birth_ms, now)


def total(table: Table) -> float:
    return sum(row.numbers[0] for family in table.families.values() for row in family.rows)


def small(rows: int, families: int = 100) -> Table:
    return Table(max_table_families=families, room=Room(max_rows=rows))


def test_caps_do_not_multiply() -> None:
    """Instances times families times rows: however they are divided, a table has its rows and no more."""
    table = small(rows=1_000)
    for instance in range(10):
        for family in range(10):
            rows = [(f"{number}", 1) for number in range(100)]
            send(table, counter(f"c{family}_total", f"n{instance}"), *rows)
    held = sum(len(family.rows) for family in table.families.values())
    assert held == table.room.rows <= 1_000 * 1.1 + len(table.families)
    assert total(table) + table.lost_rows == 10 * 10 * 100, "each count is in its family, or said to be lost"
    assert table.lost_rows == (100 - (100 - 100 // 8)) * 100
    assert [len(family.rows) for family in table.families.values()][:10] == [100] * 10
    overflowed = sum(family.overflow for family in table.families.values())
    assert overflowed == 88 * 100 - 1_000


def test_what_finds_no_room_gives_up_labels_as_in_a_full_family() -> None:
    table = small(rows=10)
    send(table, counter("c_total"), *[(f"{number}", 1) for number in range(10)])
    send(table, requests(), *[(*LEFT, f"{number}", 1, 0, 0) for number in range(50)])
    family = table.families[requests().key]
    assert [(row.labels, row.numbers[0]) for row in family.rows] == [((*LEFT, "other"), 50)]
    assert family.overflow == 50


def test_rows_with_more_text_take_more_room() -> None:
    table = Table(room=Room(max_bytes=1_000_000))
    wide = Shape("h", "histogram", tuple("abcd"), tuple(range(100)), ("sum",), custom=True)
    for number in range(100):
        send(table, wide, (*[f"{number}" + "é" * 120] * 4, *[1] * 102))
    (family,) = table.families.values()
    assert len(family.rows) <= 12
    text = sum(len(line) for metric in render(table) for line in metric.lines)
    assert 0.5 * table.room.bytes < text < 1.1 * table.room.bytes


def test_families_are_bounded_over_all_instances() -> None:
    table = small(rows=1_000, families=16)
    for instance in range(5):
        for name in range(5):
            send(table, counter(f"c{name}_total", f"n{instance}"), ("x", 1))
    for instance in range(3):
        send(table, requests(f"n{instance}"), (*LEFT, "x", 1, 0, 0))
    assert len(table.families) == 16
    assert sum(key.custom for key in table.families) == 14, "an eighth is kept for the built-in ones"
    assert table.lost_rows == 25 - 14 + 1


def test_a_full_table_makes_room_by_idle_rows_of_its_largest_families() -> None:
    """A flood in one nginx must not keep another's new rows in ``other`` for ever."""
    table = small(rows=100)
    flooded, small_family = counter("flooded_total", "a"), counter("c_total", "b")
    send(table, flooded, *[(f"{number}", 1) for number in range(99)])
    send(table, small_family, ("old", 1))
    send(table, small_family, ("new", 1), now=10.0)
    family = table.families[small_family.key]
    assert [row.labels for row in family.rows] == [("old",), ("other",)]
    send(table, small_family, ("old", 1), now=IDLE_SECONDS - 100)
    send(table, small_family, ("new", 1), now=IDLE_SECONDS + 1)
    assert [row.labels for row in family.rows] == [("old",), ("other",), ("new",)]
    (rest,) = table.families[flooded.key].rows
    assert (rest.labels, rest.numbers[0]) == (("other",), 99)
    assert table.families[flooded.key].evicted == 99
    assert total(table) == 99 + 4


def test_room_comes_back_when_rows_go() -> None:
    table, shape = small(rows=100), counter("c_total")
    full = [(f"{number}", 1) for number in range(100)]
    send(table, shape, *full)
    assert table.room.full
    table.merge([family_batch(shape, "", False, [], deleted=[("1",), ("2",)])], 1, 0.0)
    assert table.room.rows == 98
    table.merge([family_batch(shape, "", False, [], reset=True)], 1, 0.0)
    assert (table.room.rows, table.room.bytes) == (0, 0)
    send(table, shape, *full)
    send(table, replace(shape, type="histogram", bounds=(), columns=("sum",)), ("x", 1, 1), birth_ms=2)
    assert table.room.rows == 1
    assert table.room.bytes == sum(
        family.share.size.of(row.labels) for family in table.families.values() for row in family.rows
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_books_are_right_and_a_replay_decides_the_same(seed: int) -> None:
    """Any batches; a snapshot at any place between them, and what follows it merged anew, make the same table."""
    source, now = random.Random(seed), 0.0
    table, replayed = small(rows=60, families=12), small(rows=60, families=12)
    for step in range(400):
        now += source.choice((0.1, 1.0, 60.0, IDLE_SECONDS))
        name, instance = f"c{source.randrange(5)}_total", f"n{source.randrange(3)}"
        labels = source.choice((("a",), ("a", "b")))
        shape = counter(name, instance, *labels)
        rows = [(*[str(source.randrange(40)) for _ in labels], 1) for _ in range(source.randrange(12))]
        gone = [tuple(map(str, row[: len(labels)])) for row in rows[:1]] if source.random() < 0.2 else []
        batch = family_batch(shape, "", False, rows, source.random() < 0.03, gone)
        for copy in (table, replayed):
            copy.merge([batch], step // 40, now)
        if source.random() < 0.05:
            parts = list(snapshot.write(capture(State(table=replayed), now)))
            replayed = snapshot.read(parts).table
        families = table.families.values()
        assert table.room.rows == sum(len(family.rows) for family in families)
        assert table.room.bytes == sum(family.share.size.of(row.labels) for family in families for row in family.rows)
        assert table.room.rows <= 60 * 1.1 + len(table.families)
    assert table.capture() == replayed.capture()
    assert table.room.scanned == replayed.room.scanned > 0


def test_caches_are_bounded_over_all_families() -> None:
    table = Table()
    shapes = [counter(f"c{number}_total", "", *labels) for number in range(50) for labels in (("a",), ("b", "a"))]
    for number in range(200):
        for shape in shapes:
            raw = [(*[f"\x01{number}-{place}" for place in shape.labels], 1)]
            send(table, shape, *raw)
    assert len(table.room.values) <= 8_192
    assert len(table.room.conversions) <= 64
    assert total(table) == 200 * len(shapes)


def test_aliases_of_all_families_share_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resty_metrics.table.room._MAX_ALIAS_BYTES", 1_000)
    room, row = Room(), ("x",)
    families = [Aliases(room) for _ in range(3)]
    for number in range(30):
        families[number % 3]["\x01" + str(number),] = row
    assert 0 < sum(map(len, families)) == room.alias_bytes // 66 < 20
    key = next(iter(families[0]))
    families[0][key] = row
    families[1].clear()
    assert room.alias_bytes == sum(64 + len(value) for aliases in families for (value,) in aliases)
    families[2].clear()
    families[0].clear()
    assert room.alias_bytes == 0


def test_used_is_monotonous() -> None:
    table, shares = small(rows=50), []
    for number in range(80):
        send(table, counter("c_total"), (f"{number}", 1))
        shares.append(table.room.used)
    assert all(before <= after for before, after in pairwise(shares))
    assert 1 <= shares[-1] <= 1.12
    assert FamilyKey("c_total", True) in table.families

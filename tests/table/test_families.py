"""Rows, overflow and changes of shape."""

from dataclasses import replace

import pytest
from resty_metrics.shapes.shape import (
    DURATION_SCALE,
    DURATIONS,
    HISTOGRAM_COLUMNS,
    REQUEST_COLUMNS,
    Conversion,
    FamilyBatch,
    FamilyKey,
    Shape,
    family_batch,
)
from resty_metrics.table import overflow
from resty_metrics.table.families import Family
from resty_metrics.table.room import Room
from resty_metrics.table.rows import Block, Creation
from resty_metrics.table.table import Table

BUILT_IN = ("server", "method", "status")


def requests(*labels: str) -> Shape:
    return Shape("http_requests", "requests", (*BUILT_IN, *labels), None, REQUEST_COLUMNS)


def durations(bounds: tuple[int, ...] = (), *labels: str) -> Shape:
    return Shape(DURATIONS, "histogram", ("server", "status_class", *labels), bounds, HISTOGRAM_COLUMNS, DURATION_SCALE)


def counter(*labels: str, name: str = "c_total") -> Shape:
    return Shape(name, "counter", labels, None, ("value",))


def batch(shape: Shape, *rows: tuple[object, ...], inherited: bool = False, help_text: str = "") -> FamilyBatch:
    return family_batch(shape, help_text, inherited, rows)


def values(family: Family) -> dict[tuple[str, ...], list[float]]:
    return {row.labels: list(row.numbers) for row in family.rows}


def family_of(shape: Shape, max_rows: int = 10) -> Family:
    return Family(shape, Creation(), max_rows)


HOUR = overflow.IDLE_SECONDS
LEFT = ("s", "GET", "200")


def hit(family: Family, path: str, now: float, count: int = 1) -> None:
    family.merge(batch(family.shape, (*LEFT, path, count, 0, 0)), 1, now)


def counts(family: Family) -> dict[str, float]:
    return {labels[-1]: numbers[0] for labels, numbers in values(family).items()}


@pytest.mark.parametrize(
    ("name", "old", "new", "numbers", "expected"),
    [
        ("same", (5, 10), (5, 10), (1, 2, 3), (1, 2, 3)),
        ("a bound goes", (5, 10), (10,), (1, 2, 3), (3, 3)),
        ("the highest goes", (5, 10), (5,), (1, 2, 3), (1, 5)),
        ("a bound comes", (10,), (5, 10), (1, 2), (0, 1, 2)),
        ("between two", (7,), (5, 10), (1, 2), (0, 1, 2)),
        ("all other", (1, 2, 3), (10, 20), (1, 2, 4, 8), (7, 0, 8)),
        ("above all", (100,), (10, 20), (1, 2), (0, 0, 3)),
        ("none left", (5, 10), (), (1, 2, 3), (6,)),
        ("none before", (), (5, 10), (6,), (0, 0, 6)),
    ],
)
def test_rebucketing(
    name: str, old: tuple[int, ...], new: tuple[int, ...], numbers: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    conversion = Conversion(durations(old), durations(new))
    assert conversion.numbers((*numbers, 70)) == (*expected, 70)


@pytest.mark.parametrize(
    ("old", "new", "labels", "expected"),
    [
        (("a", "b"), ("a", "b"), ("1", "2"), ("1", "2")),
        (("a", "b"), ("b",), ("1", "2"), ("2",)),
        (("a",), ("b", "a"), ("1",), ("_", "1")),
        (("a", "b"), ("b", "a"), ("1", "2"), ("2", "1")),
        (("a",), (), ("1",), ()),
    ],
)
def test_label_mapping(
    old: tuple[str, ...], new: tuple[str, ...], labels: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert Conversion(counter(*old), counter(*new)).labels(labels) == expected


def test_rows_add_up_under_their_clean_labels() -> None:
    family = family_of(counter("l"))
    for _ in range(2):
        family.merge(
            batch(counter("l"), ("", 1), ("_", 2), ("a\0", 3), ("a\\x00", 0.5), ("x" * 300, 1), ("x" * 400, 1)), 1, 0.0
        )
    assert values(family) == {("_",): [6], (r"a\x00",): [7], ("x" * 253 + "…",): [4]}
    assert [row.created for row in family.rows] == [0, 1, 2]


def keep(family: Family) -> None:
    """As if it had been rendered."""
    for row in family.rows:
        row.kept = True
    family.blocks.append(Block((b"text",), ([4],)))


def test_a_change_says_that_the_kept_text_is_not_the_rows() -> None:
    family = family_of(counter("l"))
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, 0.0)
    keep(family)
    family.merge(batch(counter("l"), ("b", 1), ("c", 1)), 1, 0.0)
    assert [row.kept for row in family.rows] == [True, False, False]
    assert len(family.blocks) == 1


def test_rows_that_leave_their_place_leave_no_text_behind() -> None:
    family = family_of(counter("l"))
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, 0.0)
    keep(family)
    captured = family.blocks
    family.merge(family_batch(counter("l"), "", False, [], deleted=[("a",)]), 1, 0.0)
    assert family.blocks == []
    assert len(captured) == 1


def test_the_shape_of_the_sender_born_last_wins() -> None:
    old, new = durations((5, 10)), durations((10,), "zone")
    family = family_of(old)
    family.merge(batch(old, ("s", "2xx", 1, 2, 3, 10)), 100, 0.0)
    family.merge(batch(new, ("s", "2xx", "z", 1, 0, 1)), 200, 0.0)
    assert family.shape == new
    family.merge(batch(old, ("s", "2xx", 1, 1, 1, 0)), 100, 0.0)
    assert family.shape == new
    assert values(family) == {("s", "2xx", "_"): [5, 4, 10], ("s", "2xx", "z"): [1, 0, 1]}


def test_a_shape_that_lasts_is_as_young_as_its_last_sender() -> None:
    family = family_of(counter("a"))
    family.merge(batch(counter("a"), ("1", 1)), 100, 0.0)
    family.merge(batch(counter("a"), ("1", 1)), 300, 0.0)
    family.merge(batch(counter("b"), ("2", 1)), 200, 0.0)
    assert family.shape == counter("a")
    assert values(family) == {("1",): [2], ("_",): [1]}


@pytest.mark.parametrize("inherited", [True, False])
def test_of_two_shapes_from_one_sender(inherited: bool) -> None:
    """An heir sends rows of its predecessor's shape: marked, they never bring that shape back."""
    old, new = counter("a"), counter("b")
    family = family_of(new)
    family.merge(batch(new, ("2", 1)), 100, 0.0)
    family.merge(batch(old, ("1", 1), inherited=inherited), 200, 0.0)
    assert family.shape == (new if inherited else old)
    family.merge(batch(new, ("2", 1)), 200, 0.0)
    assert family.shape == (new if inherited else old)
    assert sum(row.numbers[0] for row in family.rows) == 3


def test_an_inherited_family_that_is_not_known_yet_gives_way_to_any_other() -> None:
    family = family_of(counter("a"))
    family.merge(batch(counter("a"), ("1", 1), inherited=True), 500, 0.0)
    family.merge(batch(counter("b"), ("2", 1)), 100, 0.0)
    assert family.shape == counter("b")


def test_a_change_of_shape_keeps_creation_numbers_and_joins_rows() -> None:
    family = family_of(counter("a", "b"))
    family.merge(batch(counter("a", "b"), ("1", "x", 1), ("2", "x", 2), ("1", "y", 4)), 1, 0.0)
    keep(family)
    family.merge(batch(counter("a"), ("3", 8)), 2, 0.0)
    assert values(family) == {("1",): [5], ("2",): [2], ("3",): [8]}
    assert [row.created for row in family.rows] == [0, 1, 3]
    assert not any(row.kept for row in family.rows)
    assert family.blocks == []


def test_help_follows_the_shape() -> None:
    family = family_of(counter("a"))
    family.merge(batch(counter("a"), help_text="First."), 1, 0.0)
    family.merge(batch(counter("b"), help_text="Second."), 2, 0.0)
    family.merge(batch(counter("a"), help_text="First again."), 1, 0.0)
    assert family.help == "Second."


def test_overflow_gives_up_user_labels_first() -> None:
    shape = requests("path")
    family = family_of(shape, max_rows=20)
    paths = [f"/{number}" for number in range(30)]
    for path in [*paths, "/0"]:
        family.merge(batch(shape, ("s", "GET", "200", path, 1, 1, 1)), 1, 0.0)
    for status in ("404", "500"):
        family.merge(batch(shape, ("s", "GET", status, "/0", 1, 1, 1)), 1, 0.0)
    counts = {labels: numbers[0] for labels, numbers in values(family).items()}
    assert counts == {("s", "GET", "200", path): 1 for path in paths[:20]} | {
        ("s", "GET", "200", "/0"): 2,
        ("s", "GET", "200", "other"): 10,
        ("s", "GET", "404", "other"): 1,
        ("other", "other", "other", "other"): 1,  # a tenth above 20 rows everything is
    }
    assert family.overflow == 12


def test_overflow_gives_up_the_server_where_there_are_no_user_labels() -> None:
    family = family_of(requests(), max_rows=20)
    for number in range(40):
        family.merge(batch(requests(), (f"s{number}", "GET", "200", 1, 1, 1)), 1, 0.0)
    assert values(family)["other", "GET", "200"][0] == 20
    assert len(family.rows) == 21


ATTEMPTS = counter("upstream", "peer", "status", name="nginx_http_upstream_attempts_total")


@pytest.mark.parametrize(
    ("shape", "row", "expected"),
    [
        (requests("a", "b"), ("s", "GET", "200", "1", "2"), ("s", "GET", "200", "other", "other")),
        (requests(), ("s", "GET", "200"), ("other", "GET", "200")),
        (ATTEMPTS, ("app", "127.0.0.1:80", "502"), ("app", "other", "502")),
        (counter("upstream", "status"), ("app", "502"), ("other", "502")),
        (counter("server", "cache_status"), ("shop", "HIT"), ("other", "HIT")),
        (replace(ATTEMPTS, custom=True), ("app", "127.0.0.1:80", "502"), ("other", "other", "other")),
        (replace(counter("upstream", "peer"), type="histogram"), ("app", "1"), ("app", "other")),
        (durations(), ("s", "2xx"), ("other", "2xx")),
        (durations((), "a", "peer"), ("s", "2xx", "1", "2"), ("s", "2xx", "other", "other")),
        (replace(durations(), labels=("tenant",)), ("a",), ("other",)),
        (
            replace(durations(), labels=("status", "scope", "a"), scope="api"),
            ("200", "api", "1"),
            ("200", "api", "other"),
        ),
        (replace(durations(), labels=("scope",), scope="api"), ("api",), ("api",)),
        (requests("scheme"), ("s", "GET", "200", "1"), ("s", "GET", "200", "other")),
        (requests("a", "scheme"), ("s", "GET", "200", "1", "2"), ("s", "GET", "200", "other", "other")),
        (durations((), "scheme"), ("s", "2xx", "http"), ("other", "2xx", "http")),
        (replace(durations((), "a"), custom=True), ("s", "2xx", "1"), ("other", "other", "other")),
        (counter(), (), ()),
    ],
)
def test_what_a_row_gives_up_at_the_cap(shape: Shape, row: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert overflow.give_up(shape, row) == expected
    assert overflow.give_up(shape, expected) == expected


def test_what_a_worker_gave_up_stays_as_it_is() -> None:
    """A worker at its cap sends "other": the collector, at its own, puts that where it would have put the rest."""
    shape = requests("path")
    family = family_of(shape, max_rows=20)
    for number in range(25):
        hit(family, f"/{number}", 0.0)
    hit(family, "other", 0.0)
    family.merge(batch(shape, ("s", "GET", "404", "other", 1, 0, 0)), 1, 0.0)
    assert values(family)["s", "GET", "200", "other"][0] == 6
    assert values(family)["s", "GET", "404", "other"][0] == 1
    assert not [row for row in family.rows if row.labels[0] == "other"]


def test_rows_that_can_give_no_more_make_room_where_nothing_else_does() -> None:
    """10,000 upstreams with a peer each: without their peers they are as many."""
    family = family_of(ATTEMPTS, max_rows=20)
    for number in range(20):
        family.merge(batch(ATTEMPTS, (f"u{number}", f"p{number}", "200", 1)), 1, 0.0)
    family.merge(batch(ATTEMPTS, ("new", "p", "200", 1)), 1, HOUR)
    assert values(family) == {("other", "other", "other"): [20], ("new", "p", "200"): [1]}


@pytest.mark.parametrize("shape", [requests(), requests("path"), counter("a"), counter("a", "b"), ATTEMPTS])
def test_a_family_is_bounded_whatever_is_sent(shape: Shape) -> None:
    family = family_of(shape, max_rows=50)
    zeros = (0,) * (shape.width - 1)
    for number in range(1000):
        for repeat in range(2):
            labels = [f"{name}{number}-{repeat}" for name in shape.labels]
            family.merge(batch(shape, (*labels, 1, *zeros)), 1, 0.0)
    assert len(family.rows) <= 50 + 5 + 1
    assert sum(row.numbers[0] for row in family.rows) == 2000
    assert family.overflow == 1950


def test_raw_labels_that_come_out_the_same_are_bounded() -> None:
    family = family_of(counter("a"), max_rows=10)
    for number in range(1000):
        family.merge(batch(counter("a"), ("x" * (253 + number % 4) + "y" * number, 1)), 1, 0.0)
    assert len(family._aliases) <= 20
    assert sum(row.numbers[0] for row in family.rows) == 1000


def test_idle_rows_make_room_at_the_cap() -> None:
    family = family_of(requests("path"), max_rows=10)
    for path in "abcdefghijk":
        hit(family, path, 100.0)
    assert counts(family) == dict.fromkeys("abcdefghij", 1) | {"other": 1}
    hit(family, "a", 100.0 + HOUR)
    hit(family, "z", 100.0 + HOUR, 5)
    assert counts(family) == {"a": 2, "other": 10, "z": 5}
    assert (family.overflow, family.evicted) == (1, 9)
    assert [row.created for row in family.rows] == [0, 10, 11]
    hit(family, "b", 100.0 + HOUR)
    assert counts(family)["b"] == 1  # begins anew


def test_a_row_that_is_not_idle_for_an_hour_stays() -> None:
    family = family_of(counter("l"), max_rows=2)
    for number, now in enumerate((0.0, 0.1, HOUR)):
        family.merge(batch(counter("l"), (str(number), 1)), 1, now)
    assert values(family) == {("1",): [1], ("other",): [2]}  # which takes the room that "0" made
    assert (family.evicted, family.overflow) == (1, 1)


def test_below_the_cap_nobody_is_evicted() -> None:
    family = family_of(counter("l"), max_rows=3)
    for number, now in enumerate((0.0, 2 * HOUR, 4 * HOUR)):
        family.merge(batch(counter("l"), (str(number), 1)), 1, now)
    family.merge(batch(counter("l"), ("2", 1)), 1, 9 * HOUR)
    assert len(family.rows) == 3
    assert family.evicted == 0


def test_idle_rows_are_looked_for_once_a_minute() -> None:
    family = family_of(counter("l"), max_rows=2)
    start = overflow.SCAN_SECONDS
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, start)
    family.merge(batch(counter("l"), ("c", 1)), 1, start + HOUR - 1.0)
    family.merge(batch(counter("l"), ("c", 1)), 1, start + HOUR + 1.0)  # too soon after the last look
    assert (family.evicted, family.overflow) == (0, 2)
    family.merge(batch(counter("l"), ("c", 1)), 1, start + HOUR + overflow.SCAN_SECONDS)
    assert (family.evicted, family.overflow) == (2, 2)
    assert values(family) == {("other",): [4], ("c",): [1]}


def test_what_is_remembered_of_an_evicted_row_goes_too() -> None:
    family = family_of(counter("l"), max_rows=2)
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, 0.0)
    family.merge(batch(counter("l"), ("c", 1)), 1, HOUR)
    family.merge(batch(counter("l"), ("a", 1), ("a", 1)), 1, HOUR)
    assert values(family) == {("other",): [4], ("c",): [1]}
    assert sum(row.numbers[0] for row in family.rows) == 5


def test_a_row_that_is_there_after_all_is_no_overflow() -> None:
    """To make room made it: the family is full again, but nothing was given up."""
    family = family_of(counter("l"), max_rows=2)
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, 0.0)
    family.merge(batch(counter("l"), ("b", 1), ("other", 1)), 1, HOUR)
    assert values(family) == {("b",): [2], ("other",): [2]}
    assert (family.evicted, family.overflow) == (1, 0)


def test_a_row_that_took_the_numbers_of_others_is_as_young_as_the_youngest() -> None:
    family = family_of(counter("l"), max_rows=3)
    family.merge(batch(counter("l"), ("a", 1), ("b", 1)), 1, 0.0)
    family.merge(batch(counter("l"), ("other", 1)), 1, 1.0)
    family.merge(batch(counter("l"), ("new", 1)), 1, HOUR)
    assert {row.labels[0]: row.used for row in family.rows} == {"other": 1.0, "new": HOUR}


def test_an_evicted_row_may_come_again_in_the_same_batch() -> None:
    """It had been remembered until the batch was through, and what came of it was lost."""
    family = family_of(counter("l"), max_rows=2)
    family.merge(batch(counter("l"), ("a", 1), ("", 1)), 1, 0.0)
    family.merge(batch(counter("l"), ("c", 1), ("a", 2), ("", 4), ("_", 8)), 1, HOUR)
    assert values(family) == {("other",): [16], ("c",): [1]}


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("value", ["other", "new"])
def test_a_row_that_makes_its_own_room_is_made_once(value: str, custom: bool) -> None:
    """The idle rows go to ``other``, which may be the very row that was looked for in vain before."""
    family = family_of(replace(counter("tenant"), custom=custom), max_rows=5)
    for tenant in "abcde":
        family.merge(batch(family.shape, (tenant, 1)), 1, 0.0)
    family.merge(batch(family.shape, (value, 1), (value, 1)), 1, 2 * HOUR)
    assert [row.labels for row in family.rows] == list(values(family))
    assert sum(numbers[0] for numbers in values(family).values()) == 7
    assert values(family)[value,] == ([7] if value == "other" else [2])
    for tenant in "fghij":
        family.merge(batch(family.shape, (tenant, 1)), 1, 4 * HOUR)
    family.merge(FamilyBatch(family.shape, "", False, [], b"", reset=True), 1, 4 * HOUR)
    assert family.rows == []


def test_rows_of_equal_labels_are_added_up_when_a_family_is_restored() -> None:
    family = family_of(counter("l"))
    family.merge(batch(counter("l"), ("a", 1), ("b", 2)), 1, 0.0)
    state = family.capture()
    again = family_of(counter("l"))
    again.restore(replace(state, rows=[*state.rows, (9, ("a",), 4, 7.0)]))
    assert values(again) == {("a",): [5], ("b",): [2]}
    assert [(row.created, row.used) for row in again.rows] == [(0, 7.0), (1, 0.0)]


def test_a_flood_does_not_fill_a_family_for_ever_and_the_known_rows_stay_exact() -> None:
    family = family_of(requests("path"), max_rows=100)
    sent = 0
    for hour in range(3):
        for second in range(0, 3600, 60):
            now = hour * HOUR + second
            for path in ("known", *(f"/{now}-{number}" for number in range(20))):
                hit(family, path, now)
                sent += 1
    hit(family, "after", 3 * HOUR)
    after = counts(family)
    assert after["known"] == 180
    assert after["after"] == 1
    assert sum(after.values()) == sent + 1
    assert len(family.rows) <= 110
    assert family.evicted > 100


def test_the_label_scope_is_never_given_up() -> None:
    """Or the last row of all would be one series in two families."""
    shape = Shape("http_requests", "requests", (*BUILT_IN, "scope", "path"), None, REQUEST_COLUMNS, scope="api")
    family = family_of(shape, max_rows=10)
    for number in range(40):
        family.merge(batch(shape, (f"s{number}", "GET", "200", "api", "/", 1, 0, 0)), 1, 0.0)
    assert {row.labels[3] for row in family.rows} == {"api"}
    assert values(family)["other", "other", "other", "api", "other"][0] == 29
    assert values(family)["s10", "GET", "200", "api", "other"][0] == 1


def test_durations_of_two_scopes_without_other_labels_stay_two_series_in_a_full_table() -> None:
    table = Table(room=Room(max_rows=1))
    for scope in ("api", "web"):
        shape = replace(durations((5,)), labels=("scope",), scope=scope)
        table.merge([batch(shape, (scope, 1, 0, 3))], 1, 0.0)
    assert [row.labels for family in table.families.values() for row in family.rows] == [("api",), ("web",)]


def test_values_by_label() -> None:
    family = family_of(counter("a", "b"))
    assert family.values_by_label == {}
    family.merge(batch(counter("a", "b"), ("1", "x", 1), ("2", "x", 1)), 1, 0.0)
    assert family.values_by_label == {"a": 2, "b": 1}
    family.merge(batch(counter("a", "b"), ("2", "y", 1)), 1, 0.0)
    assert family.values_by_label == {"a": 2, "b": 2}
    family.merge(replace(batch(counter("a", "b")), deleted=[("1", "x")]), 1, 0.0)
    assert family.values_by_label == {"a": 1, "b": 2}
    family.merge(batch(counter("b")), 2, 0.0)
    assert family.values_by_label == {"b": 2}


def test_deleted_rows_begin_anew() -> None:
    family = family_of(counter("l"))
    family.merge(batch(counter("l"), ("a", 1), ("", 2), ("c", 4)), 1, 0.0)
    family.merge(replace(batch(counter("l"), ("a", 8)), deleted=[("a",), ("",), ("unknown",)]), 1, 0.0)
    assert values(family) == {("c",): [4], ("a",): [8]}
    assert [row.created for row in family.rows] == [2, 3]
    family.merge(batch(counter("l"), ("", 1), ("a", 1)), 1, 0.0)
    assert values(family) == {("c",): [4], ("a",): [9], ("_",): [1]}


def test_a_label_set_of_an_older_shape_is_deleted_too() -> None:
    family = family_of(counter("a", "b"))
    family.merge(batch(counter("a", "b"), ("1", "_", 1), ("2", "_", 1)), 2, 0.0)
    family.merge(replace(batch(counter("a"), ("2", 3)), deleted=[("1",)]), 1, 0.0)
    assert values(family) == {("2", "_"): [4]}


def test_reset_empties_a_family_before_its_rows_are_added() -> None:
    family = family_of(counter("l"), max_rows=2)
    family.merge(batch(counter("l"), ("a", 1), ("b", 1), ("c", 1)), 1, 0.0)
    family.merge(replace(batch(counter("l"), ("a", 8)), reset=True), 1, 0.0)
    assert values(family) == {("a",): [8]}
    family.merge(batch(counter("l"), ("b", 2), ("a", 1)), 1, 0.0)
    assert values(family) == {("a",): [9], ("b",): [2]}


def histogram(bounds: tuple[float, ...], scale: int = 1) -> Shape:
    return Shape("h", "histogram", (), bounds, ("sum",), scale)


@pytest.mark.parametrize(
    ("old", "new", "numbers", "expected"),
    [
        (histogram((0.5, 1)), histogram((1,)), (1, 2, 3, -0.5), (3, 3, -0.5)),
        (histogram((5, 10), 1000), histogram((0.005, 0.02)), (1, 2, 4, 40), (1, 2, 4, 0.04)),
        (histogram((0.005, 0.02)), histogram((5, 10), 1000), (1, 2, 4, 0.04), (1, 0, 6, 40)),
        (histogram((5, 10), 1000), histogram((5, 10), 1), (1, 2, 4, 3000), (3, 0, 4, 3)),
        (histogram((1,), 1), histogram((1000,), 1000), (1, 2, 3), (1, 2, 3000)),
    ],
)
def test_another_scale(old: Shape, new: Shape, numbers: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert Conversion(old, new).numbers(numbers) == expected


def test_families_of_one_name() -> None:
    """The user's and ours are two, and so are two scopes of requests."""
    table = Table()
    scoped = Shape("http_requests", "requests", (*BUILT_IN, "scope"), None, REQUEST_COLUMNS, scope="api")
    table.merge(
        [
            batch(counter("l"), ("a", 1)),
            batch(replace(counter("l"), custom=True), ("a", 2)),
            batch(requests(), (*LEFT, 1, 0, 0)),
            batch(scoped, (*LEFT, "api", 4, 0, 0)),
        ],
        1,
        0.0,
    )
    assert [family.rows[0].numbers[0] for family in table.families.values()] == [1, 2, 1, 4]
    assert FamilyKey("http_requests", scope="api") in table.families
    assert table.requests == 5


def test_a_type_that_changes_begins_anew() -> None:
    table = Table()
    custom = Shape("x", "counter", (), None, ("value",), custom=True)
    became = Shape("x", "histogram", (), (1,), ("sum",), custom=True)
    table.merge([batch(custom, (5,))], 100, 0.0)
    table.merge([batch(became, (9, 9, 9))], 100, 0.0)  # of one sender: the first stays
    table.merge([batch(became, (9, 9, 9), inherited=True)], 300, 0.0)
    family = table.families[custom.key]
    assert (family.shape.type, table.mistyped_rows) == ("counter", 2)
    table.merge([batch(became, (1, 2, 3))], 200, 0.0)
    table.merge([batch(custom, (5,))], 100, 0.0)
    family = table.families[custom.key]
    assert (family.shape.type, values(family), table.mistyped_rows) == ("histogram", {(): [1, 2, 3]}, 3)
    assert [row.created for row in family.rows] == [1]
    assert table.lost_rows == 0


def test_families_of_the_user_leave_room_for_ours() -> None:
    table = Table(max_families=16)
    for number in range(30):
        table.merge([batch(replace(counter("l", name=f"mine{number}_total"), custom=True), ("x", 1))], 1, 0.0)
    assert (len(table.families), table.lost_rows) == (14, 16)
    table.merge([batch(requests(), ("s", "GET", "200", 1, 0, 0)), batch(counter("l"), ("x", 1))], 1, 0.0)
    table.merge([batch(counter("l", name="third_total"), ("x", 1))], 1, 0.0)
    assert (len(table.families), table.lost_rows) == (16, 17)


def test_families_are_bounded() -> None:
    table = Table(max_families=2)
    for name in ("a_total", "b_total", "c_total", "a_total"):
        table.merge([batch(counter("l", name=name), ("x", 1), ("y", 1))], 1, 0.0)
    assert set(table.families) == {FamilyKey("a_total"), FamilyKey("b_total")}
    assert table.lost_rows == 2
    assert table.next_creation == 4


def test_creation_numbers_run_over_all_families() -> None:
    table = Table()
    table.merge(
        [batch(counter("l", name="a_total"), ("x", 1)), batch(counter("l", name="b_total"), ("x", 1), ("y", 1))], 1, 0.0
    )
    table.merge([batch(counter("l", name="a_total"), ("y", 1))], 1, 0.0)
    created = {key.name: [row.created for row in family.rows] for key, family in table.families.items()}
    assert created == {"a_total": [0, 3], "b_total": [1, 2]}


def test_each_nginx_has_families_of_its_own() -> None:
    """Caps, overflow, shape, deletions and resets of one are nothing to another."""
    table = Table(max_rows=10, max_families=2, max_instances=3)
    tenants = replace(requests("tenant"), instance="a")
    for number in range(20):
        table.merge([batch(tenants, (*LEFT, str(number), 1, 0, 0))], 1, 0.0)
    for instance in ("", "b"):
        zoned = replace(tenants, instance=instance)
        table.merge([batch(zoned, (*LEFT, "0", 1, 0, 0), (*LEFT, "1", 1, 0, 0))], 1, 0.0)
    assert [(len(family.rows), family.overflow) for family in table.families.values()] == [(11, 10), (2, 0), (2, 0)]
    reshaped = replace(requests("zone"), instance="b")
    table.merge([batch(reshaped), replace(batch(replace(tenants, instance="")), reset=True)], 2, 0.0)
    table.merge([replace(batch(tenants), deleted=((*LEFT, "3"),))], 1, 0.0)
    assert [len(family.rows) for family in table.families.values()] == [10, 0, 1]
    assert [family.shape.labels[-1] for family in table.families.values()] == ["tenant", "tenant", "zone"]
    assert list(table.instances) == ["a", "", "b"]


def test_what_one_nginx_fills_is_full_for_it_alone() -> None:
    table = Table(max_families=2, max_instances=2)
    for instance in ("a", "b", "c", "a"):
        for name in ("x_total", "y_total", "z_total"):
            table.merge([batch(replace(counter("l", name=name), instance=instance), ("x", 1))], 1, 0.0)
    assert list(table.families) == [
        FamilyKey(name, instance=instance) for instance in ("a", "b") for name in ("x_total", "y_total")
    ]
    assert (table.lost_rows, table.refused_rows) == (3, 3)

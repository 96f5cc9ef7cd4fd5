"""The user's gauges, of many workers."""

import math
from collections.abc import Iterable

import pytest
from resty_metrics.exposition import text as exposition
from resty_metrics.exposition.text import MetricFamily, render
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.ingest.senders import Senders
from resty_metrics.page import conflicts, workers
from resty_metrics.page import gauges as module
from resty_metrics.page.gauges import Gauge
from resty_metrics.process.steps import finish
from resty_metrics.wire.datagram import VERSION, Header, Kind
from resty_metrics.wire.gauge_family import Combine, GaugeFamily, gauge_family
from resty_metrics.wire.heartbeat import Heartbeat, WorkerGauges

NAMES = [f"l{number}" for number in range(32)]
NAN, INFINITE = float("nan"), float("inf")


def beat(birth_ms: int, *families: GaugeFamily, began: float = 0.0) -> LiveHeartbeat:
    return LiveHeartbeat(bytes([birth_ms]) * 16, birth_ms, 0.0, Heartbeat(families=families, began=began))


def gauge(combine: Combine, *rows: tuple[object, ...], labels: tuple[str, ...] = (), text: str = "") -> GaugeFamily:
    return gauge_family("g", text, labels, combine, rows)


def gauges(beats: Iterable[LiveHeartbeat]) -> list[Gauge]:
    return finish(module.in_steps(beats))


def lines(*beats: LiveHeartbeat) -> list[str]:
    page = render([combined.family for combined in gauges(beats)], openmetrics=False).decode()
    return [line for line in page.splitlines() if not line.startswith("#")]


# how, then (value, when it was set) of workers born one after the other, then what stands on the page
COMBINED: list[tuple[Combine, list[tuple[float, int]], str]] = [
    ("sum", [(1, 9), (2.5, 1), (-4, 1)], "-0.5"),
    ("sum", [(1, 9), (2, 9)], "3"),
    ("sum", [(NAN, 9), (2, 9)], "NaN"),
    ("max", [(1, 9), (7, 1), (2, 1)], "7"),
    ("max", [(NAN, 1), (-7, 1)], "-7"),
    ("max", [(NAN, 1), (NAN, 1)], "NaN"),
    ("min", [(3, 9), (-7, 1), (2, 1)], "-7"),
    ("min", [(3, 9), (NAN, 1)], "3"),
    ("min", [(-INFINITE, 9), (0, 1)], "-Inf"),
    ("last", [(3, 5), (4, 9), (5, 7)], "4"),
    ("last", [(3, 5), (4, 5)], "4"),
    ("last", [(3, 5), (NAN, 6)], "NaN"),
]


@pytest.mark.parametrize(("combine", "values", "shown"), COMBINED)
def test_combined(combine: Combine, values: list[tuple[float, int]], shown: str) -> None:
    beats = [beat(birth + 1, gauge(combine, (value, when))) for birth, (value, when) in enumerate(values)]
    assert lines(*beats) == [f"g {shown}"]
    assert lines(*reversed(beats)) == [f"g {shown}"]


def test_nobody_says_nothing() -> None:
    assert lines(beat(1)) == []
    assert gauges([]) == []


def test_one_beat_may_have_a_family_in_pieces() -> None:
    rendered = lines(beat(1, gauge("sum", ("a", 1, 5), labels=("l",)), gauge("sum", ("b", 2, 5), labels=("l",))))
    assert rendered == ['g{l="a"} 1', 'g{l="b"} 2']


def shared(*rows: tuple[object, ...], labels: tuple[str, ...] = ("l",)) -> GaugeFamily:
    return gauge("shared", *rows, labels=labels)


# what workers born one after the other say, and when they made it; then what stands on the page
SHARED: list[tuple[str, list[tuple[float, list[GaugeFamily]]], list[str]]] = [
    (
        "the last one made stands alone",
        [(7, [shared(("a", 1, 9))]), (5, [shared(("a", 2, 9), ("b", 3, 9))])],
        ['g{l="a"} 1'],
    ),
    (
        "in parts",
        [(7, [shared(("a", 1, 9)), shared(("b", 2, 9))]), (5, [shared(("c", 3, 9))])],
        ['g{l="a"} 1', 'g{l="b"} 2'],
    ),
    ("nothing stands there", [(7, [shared()]), (5, [shared(("a", 1, 9))])], []),
    ("not a worker that does not know it", [(7, []), (5, [shared(("a", 1, 9))])], ['g{l="a"} 1']),
    (
        "not one of other labels, born before",
        [(7, [shared(("a", "x", 1, 9), labels=("l", "m"))]), (5, [shared(("a", 2, 9))])],
        ['g{l="a"} 2'],
    ),
    (
        "not one that was combined, born before",
        [(7, [gauge("sum", ("a", 1, 9), labels=("l",))]), (5, [shared(("a", 2, 9))])],
        ['g{l="a"} 2'],
    ),
]


@pytest.mark.parametrize(("sent", "shown"), [case[1:] for case in SHARED], ids=[name for name, _, _ in SHARED])
def test_shared(sent: list[tuple[float, list[GaugeFamily]]], shown: list[str]) -> None:
    beats = [beat(birth + 1, *families, began=began) for birth, (began, families) in enumerate(sent)]
    assert lines(*beats) == shown
    assert lines(*reversed(beats)) == shown


def test_labels_are_cleaned_and_what_becomes_equal_is_combined() -> None:
    rendered = lines(beat(1, gauge("sum", ("", 1, 5), ("_", 2, 5), ('q"', 4, 5), labels=("l",))))
    assert rendered == ['g{l="_"} 3', 'g{l="q\\""} 4']


def test_of_two_shapes_the_one_of_the_worker_born_last_holds() -> None:
    old = beat(1, gauge("max", ("x", "y", 5, 9), ("x", "z", 7, 1), labels=("a", "b"), text="Old."))
    new = beat(2, gauge("sum", ("x", "n", 1, 1), labels=("a", "c"), text="New."))
    for beats in ((old, new), (new, old)):
        assert sorted(lines(*beats)) == ['g{a="x",c="_"} 12', 'g{a="x",c="n"} 1']
        (combined,) = gauges(beats)
        assert (combined.birth_ms, combined.family.help, combined.family.custom) == (2, "New.", True)


def test_label_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    rows = [(str(number), 1, 5) for number in range(5)]
    assert lines(beat(1, gauge("sum", *rows, labels=("l",)))) == ['g{l="0"} 1', 'g{l="1"} 1', 'g{l="other"} 3']


def test_a_sum_of_infinities() -> None:
    (line,) = lines(beat(1, gauge("sum", (INFINITE, 1))), beat(2, gauge("sum", (-INFINITE, 1))))
    assert math.isnan(float(line.removeprefix("g ")))


def steps_of(beats: list[LiveHeartbeat]) -> int:
    return sum(1 for _ in module.in_steps(beats))


@pytest.mark.parametrize(
    ("name", "families"),
    [
        ("many rows", [gauge("sum", *[(f"{number}", 1, 5) for number in range(9_000)], labels=("l",))]),
        ("many pieces", [gauge("sum", (f"{number}", 1, 5), labels=("l",)) for number in range(3_000)]),
        ("many gauges", [gauge_family(f"g{number}", "", (), "sum", [(1, 1)]) for number in range(1_000)]),
        ("many labels", [gauge("sum", *[(*"x" * 31, f"{n}", 1, 5) for n in range(900)], labels=tuple(NAMES))]),
    ],
)
def test_a_step_has_a_bounded_amount_of_work(name: str, families: list[GaugeFamily]) -> None:
    """So the number of steps grows with the work: four senders of the same take more."""
    alone, four = steps_of([beat(1, *families)]), steps_of([beat(birth, *families) for birth in range(1, 5)])
    assert alone >= 3
    assert four > 1.3 * alone


def test_what_arrives_between_two_steps_is_on_the_next_page() -> None:
    senders = Senders()

    def say(value: int) -> None:
        rows = [(f"{number}", value, 1) for number in range(5_000)]
        header = Header(VERSION, Kind.HEARTBEAT, b"s" * 16, 1, value, 1)
        senders.beat(header, Heartbeat(families=(gauge("sum", *rows, labels=("l",)),)), 0.0)

    say(1)
    steps = module.in_steps(senders.heartbeats(0.0))
    for value in range(2, 5):
        next(steps)
        say(value)
    senders.bye(Header(VERSION, Kind.BYE, b"s" * 16, 1, 9, 1), 0.0)
    (combined,) = finish(steps)
    shown = b"".join(combined.family.lines).split()
    assert (shown.count(b"1"), len(shown)) == (5_000, 10_000)


def test_workers_and_families_are_made_in_steps_too() -> None:
    beats = [LiveHeartbeat(bytes(16), 1, 0.0, Heartbeat(worker=n, gauges=WorkerGauges(rows=1.0))) for n in range(4_000)]
    assert sum(1 for _ in workers.in_steps(beats)) >= 4
    many = [MetricFamily(f"g{number}", "gauge", "G.", [b"g 1\n"], True, "") for number in range(5_000)]
    assert sum(1 for _ in conflicts.in_steps(many, [])) >= 10
    assert sum(1 for _ in exposition.in_steps(many, openmetrics=True)) >= 4
    assert finish(conflicts.in_steps(many, [])) == [*many, finish(conflicts.in_steps(many, []))[-1]]


EXPIRED: list[tuple[Combine, list[tuple[float, int]], list[str]]] = [
    ("sum", [(1, 9), (2, 10), (4, 11)], ["g 6"]),
    ("max", [(7, 9), (2, 10)], ["g 2"]),
    ("min", [(-7, 9), (2, 10)], ["g 2"]),
    ("last", [(7, 9), (2, 10)], ["g 2"]),
    ("last", [(7, 9), (2, 9)], []),
    ("sum", [(7, 9), (2, 9)], []),
    ("shared", [(7, 9), (2, 9)], ["g 2"]),
]


@pytest.mark.parametrize(("combine", "values", "shown"), EXPIRED)
def test_a_value_that_was_set_long_ago_is_left_out(
    combine: Combine, values: list[tuple[float, int]], shown: list[str]
) -> None:
    beats = [beat(birth + 1, gauge(combine, (value, when)), began=birth) for birth, (value, when) in enumerate(values)]
    combined = finish(module.in_steps(beats, oldest_ms=10))
    page = render([one.family for one in combined], openmetrics=False).decode()
    assert [line for line in page.splitlines() if not line.startswith("#")] == shown


def test_expired_values_take_no_place_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    rows = [(str(number), 1, 5 if number < 2 else 10) for number in range(4)]
    (combined,) = finish(module.in_steps([beat(1, gauge("sum", *rows, labels=("l",)))], oldest_ms=10))
    assert combined.family.lines == [b'g{l="2"} 1\ng{l="3"} 1\n']

"""Gauges of a worker in the parts of a beat: all of them, each once, in datagrams that fit."""

import random
from typing import Any

import pytest
from resty_metrics.ingest.beats import Beats, Room
from resty_metrics.wire.datagram import HEADER_BYTES
from resty_metrics.wire.heartbeat import join, read_heartbeat
from support.luajit import ask

Gauge = dict[str, Any]
MOST_BYTES = 33_000  # a part's 32 KiB, and its header


def beats_of(gauges: list[Gauge], used_bytes: int = 0, deleted: list[list[str]] | None = None) -> list[bytes]:
    (result,) = ask(["gauges", gauges, used_bytes, deleted or []])
    beats: list[bytes] = result
    return beats


def values_in(beats: list[bytes]) -> dict[tuple[str, ...], tuple[float, float]]:
    """Value and time by name and labels."""
    parts = [read_heartbeat(beat[HEADER_BYTES:]) for beat in beats]
    assert [(part.part, part.parts) for part in parts] == [(n + 1, len(parts)) for n in range(len(parts))]
    rows = [((family.name, *row[:-2]), row[-2:]) for family in join(parts).families for row in family.rows]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def gauge(name: str, labels: int, rows: list[list[Any]]) -> Gauge:
    names = [f"l{n}" for n in range(labels)]
    return {"name": name, "type": "gauge", "labels": names, "combine": "max", "help": "H.", "rows": rows}


@pytest.mark.parametrize("seed", range(20))
def test_all_of_them_arrive(seed: int) -> None:
    source = random.Random(seed)
    gauges = []
    for n in range(source.randrange(1, 60)):
        labels = source.randrange(0, 5)
        rows = {
            tuple(f"{source.randrange(5000)}" + "x" * source.randrange(200) for _ in range(labels)): [
                source.choice([source.uniform(-1e9, 1e9), source.randrange(2**53), float("inf")]),
                source.randrange(2**41),
            ]
            for _ in range(source.randrange(1, 150))
        }
        gauges.append(gauge(f"g{n}", labels, [[*values, *numbers] for values, numbers in rows.items()]))
    expected = {(gauge["name"], *row[:-2]): tuple(row[-2:]) for gauge in gauges for row in gauge["rows"]}
    beats = beats_of(gauges, source.choice([0, 500, 32_000, 60_000]))
    assert values_in(beats) == expected
    assert max(map(len, beats)) <= MOST_BYTES


def test_what_was_deleted_is_gone() -> None:
    rows = [[str(n), n, 1] for n in range(10)]
    beats = beats_of([gauge("g", 1, rows)], deleted=[["3"], ["5"], ["not there"]])
    assert {labels[1] for labels in values_in(beats)} == set("01246789")


def test_the_longest_row_and_the_longest_head() -> None:
    names = [f"{n}".rjust(128, "x") for n in range(32)]
    labels = {"name": "g" * 128, "type": "gauge", "labels": names, "combine": "last", "help": "H" * 1024}
    beats = beats_of([{**labels, "rows": [["v" * 300] * 32 + [n, n] for n in range(1)]}], 500)
    assert len(values_in(beats)) == 1


FULL: dict[str, tuple[int, list[Gauge]]] = {
    "as many rows as there may be": (10_000, [gauge("g", 1, [[f"{n}", n, n] for n in range(10_050)])]),
    "as many gauges as there may be": (
        10_000,
        [gauge(f"g{g}", 1, [[f"{n}", n, n] for n in range(11)]) for g in range(1_000)],
    ),
    "bytes that the collector writes as four": (
        0,
        [gauge("g", 1, [[f"{n}" + "\x01" * 250, n, n] for n in range(9_000)])],
    ),
    "long names": (
        0,
        [
            {
                **gauge("g" * 128, 0, [[*["v"] * 7, f"{n}", n, n] for n in range(4_000)]),
                "labels": [f"{n}".rjust(128, "x") for n in range(8)],
            }
        ],
    ),
}


@pytest.mark.parametrize("name", FULL)
def test_a_worker_at_its_bounds_sends_nothing_that_the_collector_refuses(name: str) -> None:
    rows, gauges = FULL[name]
    parts = beats_of(gauges)
    beats, room = Beats(), Room()
    for datagram in parts:
        admission = beats.hear(1, read_heartbeat(datagram[HEADER_BYTES:]), 0.0, room)
        assert (admission.kept, admission.reason) == (True, None)
    assert len(parts) <= 64
    offered = sum(len(gauge["rows"]) for gauge in gauges)
    assert room.held.rows == rows or (rows == 0 and 1_000 < room.held.rows < offered), room.held

"""Deletions of a worker's family: in one batch before the rows that were counted since."""

import random
from typing import Any

import pytest
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import HEADER_BYTES
from support.luajit import ask

SHAPE = {"name": "sent_total", "type": "counter", "custom": True, "labels": ["a"], "columns": ["value"]}
Steps = list[list[Any]]


def batches_of(steps: Steps, limit: int = 61440) -> list[bytes]:
    (result,) = ask(["deletions", SHAPE, limit, steps])
    batches: list[bytes] = result
    return batches


def replay(batches: list[bytes]) -> dict[str, float]:
    """What a collector has of them."""
    table: dict[str, float] = {}
    for batch in batches:
        for family in read_batch(batch[HEADER_BYTES:]):
            if family.reset:
                table.clear()
            for (label,) in family.deleted:
                table.pop(label, None)
            for label, value in family.rows:
                table[str(label)] = table.get(str(label), 0) + float(value)
    return table


def truth(steps: Steps) -> dict[str, float]:
    table: dict[str, float] = {}
    for step in steps:
        match step:
            case ["add", label, value]:
                table[label] = table.get(label, 0) + value
            case ["del", label]:
                table.pop(label, None)
            case ["reset"]:
                table.clear()
    return table


@pytest.mark.parametrize(
    "words",
    [
        "add x 1, cut, del x",
        "add x 1, del x",
        "add x 1, cut, add x 2, del x, add x 4",
        "add x 1, add y 1, cut, del x, reset, add y 2",
        "add x 1, cut, reset",
        "add x 1, cut, reset, add x 2, del x",
        "add x 1, cut, put_back, del x",
        "add x 1, cut, del x, add x 2, cut_put_back, add x 3",
        "add x 1, cut, del x, add x 2, cut_and_hold, del x, add x 8, release",
        "add x 1, add y 1, cut, reset, add y 2, cut_and_hold, reset, add x 8, release",
        "add x 1, cut, reset, add x 2, cut_and_hold, del y, add x 8, release",
    ],
)
def test_the_collector_ends_with_what_was_meant(words: str) -> None:
    steps: Steps = [[int(word) if word.isdigit() else word for word in step.split()] for step in words.split(", ")]
    assert replay(batches_of(steps)) == truth(steps)


@pytest.mark.parametrize("seed", range(30))
def test_any_order_of_calls(seed: int) -> None:
    source = random.Random(seed)
    steps: Steps = []
    for _ in range(600):
        label = "x" * source.randrange(1, 200) + str(source.randrange(20))
        choices: Steps = [["add", label, source.randrange(1, 9)], ["del", label], ["reset"], ["cut"], ["cut_put_back"]]
        steps += source.choices(choices, [20, 10, 0.2, 3, 1])
    assert replay(batches_of(steps, source.choice([4096, 61440]))) == truth(steps)


def test_deletions_that_fill_several_datagrams_go_before_the_rows() -> None:
    steps: Steps = [["add", "x" * 100 + str(n), 1] for n in range(500)]
    steps += [["cut"], *[["del", "x" * 100 + str(n)] for n in range(500)], ["add", "x" * 100 + "7", 3]]
    batches = batches_of(steps, 4096)
    assert max(len(batch) for batch in batches) <= 4096
    assert replay(batches) == {"x" * 100 + "7": 3}


def test_rows_that_were_deleted_make_room() -> None:
    """10,000 label sets at a time, a hundred times: a deleted one is no row any more."""
    (result,) = ask(["churn", SHAPE, 100, 10_000])
    rows, overflowed = result
    assert (rows, overflowed) == (100, 0)


@pytest.mark.parametrize("count", [1, 63, 64, 500, 1000])
def test_dirty_rows_that_were_deleted_make_room_at_the_cap(count: int) -> None:
    assert ask(["exchange", SHAPE, 1000, count]) == [[0, 1000]]


def test_as_many_deletions_wait_as_the_family_may_have_rows() -> None:
    (result,) = ask(["deletions_wait", {**SHAPE}, 100, 150])
    assert result == [100, 50]

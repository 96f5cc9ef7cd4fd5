"""Rows and batches of the Lua side: what was added is what is cut, whatever the limits and the label values."""

import random
from collections import Counter
from typing import Any

import pytest
from resty_metrics.table.families import Family
from resty_metrics.table.table import Table
from resty_metrics.wire.batch import read_batch
from resty_metrics.wire.datagram import HEADER_BYTES
from support.luajit import ask

SHAPE = {"name": "sent_total", "type": "counter", "labels": ["a", "b"], "columns": ["value"]}
REQUESTS = {
    "name": "http_requests",
    "type": "requests",
    "labels": ["server", "method", "status", "tenant"],
    "columns": ["count", "request_bytes", "response_bytes"],
}
DURATIONS = {
    "name": "nginx_http_request_duration_seconds",
    "type": "histogram",
    "labels": ["server", "status_class", "tenant"],
    "bounds": [5, 10],
    "scale": 1000,
    "columns": ["sum"],
}
MIN_LIMIT, MAX_LIMIT = 4096, 61440


def cut(shape: dict[str, Any], steps: list[list[Any]], cap: int = 10_000, limit: int = MAX_LIMIT) -> Any:
    (result,) = ask(["rows", shape, cap, limit, steps])
    return result


def sums(batches: list[bytes], labels: int) -> Counter[tuple[str, ...]]:
    """The first number of each row by its labels, over all batches."""
    sums_by_labels: Counter[tuple[str, ...]] = Counter()
    for batch in batches:
        for family in read_batch(batch[HEADER_BYTES:]):
            for row in family.rows:
                sums_by_labels[tuple(str(value) for value in row[:labels])] += row[labels]
    return sums_by_labels


@pytest.mark.parametrize("limit", [MIN_LIMIT, 10_000, MAX_LIMIT])
def test_what_was_added_is_what_is_cut(limit: int) -> None:
    source = random.Random(limit)
    steps: list[list[Any]] = []
    added: Counter[tuple[str, ...]] = Counter()
    for _ in range(5000):
        if source.random() < 0.02:
            steps.append([])
            continue
        labels = (str(source.randrange(400)), "x" * source.randrange(1, 200))
        amount = source.randrange(1, 2**20)
        added[labels] += amount
        steps.append([*labels, amount])
    batches, _, overflowed = cut(SHAPE, steps, limit=limit)
    assert overflowed == 0
    assert sums(batches, 2) == added
    assert max(len(batch) for batch in batches) <= limit
    assert len(batches) > 50


def test_no_two_label_sets_are_taken_for_one() -> None:
    """Whatever a row's key is made of, values that hold the same bytes differently split stay apart."""
    parts = [
        "",
        "_",
        "a",
        "\x01",
        "\x02",
        "\x1f",
        "\0",
        "\n",
        '"',
        "\\",
        "a\x01",
        "\x01a",
        "\xa1",
        "other",
        "ab",
        "a\0b",
    ]
    steps = [[first, second, 1] for first in parts for second in parts]
    batches, count, _ = cut(SHAPE, steps)
    assert count == (len(parts) - 1) ** 2  # "" is shown as "_"
    assert sum(sums(batches, 2).values()) == len(steps)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "_"),
        ("x" * 256, "x" * 256),
        ("x" * 257, "x" * 253 + "…"),
        ("é" * 200, "é" * 126 + "…"),
        ("x" + "é" * 200, "x" + "é" * 126 + "…"),
        ("😀" * 100, "😀" * 63 + "…"),
        ("x" * 252 + "😀😀", "x" * 252 + "…"),
    ],
)
def test_a_label_value_is_cut_at_a_character(value: str, shown: str) -> None:
    batches, _, _ = cut(SHAPE, [[value, "b", 1]])
    assert sums(batches, 2) == {(shown, "b"): 1}


def test_at_the_cap_the_users_labels_become_other() -> None:
    steps = [["s", "GET", "200", str(tenant), 1, 70, 90] for tenant in range(100)]
    batches, count, overflowed = cut(REQUESTS, steps, cap=10)
    by_labels = sums(batches, 4)
    assert by_labels == {("s", "GET", "200", str(tenant)): 1 for tenant in range(10)} | {
        ("s", "GET", "200", "other"): 90
    }
    assert (count, overflowed) == (11, 90)


SCOPED = {**REQUESTS, "scope": "api", "labels": ["server", "method", "status", "scope", "tenant"]}
ATTEMPTS = {"name": "a_total", "type": "counter", "labels": ["upstream", "peer", "status"], "columns": ["value"]}
CAPPED = [
    REQUESTS,
    {**REQUESTS, "labels": ["server", "method", "status"]},
    SCOPED,
    {**SCOPED, "labels": ["server", "method", "status", "scope"]},
    {**REQUESTS, "labels": ["server", "method", "status", "scheme"]},
    {**SCOPED, "labels": ["server", "method", "status", "scope", "tenant", "scheme"]},
    DURATIONS,
    {**DURATIONS, "scope": "api", "labels": ["scope"]},
    {**DURATIONS, "labels": ["server", "status_class"]},
    {**DURATIONS, "labels": ["tenant", "route"]},
    {**DURATIONS, "scope": "api", "labels": ["server", "scope", "tenant", "route"]},
    {**DURATIONS, "name": "nginx_http_upstream_response_duration_seconds", "labels": ["upstream"]},
    ATTEMPTS,
    {**ATTEMPTS, "custom": True},
    {**ATTEMPTS, "labels": ["upstream", "status"]},
    {**ATTEMPTS, "labels": ["upstream"]},
]


@pytest.mark.parametrize("shape", CAPPED)
def test_at_the_cap_worker_and_collector_do_the_same(shape: dict[str, Any]) -> None:
    """Whether a row overflows here, there, or in both: it is counted under the same labels."""
    cap, source, names = 20, random.Random(1), shape["labels"]
    numbers = {"requests": [1, 70, 90], "histogram": [1, 0, 0, 7], "counter": [1]}[shape["type"]]
    steps = []
    for _ in range(400):
        labels = ["api" if name == "scope" else f"{name}{source.randrange(6)}" for name in names]
        if "status" in names and source.random() < 0.1:
            labels[names.index("status")] = "101"
        steps.append([*labels, *numbers])
    batches, _, _ = cut(shape, steps, cap=cap)
    everything, _, _ = cut(shape, steps)
    tables = [Table(max_rows=cap), Table(max_rows=cap)]
    for table, sent in zip(tables, (batches, everything), strict=True):
        for datagram in sent:
            table.merge(read_batch(datagram[HEADER_BYTES:]), 1, 0.0)
    first, second = ({row.labels: row.numbers[0] for row in _only(table).rows} for table in tables)
    assert first == second == sums(batches, len(names))
    assert sum(first.values()) == len(steps)


def _only(table: Table) -> Family:
    (family,) = table.families.values()
    return family


def test_rows_that_were_never_sent_join_others() -> None:
    rows = [["s", "GET", str(n), "t", n, 7.5, 2**40 + n] for n in range(500)]
    (result,) = ask(["absorb", {**REQUESTS, "rows": rows}])
    total, batch = result
    assert total == 500
    (family,) = read_batch(batch[HEADER_BYTES:])
    assert sorted(map(list, family.rows)) == sorted(rows)


def test_a_shape_that_is_inherited_keeps_no_rows() -> None:
    rows = [["s", "GET", str(n), "t", n, 1, 2, 7, n, n] for n in range(500)]
    (result,) = ask(["shape_kept", {**REQUESTS, "rows": rows}])
    assert result == [b"http_requests", 0, 500]

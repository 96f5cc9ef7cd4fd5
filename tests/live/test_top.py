"""The busiest rows."""

from resty_metrics.live.top import NOTE_SECONDS, SHOWN, Baselines
from resty_metrics.live.totals import request_families
from resty_metrics.table.table import Table
from support.live import merge, shape


def rates(baselines: Baselines, table: Table, now: float) -> list[tuple[str, float]]:
    found = baselines.top(request_families(table), now)
    return [(dict(row.labels)["server"], row.rate) for row in found.rows]


def test_rows_are_compared_by_what_they_grew() -> None:
    table, baselines = Table(), Baselines()
    merge(table, ("old", "200", (1_000, 0, 0)), ("busy", "200", (1, 0, 0)))
    baselines.observe(request_families(table), 0.0)
    merge(table, ("old", "200", (10, 0, 0)), ("busy", "200", (30, 0, 0)), ("new", "200", (0, 20, 0)))
    assert rates(baselines, table, 10.0) == [("busy", 3.0), ("new", 2.0), ("old", 1.0)]


def test_they_are_compared_with_a_minute_or_two_ago() -> None:
    table, baselines = Table(), Baselines()
    for minute in range(4):
        baselines.observe(request_families(table), minute * NOTE_SECONDS)
        merge(table, ("a", "200", (60 * (minute + 1), 0, 0)))
    found = baselines.top(request_families(table), 4 * NOTE_SECONDS)
    assert (found.seconds, [row.rate for row in found.rows]) == (2 * NOTE_SECONDS, [3.5])


def test_a_row_without_requests_is_not_busy_and_there_are_not_too_many() -> None:
    table, baselines = Table(), Baselines()
    baselines.observe(request_families(table), 0.0)
    merge(table, ("idle", "200", (0, 0, 0)), *((f"s{n}", "200", (1, 0, 0)) for n in range(2 * SHOWN)))
    found = rates(baselines, table, 1.0)
    assert len(found) == SHOWN
    assert "idle" not in dict(found)


def test_the_name_of_an_nginx_is_its_label() -> None:
    table, baselines = Table(), Baselines()
    baselines.observe(request_families(table), 0.0)
    merge(table, ("a", "200", (1, 0, 0)), of=shape(instance="edge"))
    (row,) = baselines.top(request_families(table), 1.0).rows
    assert row.labels == (("nginx", "edge"), ("server", "a"), ("method", "GET"), ("status", "200"))


def test_of_a_huge_table_the_first_rows_are_looked_at() -> None:
    table, baselines = Table(), Baselines(most=40)
    for scope in ("", "api"):
        merge(table, *((f"s{n}", "200", (1, 0, 0)) for n in range(30)), of=shape(scope=scope))
    found = baselines.top(request_families(table), 1.0)
    assert (found.looked_at, found.total) == (40, 60)
    baselines.observe(request_families(table), 1.0)
    assert baselines.top(request_families(table), 2.0).looked_at == 40

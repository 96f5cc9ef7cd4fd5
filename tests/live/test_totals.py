"""Sums by server."""

from dataclasses import replace

import pytest
from resty_metrics.live.history import ALL, History
from resty_metrics.live.totals import NO_SERVER, Totals, counted_families, totals_of
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.table.table import Table
from support.live import merge, shape

SECONDS = (0.1, 1.0)


def test_requests_errors_and_buckets_are_added_up_by_server() -> None:
    table = Table()
    merge(table, ("a", "200", (1, 2, 0)), ("a", "404", (4, 0, 0)), ("a", "503", (0, 0, 3)), ("b", "200", (5, 0, 0)))
    assert totals_of(counted_families(table)) == {
        "a": Totals(10, 3, {SECONDS: [5, 2, 3]}),
        "b": Totals(5, 0, {SECONDS: [5, 0, 0]}),
    }


def test_an_upgraded_connection_is_a_request_without_a_duration() -> None:
    table = Table()
    merge(table, ("a", "101", (0, 0, 7)), ("a", "200", (1, 0, 0)))
    assert totals_of(counted_families(table)) == {"a": Totals(8, 0, {SECONDS: [1, 0, 0]})}


def test_scopes_are_added_up_and_instances_are_not() -> None:
    table = Table()
    merge(table, ("a", "200", (1, 0, 0)))
    merge(table, ("a", "200", (0, 1, 0)), of=shape(scope="api"))
    merge(table, ("a", "200", (2, 0)), of=shape((500,), scope="slow"))
    merge(table, ("a", "200", (9, 0, 0)), of=shape(instance="edge"))
    assert totals_of(counted_families(table)) == {
        "a": Totals(4, 0, {SECONDS: [1, 1, 0], (0.5,): [2, 0]}),
        "a (edge)": Totals(9, 0, {SECONDS: [9, 0, 0]}),
    }


def test_durations_without_a_server_are_those_of_all() -> None:
    """No server is invented for them, and the sum over all servers has them."""
    table, history = Table(), History()
    requests, timed = shape()
    without = replace(timed, labels=("status_class",))
    for now, count in ((0.0, 1), (5.0, 200)):
        rows = [("a", "GET", "200", count, 0, 0)]
        batches = [family_batch(requests, "", False, rows), family_batch(without, "", False, [("2xx", 0, count, 0, 0)])]
        table.merge(batches, 1, 0.0)
        history.observe(totals_of(counted_families(table)), 0, now)
    assert totals_of(counted_families(table)) == {
        "a": Totals(201, 0, {}),
        NO_SERVER: Totals(0, 0, {SECONDS: [0, 201, 0]}),
    }
    assert (history.servers, set(history.series)) == (1, {ALL, "a"})
    (of_all,), (of_server,) = history.series[ALL].points, history.series["a"].points
    assert of_all.p99 is not None
    assert of_all.requests == 200
    assert float(of_all.p99) == pytest.approx(0.99, abs=0.05)
    assert (of_server.requests, of_server.p50, of_server.p99) == (200, None, None)


def test_only_requests_are_looked_at() -> None:
    table = Table()
    table.merge([family_batch(Shape("c_total", "counter", ("server",), None, ("value",)), "", False, [("a", 1)])], 1, 0)
    assert totals_of(counted_families(table)) == {}

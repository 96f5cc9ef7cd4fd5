"""Sums by server."""

from resty_metrics.live.totals import Totals, moved, request_families, totals_of
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.table.expiry import Expiry
from resty_metrics.table.table import Table
from support.live import merge, shape

SECONDS = (0.1, 1.0)


def test_requests_errors_and_buckets_are_added_up_by_server() -> None:
    table = Table()
    merge(table, ("a", "200", (1, 2, 0)), ("a", "404", (4, 0, 0)), ("a", "503", (0, 0, 3)), ("b", "200", (5, 0, 0)))
    assert totals_of(request_families(table)) == {
        "a": Totals(10, 3, {SECONDS: [5, 2, 3]}),
        "b": Totals(5, 0, {SECONDS: [5, 0, 0]}),
    }


def test_an_upgraded_connection_is_a_request_without_a_duration() -> None:
    table = Table()
    merge(table, ("a", "101", (0, 0, 7)), ("a", "200", (1, 0, 0)))
    assert totals_of(request_families(table)) == {"a": Totals(8, 0, {SECONDS: [1, 0, 0]})}


def test_scopes_are_added_up_and_instances_are_not() -> None:
    table = Table()
    merge(table, ("a", "200", (1, 0, 0)))
    merge(table, ("a", "200", (0, 1, 0)), of=shape(scope="api"))
    merge(table, ("a", "200", (2, 0)), of=shape((500,), scope="slow"))
    merge(table, ("a", "200", (9, 0, 0)), of=shape(instance="edge"))
    assert totals_of(request_families(table)) == {
        "a": Totals(4, 0, {SECONDS: [1, 1, 0], (0.5,): [2, 0]}),
        "a (edge)": Totals(9, 0, {SECONDS: [9, 0, 0]}),
    }


def test_only_requests_are_looked_at() -> None:
    table = Table()
    table.merge([family_batch(Shape("c_total", "counter", ("server",), None, ("value",)), "", False, [("a", 1)])], 1, 0)
    assert totals_of(request_families(table)) == {}


def test_rows_that_expired_have_moved() -> None:
    table = Table()
    table.merge([family_batch(Shape("c_total", "counter", ("server",), None, ("value",)), "", False, [("a", 1)])], 1, 0)
    ((key, family),) = table.families.items()
    before = moved(table, [family])
    assert moved(table, [family]) == before
    table.expire(key, Expiry(3600.0, 3600.0, 3600.0, table.next_creation))
    assert moved(table, [family]) != before

"""Families that claim one name."""

from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from resty_metrics.exposition.text import MetricFamily, MetricType, render
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import assemble, conflicts
from resty_metrics.page.requests import render as render_table
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.table.table import Table
from resty_metrics.wire.gauge_family import gauge_family
from resty_metrics.wire.heartbeat import Heartbeat

Claim = tuple[str, MetricType]


def family(claim: Claim, custom: bool) -> MetricFamily:
    name, kind = claim
    line = f"{name} 1\n"
    if kind == "histogram":
        line = f'{name}_bucket{{le="+Inf"}} 1\n{name}_sum 1\n{name}_count 1\n'
    return MetricFamily(name, kind, "custom" if custom else "built in", [line.encode()], custom)


def resolved(custom: list[Claim], built_in: list[Claim]) -> list[MetricFamily]:
    return conflicts.resolve([family(claim, True) for claim in custom], [family(claim, False) for claim in built_in])


def withheld(families: list[MetricFamily]) -> list[str]:
    lines = [line.decode() for family in families if family.name == conflicts.CONFLICT for line in family.lines]
    return [line.split('"')[1] for line in lines]


# what the user has, what is built in, which of the built-in ones goes
AGAINST_BUILT_IN: list[tuple[Claim, Claim, bool]] = [
    (("a", "gauge"), ("b", "gauge"), False),
    (("a_total", "counter"), ("a_total", "counter"), True),
    (("a", "gauge"), ("a", "histogram"), True),
    (("a", "histogram"), ("a", "gauge"), True),
    (("a_bucket", "counter"), ("a", "histogram"), True),
    (("a_sum", "gauge"), ("a", "histogram"), True),
    (("a_count", "gauge"), ("a", "histogram"), True),
    (("a_created", "gauge"), ("a", "histogram"), True),
    (("a", "histogram"), ("a_sum", "gauge"), True),
    (("a", "histogram"), ("a_count_total", "counter"), True),
    (("a", "gauge"), ("a_total", "counter"), True),
    (("a_total", "counter"), ("a", "gauge"), False),
    (("a_total", "counter"), ("a", "histogram"), False),
    (("a_total", "gauge"), ("a_total", "counter"), True),
    (("a_max", "gauge"), ("a", "histogram"), False),
    (("ab", "gauge"), ("a", "histogram"), False),
]


@pytest.mark.parametrize(("custom", "built_in", "goes"), AGAINST_BUILT_IN)
def test_the_user_keeps_the_name(custom: Claim, built_in: Claim, goes: bool) -> None:
    families = resolved([custom], [built_in])
    assert withheld(families) == ([built_in[0]] if goes else [])
    assert any(shown.custom and shown.name == custom[0] for shown in families)
    assert any(not shown.custom and shown.name == built_in[0] for shown in families) is not goes
    is_readable(families)


# the first one stays
AGAINST_EACH_OTHER: list[tuple[Claim, Claim, bool]] = [
    (("a", "gauge"), ("b", "gauge"), False),
    (("a", "gauge"), ("a", "counter"), True),
    (("a", "histogram"), ("a_count", "counter"), True),
    (("a_count", "counter"), ("a", "histogram"), True),
    (("a", "histogram"), ("a_total", "counter"), False),
    (("a", "gauge"), ("a_total", "counter"), False),
    (("a", "counter"), ("a_total", "counter"), False),
    (("a_created", "gauge"), ("a_total", "counter"), False),
]


@pytest.mark.parametrize(("first", "second", "goes"), AGAINST_EACH_OTHER)
def test_of_two_of_the_user_the_later_goes(first: Claim, second: Claim, goes: bool) -> None:
    families = resolved([first, second], [])
    assert withheld(families) == ([second[0]] if goes else [])
    assert [shown.name for shown in families if shown.custom] == [first[0], *([] if goes else [second[0]])]
    is_readable(families)


def is_readable(families: list[MetricFamily]) -> None:
    list(text_string_to_metric_families(render(families, openmetrics=False).decode()))
    list(parse_openmetrics(render(families, openmetrics=True).decode()))  # type: ignore[no-untyped-call]


# a family that a worker sends as a built-in one, and what the collector makes itself; whether the first goes
SENT: list[tuple[Claim, Claim, bool]] = [
    (("a", "gauge"), ("a", "gauge"), True),
    (("a", "counter"), ("a", "gauge"), True),
    (("a_total", "counter"), ("a_total", "counter"), True),
    (("a_count", "counter"), ("a", "histogram"), True),
    (("a", "histogram"), ("a_sum", "gauge"), True),
    (("a_total", "counter"), ("a", "gauge"), False),
    (("b_total", "counter"), ("a_total", "counter"), False),
    ((conflicts.CONFLICT, "counter"), ("a", "gauge"), True),
]


@pytest.mark.parametrize("instance", ["", "edge", None])
@pytest.mark.parametrize(("sent", "own", "goes"), SENT)
def test_what_the_collector_makes_itself_keeps_its_name(
    sent: Claim, own: Claim, goes: bool, instance: str | None
) -> None:
    """Whatever came first, and whichever nginx it is of; None: the collector makes it of no nginx."""
    strange = replace(family(sent, False), instance="", sent=True)
    families = conflicts.resolve([], [strange, replace(family(own, False), instance=instance)])
    assert withheld(families) == ([sent[0]] if goes else [])
    assert any(shown.name == own[0] and not shown.sent for shown in families)
    is_readable(families)


def test_two_sent_families_of_one_name_are_of_the_nginx_that_was_first() -> None:
    """Some other program's, since the Lua module sends each name with one type."""
    counter = replace(family(("m", "counter"), False), instance="b", sent=True)
    histogram = replace(family(("m", "histogram"), False), instance="a", sent=True)
    for first in ("a", "b"):
        families = conflicts.resolve([], [counter, histogram], [first])
        assert [shown.instance for shown in families if shown.name == "m"] == [first]
        is_readable(families)


def test_a_name_is_free_again_when_the_metric_that_has_it_is_reset() -> None:
    """What the advice says to do, in one step: metric:reset(), and another name."""
    table = Table()
    custom = Shape("nginx_http_cache_requests_total", "counter", ("page",), None, ("value",), custom=True)
    ours = Shape("nginx_http_cache_requests_total", "counter", ("server", "cache_status"), None, ("value",))
    table.merge([family_batch(custom, "", False, [("p", 1)]), family_batch(ours, "", False, [("s", "HIT", 1)])], 1, 0.0)
    assert names_withheld(table) == ["nginx_http_cache_requests_total"]
    another = Shape("cached_pages_total", "counter", ("page",), None, ("value",), custom=True)
    table.merge([family_batch(custom, "", False, [], reset=True), family_batch(another, "", False, [("p", 1)])], 2, 0.0)
    assert names_withheld(table) == []


def names_withheld(table: Table) -> list[str]:
    return withheld(finish(assemble.in_steps(assemble.capture(table), render_table(table), [], [], (), {}, [])))


def test_a_family_without_lines_takes_no_name() -> None:
    families = conflicts.resolve([MetricFamily("a", "gauge", "", [b""], True)], [family(("a", "gauge"), False)])
    assert withheld(families) == []
    assert [shown.name for shown in families if shown.lines] == ["a"]


def test_built_in_families_of_one_name_are_no_conflict() -> None:
    families = resolved([], [("a", "gauge"), ("a", "gauge")])
    assert withheld(families) == []
    assert len(families) == 3


def test_who_takes_the_name_of_the_metric_that_says_so() -> None:
    families = resolved([(conflicts.CONFLICT, "gauge"), ("a", "gauge")], [("a", "gauge")])
    assert [shown.name for shown in families] == [conflicts.CONFLICT, "a"]


def test_a_page_with_conflicts_everywhere() -> None:
    """Of requests only the metric that collides is withheld; of a type that changed the worker born last is right."""
    table, columns = Table(), ("count", "request_bytes", "response_bytes")
    requests = Shape("http_requests", "requests", ("server", "method", "status"), None, columns)
    responses = Shape("nginx_http_responses_total", "counter", ("host",), None, ("value",), custom=True)
    became = Shape("became", "counter", (), None, ("value",), custom=True)
    table.merge([family_batch(requests, "", False, [("a", "GET", "200", 1, 6, 7)])], 10, 0.0)
    table.merge([family_batch(responses, "Mine.", False, [("h", 3)]), family_batch(became, "", False, [(9,)])], 10, 0.0)
    gauge = gauge_family("became", "", (), "sum", [(4, 1)])
    for birth_ms, value in ((11, "4"), (9, "9")):
        beats = [LiveHeartbeat(b"s" * 16, birth_ms, 0.0, Heartbeat(families=(gauge,)))]
        page = render(
            finish(assemble.in_steps(assemble.capture(table), render_table(table), beats, [], (), {}, [])),
            openmetrics=False,
        ).decode()
        assert f"\nbecame {value}\n" in page
        assert 'nginx_http_responses_total{host="h"} 3\n' in page
        assert "# HELP nginx_http_responses_total Mine.\n" in page
        assert 'nginx_http_request_bytes_total{server="a",method="GET",status="200"} 6\n' in page
        for name in ("nginx_http_responses_total", "became"):
            assert f'resty_metrics_family_conflict{{family="{name}"}} 1\n' in page
        list(text_string_to_metric_families(page))

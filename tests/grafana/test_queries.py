"""Each query of each panel, as Grafana would send it, and each rule: on a Prometheus that watches real nginx under
known traffic.
"""

import itertools
import math
import re
import time
from collections.abc import Iterator
from functools import partial

import pytest
import yaml
from support import impostors
from support.fleet import (
    BROKEN,
    CACHED,
    EDGE,
    GOOD,
    OF_EDGE,
    ONCE,
    ORDERS,
    PASSED,
    RULES,
    SLOW,
    USERS,
    VTS_ERRORS,
    VTS_HITS,
    VTS_REQUESTS,
    VTS_SECONDS,
    Fleet,
    fleet,
)
from support.wait import wait_until

from grafana.build import DASHBOARDS
from grafana.model import Panel, Query
from grafana.promql import MARKS

pytestmark = pytest.mark.slow

WINDOW_SECONDS = 600  # longer than all of this takes: what was sent is in it, whenever it is asked for
ABOUT = 0.15  # rates are extrapolated by half an interval of SCRAPES before the first, up to a whole one after the last
# What may find nothing here, by panel and beginning of the query.
EMPTY = {
    ("Coverage", "min by (instance, nginx) (resty_metrics_coverage_ratio"): "needs five minutes of traffic",
    ("Lifetime", "histogram_quantile(0.9"): "one upgraded connection is too few for a p90 or a p99",
    ("Lost rows by reason", "sum by (nginx, reason) (rate(resty_metrics_worker_lost_rows"): "no worker lost a row",
}
WHY = {"missing", "replaced"}  # who heals fast sees the path before the other is there
PANELS = [(board.name, panel) for board in DASHBOARDS for panel in board.panels]
CHOICES = {choice.name: choice.query for board in DASHBOARDS for choice in board.choices if choice.query is not None}
RECORDED = [
    rule["record"]
    for path in RULES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
]
Series = list[tuple[dict[str, str], float]]


@pytest.fixture(scope="module")
def watched() -> Iterator[Fleet]:
    with fleet() as made:
        yield made


def filled(text: str, chosen: dict[str, str]) -> str:
    """A query with what Grafana puts in: everything is chosen, but for ``chosen``."""
    values = {"job": "resty-metrics", "by": "route", "__rate_interval": f"{WINDOW_SECONDS}s"}
    values |= {"__range": f"{WINDOW_SECONDS}s"} | chosen
    return re.sub(r"\$(\w+)", lambda match: values.get(match[1], ".*"), text)


def ask(watched: Fleet, text: str, **chosen: str) -> Series:
    """Its series that have a number."""
    return [found for found in watched.prometheus.query(filled(text, chosen)) if not math.isnan(found[1])]


def panel(board: str, title: str) -> Panel:
    (found,) = (panel for name, panel in PANELS if (name, panel.title) == (board, title))
    return found


def values(watched: Fleet, board: str, title: str, legend: str | None = None, **chosen: str) -> dict[str, float]:
    """What a panel, or one query of it, shows by legend; without the blanks of labels that are absent."""
    return {
        legend_of(query, labels, chosen): value
        for query in panel(board, title).queries
        if legend in (None, query.legend)
        for labels, value in ask(watched, query.expression, **chosen)
    }


def legend_of(query: Query, labels: dict[str, str], chosen: dict[str, str]) -> str:
    template = query.legend.replace("$by", chosen.get("by", "route"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template).strip()


def count(rate: float) -> float:
    """Of a rate over the window."""
    return rate * WINDOW_SECONDS


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda one: one.title if isinstance(one, Panel) else one)
def test_each_query_finds_something(watched: Fleet, board: str, panel: Panel) -> None:
    for query in panel.queries:
        if any(title == panel.title and query.expression.startswith(beginning) for title, beginning in EMPTY):
            assert ask(watched, query.expression) == [], "then take it from the list"
        else:
            wait_until(partial(ask, watched, query.expression), message=query.expression)


def test_few_may_find_nothing() -> None:
    titles = {panel.title for _, panel in PANELS}
    assert len(EMPTY) <= 5
    assert all(title in titles for title, _ in EMPTY)


@pytest.mark.parametrize("name", CHOICES)
def test_each_variable_has_values(watched: Fleet, name: str) -> None:
    match = re.fullmatch(r"label_values\((.*), (\w+)\)", CHOICES[name])
    assert match is not None
    found = ask(watched, f"count by ({match[2]}) ({match[1]})")
    assert [labels[match[2]] for labels, _ in found if labels.get(match[2])]


def test_requests_by_server_and_nginx(watched: Fleet) -> None:
    shown = values(watched, "overview", "Requests by server")
    assert count(shown["a.example"]) == pytest.approx(GOOD + BROKEN + USERS + ORDERS, rel=ABOUT)
    assert count(shown[f"a.example {EDGE}"]) == pytest.approx(OF_EDGE + CACHED, rel=ABOUT)
    total = values(watched, "overview", "Requests")["requests"]
    assert total == pytest.approx(sum(shown.values()), rel=0.05)  # asked for a moment later


def test_a_choice_leaves_out_the_others(watched: Fleet) -> None:
    assert values(watched, "overview", "Requests by server", nginx=EDGE).keys() == {f"a.example {EDGE}"}
    here = watched.instance(watched.collector)
    assert values(watched, "overview", "Requests by server", instance=here).keys() == {"a.example", "b.example"}
    assert values(watched, "overview", "Requests by server", server="b.example").keys() == {"b.example"}
    assert values(watched, "overview", "Requests", job="another") == {}


def test_the_error_ratio(watched: Fleet) -> None:
    ratio = BROKEN / (GOOD + BROKEN + USERS + ORDERS)
    shown = values(watched, "overview", "Error ratio by server")
    assert shown["a.example"] == pytest.approx(ratio, rel=ABOUT)
    assert shown["b.example"] == 0
    assert shown[f"a.example {EDGE}"] == 0
    whole = BROKEN / (GOOD + BROKEN + USERS + ORDERS + OF_EDGE + CACHED + SLOW + PASSED + ONCE)
    assert values(watched, "overview", "Errors")["5xx"] == pytest.approx(whole, rel=ABOUT)
    classes = values(watched, "requests", "Share by class")
    assert sum(classes.values()) == pytest.approx(1)
    assert classes["5xx"] == pytest.approx(whole, rel=ABOUT)


def test_percentiles_of_a_known_delay(watched: Fleet) -> None:
    """1.2 s lies in the bucket (1, 2.5]; a seventh of the requests to that server take that long."""
    assert 1 < values(watched, "overview", "p99 by server")["b.example"] <= 2.5
    assert values(watched, "overview", "p99 by server")[f"a.example {EDGE}"] < 1
    shown = values(watched, "requests", "Percentiles", server="b.example")
    assert shown["p50"] < 1 < shown["p90"] <= 2.5
    slowest = values(watched, "requests", "Most time")
    assert next(iter(slowest)) == "b.example 2xx"
    assert slowest["b.example 2xx"] > SLOW


def test_durations_by_the_labels_that_they_have(watched: Fleet) -> None:
    by_status = values(watched, "requests", "p99 by status")
    assert by_status.keys() == {"2xx", "200"}  # of 5xx there are too few
    assert values(watched, "requests", "p99 by status", nginx=EDGE).keys() == {"200"}
    assert 1 < by_status["2xx"] <= 2.5
    assert values(watched, "requests", "p99 by method").keys() == {"GET"}
    assert values(watched, "requests", "p99 by method", server="b.example") == {}


def test_a_percentile_of_few_requests_is_not_shown(watched: Fleet) -> None:
    """A p99 needs 100 requests, a p90 needs 10, and a median is shown of any number."""
    assert values(watched, "requests", "p99 by $by").keys() == {"a.example other", "b.example other"}
    assert values(watched, "requests", "p99 by status", server="a.example", nginx="").keys() == {"2xx"}
    assert values(watched, "requests", "Percentiles", server="none.example") == {}
    assert set(values(watched, "requests", "Lifetime")) == {"p50"}
    (table,) = (panel for name, panel in PANELS if (name, panel.title) == ("overview", "Servers"))
    shown = {
        query.legend: {series[0]["server"] for series in ask(watched, query.expression)} for query in table.queries
    }
    assert shown["p50"] == shown["p99"] == shown["requests"]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda one: one.title if isinstance(one, Panel) else one)
def test_no_high_percentile_of_requests_is_without_its_number(board: str, panel: Panel) -> None:
    for query in panel.queries:
        match = re.match(r"histogram_quantile\((0\.\d+), .*?(\w+)_bucket\{", query.expression)
        if match is not None and match[2].startswith("nginx_"):
            least = {"0.5": None, "0.9": "10", "0.99": "100"}[match[1]]
            found = re.search(
                rf"increase\({match[2]}_bucket\{{.*le=\"\+Inf\"\}}\[\$__rate_interval\]\)\) >= (\d+)$", query.expression
            )
            assert (None if found is None else found[1]) == least, f"{board}: {query.legend}"


def test_the_heatmap_has_every_request(watched: Fleet) -> None:
    shown = values(watched, "requests", "Distribution", server="a.example", nginx=EDGE)
    assert count(shown["+Inf"]) == pytest.approx(OF_EDGE + CACHED, rel=ABOUT)
    rates = list(shown.values())  # rate() extrapolates each bucket by its own first value, so they rise only about so
    assert all(later >= earlier * (1 - ABOUT) for earlier, later in itertools.pairwise(rates))


def test_a_label_of_the_users(watched: Fleet) -> None:
    shown = values(watched, "requests", "Requests by $by")
    assert count(shown["a.example /users/:id"]) == pytest.approx(USERS, rel=ABOUT)
    assert count(shown["a.example /orders/:id"]) == pytest.approx(ORDERS, rel=ABOUT)
    assert values(watched, "requests", "Requests by $by", by="tenant") == {}


def test_the_largest_come_first(watched: Fleet) -> None:
    shown = values(watched, "requests", "Most requests")
    assert next(iter(shown)) == "a.example GET 200"
    assert values(watched, "requests", "Most errors").keys() == {"a.example GET 500"}


def test_bytes_are_those_of_the_access_log(watched: Fleet) -> None:
    sent = sum(int(line[4]) for line in watched.edge.access_lines())
    assert count(values(watched, "requests", "Bytes sent")[f"a.example {EDGE}"]) == pytest.approx(sent, rel=ABOUT)


def test_attempts_and_retries(watched: Fleet) -> None:
    """Each request is answered by the good peer at last; each failure at the other one is followed by a retry."""
    peers = {labels["peer"]: count(value) for labels, value in ask(watched, attempts()) if labels["upstream"] == "pool"}
    assert max(peers.values()) == pytest.approx(PASSED, rel=ABOUT)
    failed = min(peers.values())
    assert failed > 0
    retries = count(values(watched, "upstreams", "Retries by upstream")["pool"])
    assert retries == pytest.approx(failed, rel=ABOUT)
    shares = sorted(values(watched, "upstreams", "Failed attempts by peer", upstream="pool").values())
    assert shares == [0, 1]
    assert values(watched, "upstreams", "Failed attempts", upstream="pool")["failed"] == pytest.approx(
        failed / (failed + PASSED), rel=ABOUT
    )


def attempts() -> str:
    return panel("upstreams", "Attempts by peer").queries[0].expression


def test_what_the_cache_did(watched: Fleet) -> None:
    shown = values(watched, "upstreams", "Answered from the cache, by server")
    assert shown[f"a.example {EDGE}"] == pytest.approx((CACHED - 1) / CACHED, rel=ABOUT)


def test_vts(watched: Fleet) -> None:
    assert count(values(watched, "vts", "Requests by host")["a.example"]) == pytest.approx(VTS_REQUESTS, rel=ABOUT)
    assert values(watched, "vts", "Mean duration")["a.example"] == pytest.approx(VTS_SECONDS, rel=ABOUT)
    assert 0.05 < values(watched, "vts", "p99 by host")["a.example"] <= 0.5
    shares = values(watched, "vts", "5xx by peer")
    assert list(shares.values()) == pytest.approx([VTS_ERRORS / VTS_REQUESTS] * len(shares), rel=ABOUT)
    hits = values(watched, "vts", "Answered from the cache, by zone")["pages"]
    assert hits == pytest.approx(VTS_HITS / VTS_REQUESTS, rel=ABOUT)
    here = watched.instance(watched.collector)
    assert values(watched, "vts", "Shared memory")[f"({here})"] == pytest.approx(21331 / 1048575)
    assert values(watched, "vts", "Requests by host", nginx=EDGE) == {}


def test_the_pipeline_says_what_happened(watched: Fleet) -> None:
    here = watched.instance(watched.collector)
    states = values(watched, "pipeline", "State", "{{instance}} path")
    assert states == {f"{watched.instance(each)} path": 1 for each in (watched.collector, watched.edge_collector)}
    rebinds = values(watched, "pipeline", "Rebinds by reason")
    assert [name for name, value in rebinds.items() if value > 0] == [f"missing ({here})"]
    sources = values(watched, "pipeline", "Sources")
    assert sources[f"lua {EDGE} ({watched.instance(watched.edge_collector)})"] == 1
    assert [name for name, value in sources.items() if value == 0] == [f"stub_status gone ({here})"]
    assert values(watched, "overview", "Pipeline")["pipeline"] == 0
    of_edge = watched.instance(watched.edge_collector)
    assert values(watched, "overview", "Pipeline", instance=of_edge)["pipeline"] == 1
    assert values(watched, "pipeline", "Lost rows")["rows"] == 0
    troubles = [labels["trouble"] for labels, held in ask(watched, "resty_metrics_trouble") if held]
    assert sorted(troubles) == ["family_conflict", "overflow", "source_down", "worker_errors"]
    assert values(watched, "pipeline", "Troubles")["troubles"] == len(troubles)


def test_marks(watched: Fleet) -> None:
    reloads, rebinds = (ask(watched, mark.expression) for mark in MARKS)
    assert {labels.get("nginx") for labels, _ in reloads} == {None, EDGE}
    now = time.time() * 1000
    assert all(now - WINDOW_SECONDS * 1000 < value <= now for _, value in reloads)
    assert [labels["reason"] for labels, _ in rebinds] == ["missing"]


def test_the_incident_as_one_would_have_seen_it(watched: Fleet) -> None:
    """Somebody takes the path again and again. The last test, since the others would see that too."""
    collector = watched.edge_collector
    of_edge = watched.instance(collector)
    undisturbed = partial(values, watched, "pipeline", "State", "{{instance}} undisturbed", instance=of_edge)
    assert list(undisturbed().values()) == [1]
    with impostors.returns(collector.socket_path):
        wait_until(lambda: list(undisturbed().values()) == [0], message="red at undisturbed")
        rebinds = values(watched, "pipeline", "Rebinds by reason", instance=of_edge)
        assert {name for name, value in rebinds.items() if value > 0} <= {f"{why} ({of_edge})" for why in WHY}
        assert values(watched, "pipeline", "Rebinds", instance=of_edge)["rebinds"] > 2
        marked = {labels["reason"] for labels, _ in ask(watched, MARKS[1].expression, instance=of_edge)}
        assert marked
        assert marked <= WHY
    assert values(watched, "pipeline", "Lost rows", instance=of_edge)["rows"] == 0


@pytest.mark.parametrize("name", RECORDED)
def test_each_recorded_rule_gives_something(watched: Fleet, name: str) -> None:
    wait_until(lambda: watched.prometheus.query(name), message=f"{name} in Prometheus")


def test_no_rule_fails(watched: Fleet) -> None:
    def all_ran() -> bool:
        return all(rule["health"] != "unknown" for rule in watched.prometheus.rules())

    wait_until(all_ran, message="every rule's first run")
    assert {rule["name"]: rule["lastError"] for rule in watched.prometheus.rules() if rule["health"] != "ok"} == {}


def test_what_is_recorded_is_right(watched: Fleet) -> None:
    def recorded(name: str) -> dict[tuple[str | None, str], float]:
        found = watched.prometheus.query(f"job_nginx_server:{name}")
        return {(labels.get("nginx"), labels["server"]): value for labels, value in found}

    ratio = BROKEN / (GOOD + BROKEN + USERS + ORDERS)
    for name in ("nginx_http_responses_errors:ratio_rate5m", "slo_errors_per_request:ratio_rate3d"):
        errors = recorded(name)
        assert errors[None, "a.example"] == pytest.approx(ratio, rel=ABOUT)
        assert errors[EDGE, "a.example"] == 0
    slow = recorded("nginx_http_request_duration_seconds:p99_rate5m")
    assert 1 < slow[None, "b.example"] <= 2.5

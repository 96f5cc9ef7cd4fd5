"""Several nginx on one page."""

from dataclasses import replace

import pytest
from resty_metrics.exposition import text as exposition
from resty_metrics.exposition.text import MetricFamily, MetricType
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import assemble, conflicts, instances
from resty_metrics.page.coverage import ENDED, WINDOW_SECONDS, Coverage
from resty_metrics.page.requests import render
from resty_metrics.process.steps import finish
from resty_metrics.shapes.shape import DURATION_SCALE, DURATIONS, REQUEST_COLUMNS, Shape, family_batch
from resty_metrics.sources import source_metrics as report
from resty_metrics.table.table import Table
from resty_metrics.wire.gauge_family import gauge_family
from resty_metrics.wire.heartbeat import Heartbeat, Master, NginxCounters

REQUESTS = Shape("http_requests", "requests", ("server", "method", "status"), None, REQUEST_COLUMNS)
TIMED = Shape(DURATIONS, "histogram", ("server", "status_class"), (5,), ("sum",), DURATION_SCALE)
WAITS = Shape("waits", "histogram", (), (5,), ("sum",))
JOBS = Shape("jobs_total", "counter", (), None, ("value",))
OWN = Shape("own_total", "counter", ("nginx", "l"), None, ("value",), custom=True)

GOLDEN = """\
# HELP nginx_http_responses_total Responses sent to clients, by the final status of the request.
# TYPE nginx_http_responses_total counter
nginx_http_responses_total{server="a",method="GET",status="200"} 3
nginx_http_responses_total{nginx="edge",server="%",method="GET",status="200"} 3
# HELP nginx_http_request_bytes_total Bytes received from clients: request line, headers and body.
# TYPE nginx_http_request_bytes_total counter
nginx_http_request_bytes_total{server="a",method="GET",status="200"} 70
nginx_http_request_bytes_total{nginx="edge",server="%",method="GET",status="200"} 70
# HELP nginx_http_response_bytes_total Bytes sent to clients: headers and body.
# TYPE nginx_http_response_bytes_total counter
nginx_http_response_bytes_total{server="a",method="GET",status="200"} 80
nginx_http_response_bytes_total{nginx="edge",server="%",method="GET",status="200"} 80
# HELP nginx_http_request_duration_seconds Histogram nginx_http_request_duration_seconds of the nginx configuration.
# TYPE nginx_http_request_duration_seconds histogram
nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="0.005"} 1
nginx_http_request_duration_seconds_bucket{server="a",status_class="2xx",le="+Inf"} 3
nginx_http_request_duration_seconds_sum{server="a",status_class="2xx"} 1.0
nginx_http_request_duration_seconds_count{server="a",status_class="2xx"} 3
nginx_http_request_duration_seconds_bucket{nginx="edge",server="%",status_class="2xx",le="0.005"} 1
nginx_http_request_duration_seconds_bucket{nginx="edge",server="%",status_class="2xx",le="+Inf"} 3
nginx_http_request_duration_seconds_sum{nginx="edge",server="%",status_class="2xx"} 1.0
nginx_http_request_duration_seconds_count{nginx="edge",server="%",status_class="2xx"} 3
# HELP waits Histogram waits of the nginx configuration.
# TYPE waits histogram
waits_bucket{le="5.0"} 1
waits_bucket{le="+Inf"} 3
waits_sum 4.0
waits_count 3
waits_bucket{nginx="edge",le="5.0"} 1
waits_bucket{nginx="edge",le="+Inf"} 3
waits_sum{nginx="edge"} 4.0
waits_count{nginx="edge"} 3
# HELP jobs_total Counter jobs_total of the nginx configuration.
# TYPE jobs_total counter
jobs_total 7
jobs_total{nginx="edge"} 7
# HELP own_total Counter own_total of the nginx configuration.
# TYPE own_total counter
own_total{nginx="mine",l="x"} 9
own_total{nginx="edge",exported_nginx="mine",l="x"} 9
"""


def merge(table: Table, instance: str, server: str) -> None:
    rows = {
        REQUESTS: (server, "GET", "200", 3, 70, 80),
        TIMED: (server, "2xx", 1, 2, 1000),
        WAITS: (1, 2, 4),
        JOBS: (7,),
        OWN: ("mine", "x", 9),
    }
    batches = [family_batch(replace(shape, instance=instance), "", False, [row]) for shape, row in rows.items()]
    table.merge(batches, 1, 0.0)


def test_golden() -> None:
    """Each sample of the one with a name begins with it; those of the other are as if it were alone."""
    table = Table()
    merge(table, "", "a")
    alone = exposition.render(render(table), openmetrics=False).decode().splitlines()
    merge(table, "edge", "%")
    page = exposition.render(render(table), openmetrics=False).decode()
    assert page == GOLDEN
    assert [line for line in page.splitlines() if 'nginx="edge"' not in line] == alone


@pytest.mark.parametrize(
    ("names", "instance", "shown"),
    [
        (("a", "nginx"), "", ["a", "nginx"]),
        (("a", "b"), "edge", ["a", "b"]),
        (("a", "nginx"), "edge", ["a", "exported_nginx"]),
        (("exported_nginx", "nginx"), "edge", ["exported_nginx", "exported_exported_nginx"]),
        (("exported_nginx",), "edge", ["exported_nginx"]),
    ],
)
def test_a_label_of_the_users_own(names: tuple[str, ...], instance: str, shown: list[str]) -> None:
    assert instances.label_names(names, instance) == shown


def beat(instance: str, pid: int, sender: int, last_seen: float = 0.0, requests: int = 50) -> LiveHeartbeat:
    heartbeat = Heartbeat(
        module="0.1.0",
        worker=0,
        workers=2,
        master=Master(pid, pid * 100),
        nginx=NginxCounters(1, 1, requests, 1, 0, 1, 0),
        generation=3,
        dicts=(("d", 8, 4),),
        families=(gauge_family("g", "", ("nginx",), "sum", [("own", sender, 1)]),),
        instance=instance,
    )
    return LiveHeartbeat(bytes([sender]) * 16, sender, last_seen, heartbeat)


def assembled(table: Table, *beats: LiveHeartbeat, fetched: tuple[str, ...] = ()) -> list[str]:
    families = finish(assemble.in_steps(assemble.capture(table), render(table), list(beats), [], fetched, {}, []))
    page = exposition.render(families, openmetrics=False).decode()
    return [line for line in page.splitlines() if not line.startswith("#")]


def test_gauges_are_those_of_each() -> None:
    """Each has a newest master of its own, and what its workers say is combined with that of no other."""
    nameless = [beat("", 1, 1), beat("", 1, 2)]
    alone = assembled(Table(), *nameless)
    families = assembled(Table(), *nameless, beat("edge", 9, 7))
    assert [line for line in families if 'nginx="edge"' not in line] == alone
    assert 'g{nginx="own"} 3' in alone
    assert {
        'nginx_up{nginx="edge"} 1',
        'nginx_http_requests_total{nginx="edge"} 50',
        'resty_metrics_workers_expected{nginx="edge"} 2',
        'resty_metrics_workers_seen{nginx="edge"} 1',
        'resty_metrics_nginx_reload_generation{nginx="edge"} 3',
        'resty_metrics_shared_dict_free_bytes{nginx="edge",dict="d"} 4',
        'resty_metrics_lua_info{nginx="edge",version="0.1.0"} 1',
        'resty_metrics_requests_begun_total{nginx="edge",master="9-900"} 50',
        'g{nginx="edge",exported_nginx="own"} 7',
    } <= set(families)
    assert len(families) == 2 * len(alone)


def test_a_fetched_stub_status_replaces_that_of_its_name() -> None:
    beats = [beat("", 1, 1), beat("edge", 9, 7)]
    assert [line for line in assembled(Table(), *beats, fetched=("edge",)) if line.startswith("nginx_up")] == [
        "nginx_up 1"
    ]
    assert [line for line in assembled(Table(), *beats, fetched=("",)) if line.startswith("nginx_up")] == [
        'nginx_up{nginx="edge"} 1'
    ]


def test_coverage_is_that_of_each_as_long_as_it_is_heard_of() -> None:
    coverage, table = Coverage(), Table()
    shape = Shape(ENDED, "counter", ("master",), None, ("value",))
    for now, ended in ((0.0, 0), (WINDOW_SECONDS, 500)):
        rows = {"": ("1-100", ended), "edge": ("9-900", ended / 2)}
        batches = [family_batch(replace(shape, instance=name), "", False, [row]) for name, row in rows.items()]
        table.merge(batches, 1, 0.0)
        beats = [beat("", 1, 1, now, ended), beat("edge", 9, 7, now, ended)]
        coverage.observe(beats, table, now)
    assert coverage.ratios() == {"": 1.0, "edge": 0.5}
    coverage.observe(beats[:1], table, WINDOW_SECONDS + 1)
    assert coverage.ratios() == {"": 1.0}


def test_a_master_of_two_names_is_not_sampled() -> None:
    """What nginx counts for workers of a new name would be missing from what the hook counts under the old one."""
    coverage, table = Coverage(), Table()
    shape = Shape(ENDED, "counter", ("master",), None, ("value",), instance="old")
    for now, ended, requests in ((0.0, 0, 0), (WINDOW_SECONDS, 500, 500), (WINDOW_SECONDS + 60, 10, 1000)):
        table.merge([family_batch(shape, "", False, [("1-100", ended)])], 1, 0.0)
        beats = [beat("old", 1, 1, now, requests)]
        coverage.observe([*beats, beat("new", 1, 2, now, requests)] if requests == 1000 else beats, table, now)
    assert coverage.ratios() == {"old": 1.0}


@pytest.mark.parametrize(
    ("known", "alive", "shown"),
    [
        ((), (), ['{source="lua"} 0']),
        (("",), ("",), ['{source="lua"} 1']),
        (("", "a"), ("a",), ['{source="lua"} 0', '{source="lua",nginx="a"} 1']),
        (("b", "a"), ("a",), ['{source="lua",nginx="a"} 1', '{source="lua",nginx="b"} 0']),
    ],
)
def test_who_is_heard_of(known: tuple[str, ...], alive: tuple[str, ...], shown: list[str]) -> None:
    lines = b"".join(report.lua(known, alive).lines).decode().splitlines()
    assert [line.removeprefix("resty_metrics_source_up") for line in lines] == shown


Claim = tuple[str, str, MetricType]  # instance, name, type; "-": the collector's own

# the user's families and the built-in ones, then (instance, name) of those that go; "a" was there first
CLAIMS: list[tuple[list[Claim], list[Claim], list[tuple[str, str]]]] = [
    ([("a", "m", "gauge"), ("b", "m", "gauge")], [], []),
    ([("b", "m", "counter"), ("a", "m", "gauge")], [], [("b", "m")]),
    ([("a", "m", "histogram"), ("b", "m_sum", "gauge")], [], [("b", "m_sum")]),
    ([("b", "m", "gauge")], [("a", "m", "gauge"), ("b", "m", "gauge")], [("b", "m")]),
    ([("b", "m", "counter")], [("a", "m", "gauge"), ("b", "m", "gauge")], [("b", "m")]),
    ([("a", "m", "counter")], [("a", "m", "gauge"), ("b", "m", "gauge")], [("a", "m"), ("b", "m")]),
    ([("b", "m", "gauge")], [("a", "m_total", "counter"), ("b", "m_total", "counter")], [("b", "m")]),
    ([("b", "m", "gauge")], [("-", "m", "gauge")], [("-", "m")]),
    ([], [("a", "m", "gauge"), ("b", "m", "gauge"), ("-", "m", "gauge")], []),
]


def family(claim: Claim, custom: bool) -> MetricFamily:
    instance, name, kind = claim
    return MetricFamily(name, kind, "", [b"x 1\n"], custom, None if instance == "-" else instance)


@pytest.mark.parametrize(("custom", "built_in", "goes"), CLAIMS)
def test_who_keeps_a_name(custom: list[Claim], built_in: list[Claim], goes: list[tuple[str, str]]) -> None:
    """A second one that is added takes nothing from the first."""
    families = [*(family(entry, True) for entry in custom), *(family(entry, False) for entry in built_in)]
    shown = conflicts.resolve(families[: len(custom)], families[len(custom) :], ["a"])
    left = [entry for entry in families if not any(entry is kept for kept in shown)]
    assert [("-" if entry.instance is None else entry.instance, entry.name) for entry in left] == goes


CUSTOM = Shape("mine_total", "counter", ("nginx",), None, ("value",), custom=True)
SIZES = Shape("sizes", "histogram", ("l",), (5,), ("sum",), custom=True)


def send(table: Table, shape: Shape, instance: str, *labels: str, birth_ms: int = 1, **changes: object) -> None:
    """A row of a family of an nginx, all its numbers 1."""
    of = replace(shape, instance=instance, **changes)  # type: ignore[arg-type]
    table.merge([family_batch(of, "", False, [(*labels, *[1] * of.width)])], birth_ms, 0.0)


def lines_of(table: Table, *beats: LiveHeartbeat, known: tuple[str, ...] | None = None) -> list[str]:
    moment = assemble.capture(table, known=known)
    families = finish(assemble.in_steps(moment, render(table), list(beats), [], (), {}, []))
    return exposition.render(families, openmetrics=False).decode().splitlines()


def conflicts_of(lines: list[str]) -> list[str]:
    return [line.removeprefix(conflicts.CONFLICT) for line in lines if line.startswith(conflicts.CONFLICT)]


WITH_LABEL = (*REQUESTS.labels, "nginx")

# a family; its labels in an nginx without a name, and in one with; the values of the former; a metric of it
TWICE: list[tuple[Shape, tuple[str, ...], tuple[str, ...], tuple[str, ...], str]] = [
    (CUSTOM, ("nginx",), (), ("edge",), "mine_total"),
    (CUSTOM, ("l", "nginx"), ("l",), ("x", "edge"), "mine_total"),
    (SIZES, ("nginx", "l"), ("l",), ("edge", "x"), "sizes_count"),
    (REQUESTS, WITH_LABEL, REQUESTS.labels, ("a", "GET", "200", "edge"), "nginx_http_request_bytes_total"),
    (TIMED, (*TIMED.labels, "nginx"), TIMED.labels, ("a", "2xx", "edge"), f"{DURATIONS}_count"),
]


@pytest.mark.parametrize("first", ["", "edge"])
@pytest.mark.parametrize(("shape", "own", "beside", "values", "metric"), TWICE)
def test_a_label_nginx_of_the_users_own_beside_a_name(
    shape: Shape, own: tuple[str, ...], beside: tuple[str, ...], values: tuple[str, ...], metric: str, first: str
) -> None:
    """The two would be one series: the nginx that was there first shows it, the other one does not, and it is said."""
    table = Table()
    rest = tuple(value for label, value in zip(own, values, strict=True) if label != "nginx")
    for instance in (first, "edge" if first == "" else ""):
        labels, row = (own, values) if instance == "" else (beside, rest)
        send(table, shape, instance, *row, labels=labels)
    page = lines_of(table)
    shown = [line for line in page if line.startswith((f"{metric} ", f"{metric}{{"))]
    assert len(shown) == 1
    assert shown[0].startswith(f"{metric}{{nginx=") is (first != "" or own[0] == "nginx")
    names = {"nginx_http_responses_total", "nginx_http_request_bytes_total", "nginx_http_response_bytes_total"}
    names = names if shape is REQUESTS else {shape.name}
    named = 'nginx="edge",' if first == "" else ""
    assert sorted(conflicts_of(page)) == sorted(f'{{{named}family="{name}"}} 1' for name in names)


def test_a_gauge_with_a_label_nginx_beside_a_name() -> None:
    gauges = (gauge_family("g", "", ("nginx",), "sum", [("edge", 1, 1)]), gauge_family("g", "", (), "sum", [(2, 1)]))
    beats = [
        replace(live, heartbeat=replace(live.heartbeat, families=(gauge,)))
        for live, gauge in zip((beat("", 1, 1), beat("edge", 9, 7)), gauges, strict=True)
    ]
    page = lines_of(Table(), *beats)
    assert [line for line in page if line.startswith("g{")] == ['g{nginx="edge"} 1']
    assert conflicts_of(page) == ['{nginx="edge",family="g"} 1']


def test_a_metric_of_the_users_own_beside_a_built_in_one_of_a_named_nginx() -> None:
    """An nginx_up of Lua code with a label nginx, where the workers of another nginx have theirs read from memory."""
    custom = replace(
        beat("", 1, 1).heartbeat, families=(gauge_family("nginx_up", "", ("nginx",), "sum", [("edge", 5, 1)]),)
    )
    page = lines_of(Table(), replace(beat("", 1, 1), heartbeat=custom), beat("edge", 9, 7))
    assert [line for line in page if line.startswith("nginx_up")] == ['nginx_up{nginx="edge"} 5']
    assert conflicts_of(page) == ['{family="nginx_up"} 1', '{nginx="edge",family="nginx_up"} 1']


@pytest.mark.parametrize(
    ("own", "named", "scope"),
    [(("nginx",), ("l",), ""), (("l", "nginx"), ("nginx",), ""), (("nginx",), (), "a")],
)
def test_other_labels_make_other_series(own: tuple[str, ...], named: tuple[str, ...], scope: str) -> None:
    """Also where the label nginx is exported_nginx, and where the requests are of another scope."""
    table, base = Table(), REQUESTS.labels
    scoped = (*base, "scope") if scope else base
    send(table, REQUESTS, "", *"abc", *([scope] if scope else []), *own, labels=(*scoped, *own), scope=scope)
    send(table, REQUESTS, "edge", *"abc", *(["b"] if scope else []), *named,
         labels=(*scoped, *named), scope="b" if scope else "")  # fmt: skip
    assert conflicts_of(lines_of(table)) == []


def test_what_helps_against_it() -> None:
    """The label is given another name in the nginx that has none; or that gets one, and its label becomes another."""
    table = Table()
    send(table, CUSTOM, "", "edge")
    send(table, CUSTOM, "edge", labels=())
    assert conflicts_of(lines_of(table)) == ['{nginx="edge",family="mine_total"} 1']
    renamed = replace(table.families[replace(CUSTOM, instance="").key].shape, labels=("site",))
    table.merge([family_batch(renamed, "", False, [("x", 1)])], 2, 0.0)
    page = lines_of(table)
    assert conflicts_of(page) == []
    assert {'mine_total{nginx="edge"} 1', 'mine_total{site="x"} 1', 'mine_total{site="_"} 1'} <= set(page)


def test_an_nginx_that_is_gone_gives_way() -> None:
    """It was given a name with a reload: nobody counts under none any more, and nobody could mend it."""
    table = Table()
    send(table, CUSTOM, "", "edge")
    send(table, CUSTOM, "edge", labels=())
    shown = [line for line in lines_of(table, known=("edge",)) if not line.startswith("#")]
    assert shown == ['mine_total{nginx="edge"} 1']
    assert 'mine_total{nginx="edge"} 1' in lines_of(table, known=("", "edge"))
    assert conflicts_of(lines_of(table, known=("", "edge"))) != []


def test_a_conflict_is_said_of_its_nginx() -> None:
    families = conflicts.resolve([family(("a", "m", "gauge"), True), family(("b", "m", "counter"), True)], [], ["a"])
    assert families[-1].lines == [b'resty_metrics_family_conflict{nginx="b",family="m"} 1\n']

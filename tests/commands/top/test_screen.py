"""What is on the screen, from pages made here: it fits whatever its size, and says what is wrong."""

import json
import re
from collections.abc import Mapping

import pytest
import yaml
from resty_metrics.commands.top import once, screen
from resty_metrics.commands.top.keys import State
from resty_metrics.commands.top.meter import Meter, View
from resty_metrics.commands.top.page import Page, read
from resty_metrics.commands.top.screen import Polling
from resty_metrics.commands.top.tables import COLUMNS, NAMES, table, total
from resty_metrics.commands.top.warnings import Trouble
from resty_metrics.health.troubles import BY_NAME
from resty_metrics.live import site
from rich.cells import cell_len
from support.nginx import ROOT

RULES = yaml.safe_load((ROOT / "prometheus" / "rules" / "alerts.yml").read_text())

POLLING = Polling("http://127.0.0.1:19145/metrics", 2.0)
Samples = Mapping[str, Mapping[str, float]]
WELL: Samples = {
    "resty_metrics_build_info": {'version="1"': 1},
    "resty_metrics_socket_up": {"": 1},
    "resty_metrics_socket_contended": {"": 0},
    "resty_metrics_source_up": {'source="lua"': 1},
    "resty_metrics_workers_seen": {"": 2},
    "resty_metrics_workers_expected": {"": 2},
    "resty_metrics_journal_up": {"": 1},
    "resty_metrics_coverage_ratio": {"": 1.0},
    "resty_metrics_shared_dict_capacity_bytes": {'dict="resty_metrics_spool"': 100},
    "resty_metrics_shared_dict_free_bytes": {'dict="resty_metrics_spool"': 20},
    "resty_metrics_config_last_reload_successful": {"": 1},
    "resty_metrics_trouble": {'trouble="standby"': 0},
}
SPOOL = 'dict="resty_metrics_spool"'


def text(samples: Samples) -> str:
    lines = []
    for name, series in samples.items():
        stem = name.removesuffix("_bucket")
        lines.append(f"# HELP {stem} x\n# TYPE {stem} x\n")
        lines += [
            f"{name}{{{labels}}} {value}\n" if labels else f"{name} {value}\n" for labels, value in series.items()
        ]
    return "".join(lines)


def page(more: Samples) -> Page:
    return read(text({**WELL, **more}))


def view(after: Samples, before: Samples | None = None) -> View:
    """After 10 seconds."""
    meter = Meter()
    meter.look(page({} if before is None else before), 0)
    return meter.look(page(after), 10)


def served(server: str, status: str, count: int) -> Samples:
    labels, timed = (
        f'server="{server}",method="GET",status="{status}"',
        f'server="{server}",status_class="{status[0]}xx"',
    )
    return {
        "nginx_http_responses_total": {labels: count},
        "nginx_http_request_duration_seconds_bucket": {f'{timed},le="{le}"': count for le in ("0.1", "0.2", "+Inf")},
        "nginx_http_response_bytes_total": {labels: count * 100},
    }


def joined(*parts: Samples) -> Samples:
    found: dict[str, dict[str, float]] = {}
    for part in parts:
        for name, series in part.items():
            found.setdefault(name, {}).update(series)
    return found


MANY = joined(*(served(f"s{i:03}.example", status, i + 1) for i in range(200) for status in ("200", "404", "503")))


def lines(seen: View | None, state: State, width: int = 80, height: int = 24, polling: Polling = POLLING) -> list[str]:
    return [line.plain.rstrip() for line in screen.drawn(seen, polling, state, width, height).lines]


def said(seen: View | None, polling: Polling = POLLING) -> str:
    """All on a screen with room, its lines joined."""
    return " ".join(" ".join(lines(seen, State(), 300, 60, polling)).split())


SIZES = [(80, 24), (200, 60), (60, 20), (40, 16), (20, 10), (10, 5), (1, 1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits(width: int, height: int, name: str) -> None:
    wide = joined(MANY, served("漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字", "200", 999))
    seen = view({**wide, "resty_metrics_socket_up": {"": 0}, "resty_metrics_journal_up": {"": 0}})
    shown = screen.drawn(seen, POLLING, State(name), width, height).lines
    assert len(shown) == height
    assert max(cell_len(line.plain) for line in shown) <= width


def test_the_columns_that_matter_stay_in_a_narrow_one() -> None:
    """And the one that it is sorted by."""
    seen = view(MANY)
    heading = next(line for line in lines(seen, State(sort="in"), 40) if line.startswith("server"))
    assert heading.split() == ["server", "req/s", "5xx", "in", "B/s", "↓"]


def test_numbers_by_server() -> None:
    """600 of a.example's 900 were served between the two pages, which are 10 seconds apart."""
    after = joined(served("a.example", "200", 900), served("a.example", "500", 100), served("b.example", "404", 99))
    seen = view(after, served("a.example", "200", 300))
    rows = {str(row[0]): row[1:] for row in table("servers", seen).rows}
    assert rows["a.example"] == pytest.approx((70.0, 0.0, 1 / 7, 0.1, 0.1, 0.0, 7000.0))
    assert rows["b.example"] == pytest.approx((9.9, 1.0, 0.0, 0.1, None, 0.0, 990.0)), "a p99 of few requests"


def test_an_idle_server_is_shown_and_what_is_not_known_of_it_is_absent() -> None:
    seen = view(served("a.example", "200", 5), served("a.example", "200", 5))
    assert table("servers", seen).rows == [("a.example", 0.0, None, None, None, None, 0.0, 0.0)]
    assert table("rows", seen).rows == []


def test_durations_without_a_server_make_no_server_and_no_label_set() -> None:
    """They are those of all requests; what is not known of a server is absent."""
    timed = {f'status_class="2xx",le="{le}"': 100 for le in ("0.1", "+Inf")}
    seen = view({**served("a.example", "200", 10), "nginx_http_request_duration_seconds_bucket": timed})
    assert table("servers", seen).rows == [("a.example", 1.0, 0.0, 0.0, None, None, 0.0, 100.0)]
    assert table("rows", seen).rows == [("a.example GET 200", 1.0, 0.1, 0.1, 0.0, 100.0)]
    assert total(seen)["p99"] == 0.1


def test_label_sets_have_the_quantiles_of_the_durations_that_they_share() -> None:
    timed = {f'server="a",status_class="{of}",le="{le}"': 100 for of in ("2xx", "5xx") for le in ("0.1", "+Inf")}
    responses = {f'server="a",method="{m}",status="{s}"': 5 for m in ("GET", "POST") for s in ("200", "404", "101")}
    seen = view({"nginx_http_responses_total": responses, "nginx_http_request_duration_seconds_bucket": timed})
    quantiles = {str(row[0]).removeprefix("a "): row[3] for row in table("rows", seen).rows}
    known = {"GET 200": 0.1, "POST 200": 0.1}
    assert quantiles == {**dict.fromkeys(("GET 404", "GET 101", "POST 404", "POST 101")), **known}


SORTED = [
    (State(), ["c", "b", "a"]),
    (State(reverse=True), ["a", "b", "c"]),
    (State(sort="server"), ["a", "b", "c"]),
    (State(sort="server", reverse=True), ["c", "b", "a"]),
    (State(sort="5xx"), ["a", "b", "c"]),
    (State(sort="p50"), ["a", "b", "c"]),
    (State(sort="no such column"), ["c", "b", "a"]),
]


@pytest.mark.parametrize(("state", "expected"), SORTED)
def test_sorted(state: State, expected: list[str]) -> None:
    seen = view(joined(served("a", "500", 10), served("b", "200", 20), served("c", "200", 30)))
    shown = lines(seen, state)
    assert [line.split()[0] for line in shown if line[:1] in "abc" and line[1:2] == " "] == expected


def test_workers_in_the_order_of_numbers() -> None:
    uptime = {f'worker="{i}"': 5.0 for i in (10, 9, 1)}
    seen = view({"resty_metrics_worker_uptime_seconds": uptime})
    assert [row[0] for row in table("workers", seen).ordered(None, False)] == ["1", "9", "10"]


def test_scrolled_beyond_the_end() -> None:
    shown = screen.drawn(view(MANY), POLLING, State(top=5000), 80, 24)
    assert shown.lines[-1].plain.startswith(f"{200 - shown.height + 1}-200 of 200")


def test_several_nginx() -> None:
    responses = {f'nginx="{nginx}",server="a",status="200"': 10 for nginx in ("one", "two")}
    seen = view({"nginx_http_responses_total": responses})
    assert [row[0] for row in table("servers", seen).rows] == ["one/a", "two/a"]


def test_nothing_of_a_page_moves_the_cursor() -> None:
    seen = view(served("a\x1b]0;b\x07\u202e", "200", 10))
    for line in lines(seen, State()):
        assert line.isprintable()


# words and warnings ---------------------------------------------------------------------------------------------------


def test_all_is_well() -> None:
    seen = said(view({}))
    assert "socket: up lua: up workers: 2 of 2 journal: up coverage: 100.0%" in seen
    assert "!" not in seen


def trouble(name: str, more: Samples | None = None, labels: str = "") -> Samples:
    """A page on which this trouble holds, with the figures of ``more``."""
    return {**(more or {}), "resty_metrics_trouble": {f'{labels}trouble="{name}"': 1}}


WRONG: list[tuple[Samples, str, str]] = [
    (trouble("socket_down", {"resty_metrics_socket_up": {"": 0}}), "socket: down", "does not lead to this collector"),
    (
        trouble("socket_contended", {"resty_metrics_socket_rebinds_total": {'reason="missing"': 4}}),
        "socket: contended",
        "Another program keeps removing or replacing the socket: missing 4",
    ),
    (trouble("standby"), "socket: standing by", "another one holds the lock of the socket"),
    (trouble("socket_unreachable"), "socket: unreachable", "No worker of nginx can reach the socket"),
    (
        trouble(
            "source_down",
            {"resty_metrics_source_up": {'source="lua"': 1, 'source="vts",nginx="edge"': 0}},
            'nginx="edge",',
        ),
        "vts edge: down",
        "A status page of nginx edge cannot be read: vts edge",
    ),
    (
        trouble("workers_missing", {"resty_metrics_workers_seen": {"": 1}}),
        "workers: 1 of 2",
        "Workers of nginx have stopped reporting: 1 of 2 report",
    ),
    (trouble("nothing_arrives"), "", "nginx serves requests, and none of them is counted"),
    (trouble("journal_down", {"resty_metrics_journal_up": {"": 0}}), "journal: in memory only", "counts are in memory"),
    (
        trouble("journal_stalls", {"resty_metrics_journal_pending_seconds": {"": 3}}),
        "journal: slow",
        "has not finished for seconds: the oldest record has waited for 3.0 s",
    ),
    (
        trouble("coverage", {"resty_metrics_coverage_ratio": {"": 0.5}}),
        "coverage: 50.0%",
        "Some requests of nginx are not counted: 50.0% are counted",
    ),
    (
        trouble(
            "spool_full",
            {
                "resty_metrics_shared_dict_capacity_bytes": {'dict="a"': 100, f'nginx="b",{SPOOL}': 100},
                "resty_metrics_shared_dict_free_bytes": {'dict="a"': 0, f'nginx="b",{SPOOL}': 19},
            },
            'nginx="b",',
        ),
        "",
        "The spool of nginx b is nearly full: 19.0% is free",
    ),
    (trouble("config_refused"), "", "A configuration file was refused: the previous configuration is in force"),
    (
        trouble("family_conflict", {"resty_metrics_family_conflict": {'family="a_total"': 1}}),
        "",
        "withheld from the page: another family has their name or series: a_total",
    ),
    (
        trouble("refusals", {"resty_metrics_refusals_total": {'reason="uid"': 7}}),
        "",
        "The collector refuses datagrams: 7 datagrams of a user that may not send",
    ),
    (
        trouble("gauges_cut", {"resty_metrics_heartbeat_rows_refused_total": {'reason="total_cap"': 6}}),
        "",
        "gauges are not on the page: total_cap 6",
    ),
    (
        trouble("rows_lost", {"resty_metrics_lost_rows_total": {'reason="invalid"': 2}}),
        "",
        "Rows were lost: their requests are in no metric: invalid 2",
    ),
    (
        trouble("overflow", {"resty_metrics_overflow_rows_total": {'family="a"': 2}}),
        "",
        "new ones are counted as other: rows counted as other: a 2",
    ),
    (
        trouble("worker_errors", {"resty_metrics_worker_errors_total": {'worker="0",reason="internal"': 1}}),
        "",
        "Workers of nginx report errors: internal 1",
    ),
]


def test_each_trouble_of_the_closed_list_has_a_case() -> None:
    said = {text for samples, _, _ in WRONG for text in samples["resty_metrics_trouble"]}
    assert {text.partition('trouble="')[2].rstrip('"') for text in said} == set(BY_NAME)


def test_figures_alone_are_no_trouble() -> None:
    """The collector judges: top does not make a trouble of an idle worker, or of a refusal of long ago."""
    seen = view({"resty_metrics_workers_seen": {"": 1}, "resty_metrics_refusals_total": {'reason="uid"': 7}})
    assert not [line for line in lines(seen, State(), 300, 60) if line.startswith("!")]


def test_a_page_of_a_collector_that_reports_no_troubles() -> None:
    seen = view({"resty_metrics_trouble": {}})
    (found,) = [line for line in lines(seen, State(), 300, 60) if line.startswith("!")]
    assert "reports no troubles" in found


@pytest.mark.parametrize(("samples", "word", "warning"), WRONG)
def test_what_is_wrong_is_said_with_what_to_do(samples: Samples, word: str, warning: str) -> None:
    seen = view(samples)
    assert word in said(seen)
    found = [line for line in lines(seen, State(), 300, 60) if line.startswith("!")]
    assert len(found) == 1
    assert warning in found[0]
    assert found[0].partition(" -> ")[2]


USERS = {'uid="33",user="www-data"': 1, 'uid="4711",user="_"': 1}


def test_refused_users_are_named() -> None:
    counted = {'reason="uid"': 7, 'reason="version"': 1}
    samples = {"resty_metrics_refusals_total": counted, "resty_metrics_refused_user": USERS}
    seen = said(view(trouble("refusals", samples)))
    assert "7 datagrams of www-data (uid 33), uid 4711; 1 datagram (version)" in seen
    assert "If www-data (uid 33) or uid 4711 runs nginx's workers" in seen
    assert "--socket.allow-uid=33 --socket.allow-uid=4711" in seen


REFUSED = [
    ({'file="/etc/x y.yml",kind="settings"': 1}, "in force: /etc/x y.yml", "resty-metrics check-config '/etc/x y.yml'"),
    ({'file="/w.yml",kind="web"': 1}, "in force: /w.yml", "resty-metrics check-config --web.config.file=/w.yml"),
    ({'file="_",kind="settings"': 1}, "in force: the environment", "Correct what the collector's log names"),
]


@pytest.mark.parametrize(("files", "evidence", "remedy"), REFUSED)
def test_a_refused_file_comes_with_a_command_to_copy(files: Mapping[str, float], evidence: str, remedy: str) -> None:
    seen = said(view(trouble("config_refused", {"resty_metrics_refused_file": files})))
    assert evidence in seen
    assert remedy in seen
    assert " FILE" not in seen


# the site -------------------------------------------------------------------------------------------------------------


def slow(server: str, count: int) -> Samples:
    labels = f'server="{server}",method="GET",status="200"'
    times = {f'{labels},le="1.0"': 0, f'{labels},le="2.5"': count, f'{labels},le="+Inf"': count}
    return {**served(server, "200", count), "nginx_http_request_duration_seconds_bucket": times}


SITE = [
    ("all fail", served("shop", "503", 600), "Requests fail: answers with 5xx over the last 10 s: shop: 100 % of 60/s"),
    ("all fail of few", served("shop", "500", 30), "shop: 100 % of 3/s"),
    ("one server of two", joined(served("shop", "502", 60), served("b", "200", 600)), "10 s: shop: 100 % of 6/s"),
    ("all are slow", slow("shop", 600), "longer than a second: the p99 over the last 10 s: shop: 2.5 s"),
]


@pytest.mark.parametrize(("name", "samples", "warning"), SITE, ids=[name for name, _, _ in SITE])
def test_a_site_that_fails_or_is_slow_has_the_warning_of_its_alert(name: str, samples: Samples, warning: str) -> None:
    (found,) = [line for line in lines(view(samples), State(), 300, 60) if line.startswith("! ")]
    assert warning in found
    assert found.partition(" -> ")[2]


@pytest.mark.parametrize(
    "samples",
    [
        joined(served("shop", "200", 960), served("shop", "503", 40)),
        joined(served("shop", "200", 30), served("shop", "503", 10)),
        served("shop", "503", 9),
        slow("shop", 200),
    ],
    ids=["4 %", "10 failures", "less than one a second", "too few to judge"],
)
def test_a_site_that_its_alerts_spare_has_no_warning(samples: Samples) -> None:
    assert not [line for line in lines(view(samples), State(), 300, 60) if line.startswith("! ")]


def test_a_site_is_judged_over_five_minutes() -> None:
    """As the alert does: 10 seconds of failures among five minutes without one are not enough."""
    meter, good, bad = Meter(), 0, 0
    for at in range(0, 301, 10):
        good, bad = good + 100, bad + 100 * (at == 300)
        seen = meter.look(page(joined(served("shop", "200", good), served("shop", "503", bad))), at)
    assert [load.seconds for load in seen.loads] == [300]
    assert not [line for line in lines(seen, State(), 300, 60) if line.startswith("! ")]


def test_a_figure_above_its_threshold_is_marked_without_colours_too() -> None:
    shown = lines(view(joined(served("bad", "503", 600), served("good", "200", 6000))), State(), 120)
    cells = {line.split()[0]: line.split()[1:] for line in shown if line.startswith(("bad", "good"))}
    assert cells["bad"][2] == "!100%"
    assert cells["good"][2] == "0%"
    assert any("!9.09% 5xx" in line for line in shown)


def thresholds(alert: str) -> list[float]:
    (rule,) = [rule for group in RULES["groups"] for rule in group["rules"] if rule["alert"] == alert]
    return [float(number) for number in re.findall(r"> ([0-9.]+)", rule["expr"])]


def test_thresholds_of_marks_and_warnings_are_those_of_the_alerts() -> None:
    bad = {(name, column.key): column.bad for name in NAMES for column in COLUMNS[name] if column.bad is not None}
    assert bad == {
        ("servers", "5xx"): thresholds("NginxErrorRatioHigh")[0],
        ("servers", "p99"): thresholds("NginxLatencyHigh")[0],
        ("upstreams", "failed"): thresholds("NginxUpstreamPeerFailing")[0],
        ("rows", "p99"): thresholds("NginxLatencyHigh")[0],
        ("workers", "lag"): thresholds("RestyMetricsEventLoopLag")[0],
        ("workers", "errors"): 0,  # as the trouble worker_errors
    }
    assert thresholds("NginxErrorRatioHigh") == [site.MOST_ERRORS, site.LEAST_RATE]
    assert thresholds("NginxLatencyHigh") == [site.MOST_TAIL, site.LEAST_RATE]


def test_commands_are_those_of_the_socket_that_was_given() -> None:
    polling = Polling(POLLING.address, 2.0, socket_path="/x/c.sock")
    for name, command in (("socket_down", "doctor"), ("socket_contended", "doctor --watch")):
        assert f"sudo resty-metrics {command} --socket.path=/x/c.sock" in said(view(trouble(name)), polling)
    report = json.loads(once.as_json(view(trouble("socket_down")), polling, State()))
    assert "--socket.path=/x/c.sock" in report["warnings"][0]["remedy"]


def test_the_head_says_how_many_problems_there_are() -> None:
    assert "1 critical problem" in lines(view(trouble("socket_down")), State(), 160)[0]
    assert "1 warning" in lines(view(trouble("journal_down")), State(), 160)[0]
    assert "problem" not in said(view({}))


def test_more_warnings_than_there_is_room_for() -> None:
    samples = joined(*(wrong for wrong, _, _ in WRONG))
    shown = lines(view(samples), State())
    found = [line for line in shown if line.startswith("!")]
    assert found[-1].endswith("more. Add --once to see all of them")
    assert any(line.startswith("[1] servers") for line in shown)


def test_without_lua() -> None:
    """Only stub_status is read: nobody is polling for ever that there is no Lua, and nginx's own count is shown."""
    without: Samples = {name: {} for name in WELL if "workers" in name or "coverage" in name}
    sources = {'source="lua"': 0, 'source="stub_status"': 1}
    stub = {**without, "resty_metrics_source_up": sources, "nginx_connections_active": {"": 3}}
    seen = said(view({**stub, "nginx_http_requests_total": {"": 50}}, {**stub, "nginx_http_requests_total": {"": 0}}))
    assert "nginx itself 5.00 req/s 3 connections" in seen
    assert "lua: not reporting stub_status: up workers: none reporting" in seen
    assert "To count requests by server, run: sudo resty-metrics install" in seen
    assert "!" not in seen


def test_not_reached() -> None:
    polling = Polling(POLLING.address, 2.0, Trouble("cannot read the page: refused", "check --url"), 75.0)
    for seen in (None, view(served("a.example", "200", 10))):
        assert "! cannot read the page: refused, for 75.0s -> check --url; retrying every 2 s" in said(seen, polling)
    assert "a.example" in said(view(served("a.example", "200", 10)), polling)


def test_a_duration_in_the_lowest_bucket_is_at_most_its_bound() -> None:
    """Whatever buckets other servers have: 0.05 here is the bound of one whose lowest bucket ends at 0.1."""
    other = {"nginx_http_request_duration_seconds_bucket": {'server="b",le="0.05"': 0, 'server="b",le="+Inf"': 0}}
    shown = lines(view(joined(served("a.example", "200", 900), other)), State())
    row = next(line for line in shown if line.startswith("a.example"))
    assert row.split()[4:6] == ["≤100ms", "≤100ms"]
    assert any("p50 ≤100ms  p99 ≤100ms" in line for line in shown)


def test_the_keys_are_shown_in_the_place_of_the_table() -> None:
    seen = view(served("a.example", "200", 10))
    for shown in (lines(seen, State(help=True)), lines(None, State(help=True))):
        assert any(line.split() == ["r", "reverse", "the", "order"] for line in shown)
        assert len(shown) == 24
        assert not any(line.startswith("a.example") for line in shown)
    assert lines(seen, State())[-1] == "? keys  q quit"


# once -----------------------------------------------------------------------------------------------------------------


def test_json_keeps_the_keys_of_states_and_warnings() -> None:
    value = json.loads(once.as_json(view({"resty_metrics_trouble": {}}), POLLING, State()))
    assert [list(state) for state in value["health"]] == [["subject", "says", "well"]] * 5
    assert [list(warning) for warning in value["warnings"]] == [["seen", "remedy", "name", "severity"]]


def test_json_has_each_column() -> None:
    value = json.loads(once.as_json(view(MANY), POLLING, State("rows", "out", True)))
    assert list(value) == [
        "schema", "version", "url", "seconds", "total", "health", "warnings", "view", "rows",
    ]  # fmt: skip
    assert len(value["rows"]) == 600
    assert value["rows"][0] == {
        "labels": "s000.example GET 200", "rate": 0.1, "p50": 0.1, "p99": None,
        "in": 0.0, "out": 10.0,
    }  # fmt: skip

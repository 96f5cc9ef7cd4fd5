"""The queries of the dashboards that prometheus/compat is for, asked of a Prometheus that has its rules.

tests/data/compat has the queries as their dashboards have them, with where each comes from, and why one finds nothing.
"""

import math
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.client import ask
from support.collector import Collector
from support.nginx import ROOT, Nginx, shared_directory
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

RULES = sorted((ROOT / "prometheus" / "compat").glob("*.yml"))
QUERIES = ROOT / "tests" / "data" / "compat"
VTS = ROOT / "tests" / "data" / "vts"
CAPTURE = "13-everything"  # of the vts module, which Debian has not

# Only a.example is counted. `pool` has a peer that is down.
SITE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    include {{share}}/nginx.conf.d/upstreams.conf;
    {durations}
    proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
    upstream pool {{ server 127.0.0.1:{down} max_fails=0; server 127.0.0.1:{behind} max_fails=0; }}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /slow {{ echo_sleep 0.3; echo slow; }}
        location /broken {{ return 500; }}
        location /missing {{ return 404; }}
        location /passed/ {{ proxy_pass http://pool/; }}
        location /cached/ {{
            proxy_pass http://127.0.0.1:{behind}/;
            proxy_cache pages;
            proxy_cache_valid 1m;
        }}
    }}
    server {{
        listen 127.0.0.1:{behind};
        log_by_lua_file {{share}}/lua/resty/metrics/off.lua;
        location / {{ return 200 "ok\\n"; }}
        location /slow {{ echo_sleep 0.3; echo slow; }}
        location /vts/ {{ alias {{prefix}}/vts/; }}
    }}
"""
TRAFFIC = {
    ("GET", "/"): 20,
    ("GET", "/slow"): 60,
    ("GET", "/broken"): 20,
    ("GET", "/missing"): 10,
    ("PURGE", "/"): 5,
    ("GET", "/passed/slow"): 20,
    ("GET", "/cached/"): 5,  # a miss, and hits
}
TOTAL = sum(TRAFFIC.values())
DURATIONS = {"default": "", "otel": "geo $resty_metrics_duration_labels { default otel; }"}
GOOD = TOTAL - 20 - 10


@dataclass(frozen=True)
class Stack:
    """What Prometheus has seen, and the collector's page, when all of TRAFFIC is counted and recorded."""

    prometheus: Prometheus
    collector: Collector
    live_peer: str
    durations: str


def send_one_of_each(port: int) -> None:
    """And the miss alone: of two at once both would be one."""
    for method, path in TRAFFIC:
        ask(port, path, method)


def send_the_others(port: int) -> None:
    with ThreadPoolExecutor(12) as pool:
        sent = [
            pool.submit(ask, port, path, method) for (method, path), times in TRAFFIC.items() for _ in range(times - 1)
        ]
        for each in sent:
            each.result()


@pytest.fixture(scope="module", params=DURATIONS)
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """An nginx with these labels of durations (``DURATIONS``), and what Prometheus has of it."""
    directory = shared_directory()
    port, behind = free_port(), free_port()
    site = SITE.format(port=port, behind=behind, down=free_port(), durations=DURATIONS[request.param])
    nginx = Nginx(directory / "collector.sock", site)
    shutil.copytree(VTS, nginx.prefix / "vts")
    source = f"--source.vts=fetched=http://127.0.0.1:{behind}/vts/{CAPTURE}.vts.json"
    with (
        Collector(directory / "collector.sock", source) as collector,
        nginx,
        Prometheus(directory, collector.port, rules=RULES) as prometheus,
    ):
        wait_until(lambda: prometheus.value("nginx_up"), message="the first page")
        recorded = "sum(nginx_ingress_controller_requests)"
        send_one_of_each(port)  # a rule that is late by a scrape does not see the 0 that a new row begins with
        wait_until(lambda: prometheus.value(recorded) == len(TRAFFIC), message="the first requests, recorded")
        send_the_others(port)
        wait_until(lambda: prometheus.value(recorded) == TOTAL, message="all requests, recorded")
        samples = "min(count_over_time(nginx_ingress_controller_requests[5m]))"
        wait_until(lambda: (prometheus.value(samples) or 0) >= 6, message="enough samples for a rate")
        yield Stack(prometheus, collector, f"127.0.0.1:{behind}", request.param)
    shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True)
class Query:
    name: str
    text: str
    empty: str | None = None  # why it finds nothing
    empty_without_vts: str | None = None
    empty_by_default: str | None = None  # with the labels that durations have by default

    def find(self, prometheus: Prometheus, nginx: str = ".*") -> list[tuple[dict[str, str], float]]:
        """Return what Grafana shows for it with everything chosen, thus no NaN; of a variable, the values it offers."""
        text = re.sub(r'=~?\s*"\^?\$\w+\$?"', f'=~".*", nginx=~"{nginx}"', self.text)
        text = text.replace("${__range_s}s", "5m")
        text = re.sub(r"\$__(rate_interval|interval|range)\b", "5m", text)
        assert "$" not in text
        if values := re.fullmatch(r"label_values\((.*),\s*(\w+)\)", text):
            selector, label = values.groups()
            return [found for found in prometheus.query(f"count by ({label}) ({selector})") if label in found[0]]
        return [found for found in prometheus.query(text) if not math.isnan(found[1])]


def queries(path: Path) -> Iterator[Query]:
    for number, query in enumerate(yaml.safe_load(path.read_text())["queries"]):
        name = f"{path.stem} {number} {query['panel']}"
        reasons = (query.get(f"empty{when}") for when in ("", "_without_vts", "_by_default"))
        yield Query(name, query["query"], *reasons)


ALL = [query for path in sorted(QUERIES.glob("*.yml")) for query in queries(path)]


@pytest.mark.parametrize("query", ALL, ids=lambda query: query.name)
def test_a_query_of_a_dashboard(stack: Stack, query: Query) -> None:
    empty = query.empty or (query.empty_by_default if stack.durations == "default" else None)
    if empty is None:
        wait_until(lambda: query.find(stack.prometheus), message=query.text)
    else:
        assert query.find(stack.prometheus) == [], f"it is not so that {empty}"


OF_VTS = [query for query in ALL if query.name.startswith("vts-exporter") and "instance=" in query.text]


@pytest.mark.parametrize("query", OF_VTS, ids=lambda query: query.name)
def test_a_query_of_a_dashboard_of_vts_without_vts(stack: Stack, query: Query) -> None:
    """The nginx that has a name has vts, the other has not."""
    if query.empty_without_vts is None:
        wait_until(lambda: query.find(stack.prometheus, nginx=""), message=query.text)
    else:
        assert query.find(stack.prometheus, nginx="") == [], f"it is not so that it is {query.empty_without_vts}"


def test_each_rule_is_evaluated(stack: Stack) -> None:
    def ran() -> bool:
        return all(rule["health"] != "unknown" for rule in stack.prometheus.rules())

    wait_until(ran, message="every rule")
    assert {rule["name"]: rule["lastError"] for rule in stack.prometheus.rules() if rule["health"] != "ok"} == {}


INGRESS = "nginx_ingress_controller"
OTEL = "http_server_request_duration_seconds"
EXACT = {
    f'sum({INGRESS}_requests{{ingress="a.example", host="a.example", controller_pod!="", server=""}})': TOTAL,
    f'sum({INGRESS}_requests{{status="500", method="GET"}})': 20,
    f"sum({INGRESS}_request_duration_seconds_count)": TOTAL,
    f'sum({INGRESS}_request_duration_seconds_bucket{{le="+Inf"}})': TOTAL,
    f'sum({INGRESS}_request_duration_seconds_bucket{{le="10"}})': TOTAL,
    f"sum({INGRESS}_request_size_sum) - sum(nginx_http_request_bytes_total)": 0,
    f"sum({INGRESS}_response_size_sum) - sum(nginx_http_response_bytes_total)": 0,
    f"sum({INGRESS}_response_size_count)": TOTAL,
    f"{INGRESS}_success": 1,
    f"{INGRESS}_config_last_reload_successful_timestamp_seconds"
    " - on (instance) resty_metrics_nginx_last_reload_timestamp_seconds": 0,
    f'sum({INGRESS}_response_duration_seconds_count{{service="pool"}})'
    ' - sum(nginx_http_upstream_response_duration_seconds_count{upstream="pool"})': 0,
    'sum(nginx_http_requests_total{host="a.example", status="500", server="", method=""})': 20,
    'sum(nginx_http_requests_total{host!=""})': TOTAL,
    'count(nginx_http_requests_total{job="resty-metrics"})': 1,
    'sum(nginx_http_request_duration_seconds_count{host="a.example", job="nginx-lua-prometheus"})': TOTAL,
    'sum(nginx_http_request_duration_seconds_bucket{host="a.example", le="1"})': TOTAL,
    'nginx_http_connections{state="reading"} - on (instance) nginx_connections_reading': 0,
    'nginx_vts_server_requests_total{nginx="", host="a.example", code="2xx"}': GOOD,
    'nginx_vts_server_requests_total{nginx="", host="*", code="5xx"}': 20,
    'nginx_vts_status_code_requests_total{nginx="", host="a.example", code="404"}': 10,
    'nginx_vts_server_cache_total{nginx="", host="a.example", status="miss"}': 1,
    'nginx_vts_server_cache_total{nginx="", host="*", status="hit"}': 4,
    'nginx_vts_server_request_duration_seconds_count{nginx="", host="a.example"}': TOTAL,
    'sum(nginx_vts_server_bytes_total{nginx="", host="*", direction="out"}) - sum(nginx_http_response_bytes_total)': 0,
    'nginx_server_requests{nginx="", host="a.example", code="2xx"}': GOOD,
    'nginx_server_requests{nginx="", host="*", code="total"}': TOTAL,
    # what the capture says
    'nginx_server_requests{nginx="fetched", host="a.example", code="2xx"}': 7,
    'nginx_server_requests{nginx="fetched", host="a.example", code="total"}': 11,
    'nginx_server_bytes{nginx="fetched", host="a.example", direction="in"}': 981,
    'nginx_server_sharedzones{nginx="fetched", memstat="usedsize"}': 21331,
    'nginx_filter_requests{nginx="fetched", filter="method::a.example", filterName="GET", code="total"}': 10,
    'nginx_cache_requests{nginx="fetched", zone="pages", status="miss"}': 2,
    'nginx_upstream_bytes{nginx="fetched", upstream="pool", backend="127.0.0.1:18996", direction="out"}': 748,
    'count(nginx_server_info{nginx="fetched", hostName="vm", nginxVersion="1.22.1"})': 1,
    "count(http_server_active_requests)": 1,
}
EXACT_BY_DURATIONS = {
    "default": {
        f'sum({INGRESS}_request_duration_seconds_count{{status="5xx", method=""}})': 20,
        f'sum({INGRESS}_request_duration_seconds_count{{status=~"[4-5].*"}})': 30,
        f"sum({OTEL}_count)": TOTAL,
        f'sum({OTEL}_count{{http_request_method="", http_response_status_code="", url_scheme=""}})': TOTAL,
    },
    "otel": {
        f'sum({INGRESS}_request_duration_seconds_count{{status="500", method="GET"}})': 20,
        f'sum({OTEL}_count{{http_request_method="GET", server_address="a.example"}})': TOTAL - 5,
        f'sum({OTEL}_count{{http_request_method="_OTHER"}})': 5,
        f'sum({OTEL}_count{{http_response_status_code="500", error_type="500"}})': 20,
        f'sum({OTEL}_count{{http_response_status_code="404", error_type=""}})': 10,
        f'sum({OTEL}_count{{url_scheme="http"}})': TOTAL,
    },
}


@pytest.mark.parametrize("expression", EXACT)
def test_a_number_that_is_known(stack: Stack, expression: str) -> None:
    wait_until(lambda: stack.prometheus.value(expression) == EXACT[expression], message=expression)


def test_numbers_that_the_labels_of_durations_decide(stack: Stack) -> None:
    def shown(expected: Mapping[str, float]) -> Mapping[str, float | None]:
        return {expression: stack.prometheus.value(expression) for expression in expected}

    expected = EXACT_BY_DURATIONS[stack.durations]
    wait_until(lambda: shown(expected) == expected, message=str(expected))


def test_the_variable_of_upstreams_offers_those_of_the_nginx_without_vts(stack: Stack) -> None:
    (variable,) = [
        query for query in ALL if query.text == 'label_values(nginx_upstream_bytes{instance=~"$Instance"}, upstream)'
    ]
    offered = {labels["upstream"] for labels, _ in variable.find(stack.prometheus, nginx="")}
    counted = {labels["upstream"] for labels, _ in stack.prometheus.query("nginx_http_upstream_attempts_total")}
    assert offered == counted >= {"pool"}


def test_the_peers_of_an_upstream(stack: Stack) -> None:
    answered = f'nginx_upstream_requests{{upstream="pool", backend="{stack.live_peer}", code="2xx"}}'
    assert stack.prometheus.value(answered) == 20
    assert stack.prometheus.value('sum(nginx_upstream_requests{nginx="", upstream="pool", code="5xx"})')


SLOW = (0.25, 0.5)  # the bucket of 0.3 s, which more than half of the requests took
KNOWN = {
    # increase() goes on for up to a scrape after the last sample, and may have missed the first of each.
    "ingress-nginx-14314 1 Requests (period)": (TOTAL - len(TRAFFIC), 1.5 * TOTAL),
    "ingress-nginx-14314 2 % Success (period)": (0.9 * GOOD / (TOTAL - 10), 1.1 * GOOD / (TOTAL - 10)),
    "ingress-nginx-14314 13 Latency (Average Percentiles)": SLOW,
    "ingress-nginx-9614 3 Controller Success Rate (non-4|5xx responses)": (0.9 * GOOD / TOTAL, 1.1 * GOOD / TOTAL),
    "ingress-nginx-request-handling 0 Request Latency Percentiles": SLOW,
    "nginx-lua-prometheus 2 error ratio": (0.9 * 20 / TOTAL, 1.1 * 20 / TOTAL),
    "nginx-lua-prometheus 4 mean latency by server": (0.3 * 80 / TOTAL, 0.5),
    "opentelemetry-19925 0 Requests Duration": SLOW,
    "opentelemetry-19925 7 Errors Rate": (0.9 * 30 / TOTAL, 1.1 * 30 / TOTAL),
}
# Without a status no request is an error, and the dashboard fills in 0.
KNOWN_BY_DURATIONS = {"default": {"opentelemetry-19925 7 Errors Rate": (0, 0)}, "otel": {}}


@pytest.mark.parametrize("name", KNOWN)
def test_a_value_of_a_dashboard(stack: Stack, name: str) -> None:
    (query,) = [query for query in ALL if query.name == name]
    ((_, value),) = query.find(stack.prometheus)
    low, high = KNOWN_BY_DURATIONS[stack.durations].get(name, KNOWN[name])
    assert low <= value <= high

"""The rules of prometheus/compat by promtool's own unit tests: what a short run of a real Prometheus does not show."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.nginx import ROOT

pytestmark = pytest.mark.slow

COMPAT = ROOT / "prometheus" / "compat"
RULES = sorted(COMPAT.glob("*.yml"))
OURS = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
AT = 'job="resty-metrics", instance="a:19145"'
MINUTES = 20
RESPONSES, SECONDS = "nginx_http_responses_total", "nginx_http_request_duration_seconds"


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, a value each minute, and what an expression gives in the last one."""

    name: str
    files: tuple[str, ...]
    series: Mapping[str, str]
    expected: Mapping[str, float]
    ours: bool = False  # prometheus/rules as well


def one(metric: str, labels: str = "") -> str:
    return f"{metric}{{{', '.join(filter(None, [AT, labels]))}}}"


def grows(step: float) -> str:
    return f"0+{step}x{MINUTES}"


def still(value: float) -> str:
    return f"{value}x{MINUTES}"


def answers(labels: str = "", status: str = "200", server: str = "s") -> str:
    return one(RESPONSES, ", ".join(filter(None, [f'server="{server}", method="GET", status="{status}"', labels])))


def durations(le: str, labels: str = "", ours: str = 'status_class="2xx"') -> str:
    """``ours``: the labels that durations have beside ``server``."""
    return one(f"{SECONDS}_bucket", f'server="s", {ours}, le="{le}"{labels}')


def attempts(status: str, labels: str = "") -> str:
    return one("nginx_http_upstream_attempts_total", f'upstream="pool", peer="10.0.0.1:80", status="{status}"{labels}')


VTS_CODES = "nginx_vts_status_code_requests_total"
VTS_SERVERS = "nginx_vts_server_requests_total"
VTS_UPSTREAMS = "nginx_vts_upstream_requests_total"
# Each adds its own power of two, so that a sum says which are in it.
STATUSES = ("009", "101", "200", "304", "404", "499", "500", "599", "700", "1234")
INGRESS = "nginx_ingress_controller"
LUA = ("nginx-lua-prometheus",)
OTEL = "http_server_request_duration_seconds_bucket"
OF_HOST = 'host="s", server="", method="", status="", status_class="", scheme=""'
OF_OTEL = 'server_address="s", http_request_method="", http_response_status_code="", url_scheme="", status_class=""'
IN_OTEL = (
    'server_address="s", http_request_method="{method}", http_response_status_code="{status}", error_type="{error}", '
    'url_scheme="{scheme}", server="", method="", status="", status_class="", scheme=""'
)
REQUESTS = {one("nginx_http_requests_total"): grows(600), answers(): grows(600)}
CASES = [
    Case(
        "an nginx that has vts is left alone",
        ("vts",),
        {
            answers('nginx="with"'): grows(10),
            answers('nginx="without"'): grows(10),
            one("nginx_vts_info", 'nginx="with"'): still(1),
        },
        {
            'count(nginx_vts_server_requests_total{nginx="with"}) or vector(0)': 0,
            'nginx_vts_server_requests_total{nginx="without", host="s"}': 200,
            'nginx_vts_server_requests_total{nginx="without", host="*"}': 200,
        },
    ),
    Case(
        "a collector that begins at 0 again",
        ("ingress-nginx", "vts"),
        {answers(): "0+10x9 0+10x10", answers(status="500"): "0+1x9 0+1x10"},
        {
            f"sum(increase({INGRESS}_requests[20m])) - sum(increase({RESPONSES}[20m]))": 0,
            f'increase(nginx_vts_server_requests_total{{host="*", code="2xx"}}[20m])'
            f' - on () increase({RESPONSES}{{status="200"}}[20m])': 0,
        },
    ),
    Case(
        "labels of yours stay, and may be called as theirs",
        ("ingress-nginx", "vts", *LUA, "opentelemetry"),
        {
            answers('host="x", path="/a", code="9"'): grows(1),
            answers('host="y", path="/a", code="9"'): grows(1),
            durations("+Inf", ', host="x", http_route="/a"'): grows(1),
            durations("+Inf", ', host="y", http_route="/b"'): grows(1),
        },
        {
            f'{INGRESS}_requests{{host="s", ingress="s", path="/a"}}': 40,
            'sum(nginx_vts_server_requests_total{host="s", code="2xx"})': 40,
            'sum(nginx_vts_server_requests_total{host="*", code="2xx"})': 40,
            'sum(nginx_http_requests_total{host="s"})': 40,
            'sum(http_server_request_duration_seconds_bucket{http_route="/b"})': 20,
            f'sum({SECONDS}_bucket{{host="s", server=""}})': 40,
        },
    ),
    Case(
        "the pod is the instance, or the nginx where it has a name",
        ("ingress-nginx",),
        {answers(): grows(1), answers('nginx="edge"'): grows(2)},
        {
            f'{INGRESS}_requests{{controller_pod="a:19145"}}': 20,
            f'{INGRESS}_requests{{controller_pod="edge", nginx="edge"}}': 40,
        },
    ),
    Case(
        "buckets are called as theirs",
        ("ingress-nginx", *LUA, "opentelemetry"),
        {durations(le): grows(1) for le in ("0.005", "1.0", "10.0", "+Inf")},
        {
            f'count({INGRESS}_request_duration_seconds_bucket{{le=~"0[.]005|1|10|[+]Inf"}})': 4,
            f'count({SECONDS}_bucket{{host="s", le=~"0[.]005|1|10|[+]Inf"}})': 4,
            'count(http_server_request_duration_seconds_bucket{le=~"0[.]005|1[.]0|10[.]0|[+]Inf"})': 4,
        },
    ),
    Case(
        "durations have a class of the status, and no method",
        ("ingress-nginx", "vts", *LUA, "opentelemetry"),
        {
            durations("+Inf"): grows(1),
            durations("+Inf", ours='status_class="5xx"'): grows(2),
            durations("+Inf", ours='status_class="other"'): grows(4),
        },
        {
            f'{INGRESS}_request_duration_seconds_bucket{{status="2xx", method="", status_class=""}}': 20,
            f'{INGRESS}_request_duration_seconds_bucket{{status=~"[4-5].*"}}': 40,
            f'{INGRESS}_request_duration_seconds_bucket{{status="other"}}': 80,
            f"count({SECONDS}_bucket{{{OF_HOST}}})": 1,
            f"{SECONDS}_bucket{{{OF_HOST}}}": 140,
            f"count(nginx_vts_server_request_duration_seconds_bucket{{{OF_HOST}}})": 1,
            f"nginx_vts_server_request_duration_seconds_bucket{{{OF_HOST}}}": 140,
            f"count(http_server_request_duration_seconds_bucket{{{OF_OTEL}}})": 1,
            f"http_server_request_duration_seconds_bucket{{{OF_OTEL}}}": 140,
        },
    ),
    Case(
        "durations have the labels of OpenTelemetry, or all there are",
        ("ingress-nginx", "vts", *LUA, "opentelemetry"),
        {
            durations("+Inf", ours='method="GET", status="200", scheme="https"'): grows(1),
            durations("+Inf", ours='method="PUT", status="502", scheme="http"'): grows(2),
            durations("+Inf", ours='method="other", status="404", status_class="4xx", scheme="http"'): grows(4),
        },
        {
            f'{INGRESS}_request_duration_seconds_bucket{{status="200", method="GET", status_class="", scheme=""}}': 20,
            f'{INGRESS}_request_duration_seconds_bucket{{status="404", method="other", status_class=""}}': 80,
            f"count({SECONDS}_bucket{{{OF_HOST}}})": 1,
            f"{SECONDS}_bucket{{{OF_HOST}}}": 140,
            f"count(nginx_vts_server_request_duration_seconds_bucket{{{OF_HOST}}})": 1,
            f"nginx_vts_server_request_duration_seconds_bucket{{{OF_HOST}}}": 140,
            f"{OTEL}{{{IN_OTEL.format(method='GET', status=200, scheme='https', error='')}}}": 20,
            f"{OTEL}{{{IN_OTEL.format(method='PUT', status=502, scheme='http', error=502)}}}": 40,
            f"{OTEL}{{{IN_OTEL.format(method='_OTHER', status=404, scheme='http', error='')}}}": 80,
            f"count({OTEL})": 3,
        },
    ),
    Case(
        "what is recorded is not read again",
        ("ingress-nginx", "vts", "vts-exporter", *LUA, "opentelemetry"),
        {**REQUESTS, durations("+Inf"): grows(1)},
        {
            f"count({SECONDS}_bucket)": 2,
            "count(nginx_http_requests_total)": 2,
            "count(http_server_request_duration_seconds_bucket)": 1,
            f"count({INGRESS}_request_duration_seconds_bucket)": 1,
            f"count({INGRESS}_nginx_process_requests_total)": 1,
            'nginx_vts_main_connections{status="requests"}': 600 * MINUTES,
        },
    ),
    Case(
        "codes in the classes of vts",
        ("vts",),
        {answers(status=status): still(2**number) for number, status in enumerate(STATUSES)},
        {
            f'{VTS_SERVERS}{{host="{host}", code="{code}"}}': value
            for host in ("s", "*")
            for code, value in {"1xx": 3, "2xx": 4, "3xx": 8, "4xx": 48, "5xx": 960}.items()
        }
        | {
            f"count({VTS_SERVERS})": 10,
            f'sum({VTS_CODES}{{host="s"}})': 1023,
            f'{VTS_CODES}{{host="s", code="other"}}': 769,
            f'{VTS_CODES}{{host="*", code="other"}}': 769,
            f'{VTS_CODES}{{host="s", code="499"}}': 32,
        },
    ),
    Case(
        "attempts in the classes of vts, where those that the client ended are 4xx",
        ("vts",),
        {attempts(status): still(2**number) for number, status in enumerate(("-", "50", *STATUSES[1:]))},
        {
            f'{VTS_UPSTREAMS}{{upstream="pool", backend="10.0.0.1:80", code="{code}"}}': value
            for code, value in {"1xx": 2 + 4, "2xx": 8, "3xx": 16, "4xx": 1 + 32 + 64, "5xx": 1920}.items()
        }
        | {f"count({VTS_UPSTREAMS})": 5},
    ),
    Case(
        "an upstream whose bytes are not known is a value of the dashboard's variable, and no number",
        ("vts", "vts-exporter"),
        {
            attempts("200", ', nginx="without"'): grows(1),
            attempts("200", ', nginx="with"'): grows(1),
            one("nginx_vts_info", 'nginx="with"'): still(1),
            one(VTS_UPSTREAMS, 'nginx="with", upstream="pool", backend="10.0.0.1:80", code="2xx"'): grows(1),
            one(
                "nginx_vts_upstream_bytes_total",
                'nginx="with", upstream="pool", backend="10.0.0.1:80", direction="in"',
            ): grows(60),
        },
        {
            'count(nginx_upstream_bytes{nginx="without"})': 1,
            'count(nginx_upstream_bytes{nginx="without", upstream="pool", direction="", backend=""})': 1,
            'count(nginx_upstream_bytes{nginx="without"} >= 0) or vector(0)': 0,
            'count(nginx_upstream_bytes{nginx="with"})': 1,
            'sum(rate(nginx_upstream_bytes{direction="in"}[5m]))': 1,
        },
    ),
    Case(
        "our alerts and rules do not see them",
        LUA,
        {**REQUESTS, durations("1.0"): grows(1), durations("+Inf"): grows(1)},
        {
            'count(ALERTS{alertname="RestyMetricsNothingArrives"}) or vector(0)': 0,
            "count(job_nginx_server:nginx_http_request_duration_seconds:p99_rate5m)": 1,
            "sum(rate(nginx_http_requests_total[5m]))": 20,  # twice, as the file says
            'sum(rate(nginx_http_requests_total{job="resty-metrics"}[5m]))': 10,
        },
        ours=True,
    ),
]


def unit_test(case: Case) -> dict[str, Any]:
    expected = [
        {
            "expr": f"sum({expression})",
            "eval_time": f"{MINUTES}m",
            "exp_samples": [{"labels": "{}", "value": value}],
        }
        for expression, value in case.expected.items()
    ]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    return {"interval": "1m", "input_series": series, "promql_expr_test": expected}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_by_promtool(case: Case, tmp_path: Path) -> None:
    files = [COMPAT / f"{name}.yml" for name in case.files] + (OURS if case.ours else [])
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(path) for path in files], "tests": [unit_test(case)]}))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_promtool_accepts_them() -> None:
    ran = subprocess.run(["promtool", "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_rules_read_no_metric_that_the_page_has_not() -> None:
    page = set(re.findall(r"^\| `([a-z_0-9]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    for path in RULES:
        for rule in yaml.safe_load(path.read_text())["groups"][0]["rules"]:
            for name in re.findall(r"\b(?:nginx|resty_metrics)_[a-z_]+\b(?=[{\[) ,]|$)", rule["expr"], re.MULTILINE):
                assert {name, re.sub("_(bucket|sum|count)$", "", name)} & page, f"{name} of {rule['record']}"


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_each_file_is_described(path: Path) -> None:
    assert f"prometheus/compat/{path.name}" in (ROOT / "docs" / "compatibility.md").read_text()

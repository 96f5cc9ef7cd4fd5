"""The rules of prometheus/rules by promtool's own unit tests: each alert fires for its cause, and not without it."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from resty_metrics.health.troubles import KINDS
from support.nginx import ROOT

RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
# Alerts read what is recorded: at intervals of half an hour, of the same moment or not at all.
GROUPS = ["resty-metrics-requests", "resty-metrics-slo", "resty-metrics-pipeline", "resty-metrics-nginx"]
MINUTES = 30
AT = 'job="resty-metrics", instance="a:19145"'
BURN_MINUTES, BURN_EVALUATION = 4 * 24 * 60, "30m"  # rules over days, looked at each half hour


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULES for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


ALERTS = [rule for rule in rules() if "alert" in rule]


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, a value each minute, which make ``alert`` fire or not."""

    alert: str
    series: Mapping[str, str]
    fires: bool = True
    minutes: int = MINUTES
    evaluation: str = "1m"
    labels: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        return f"{self.alert}-{self.why or ('fires' if self.fires else 'is quiet')}"


def still(value: float, minutes: int = MINUTES) -> str:
    return f"{value}x{minutes}"


def grows(step: float, minutes: int = MINUTES) -> str:
    """A counter that grows by so much a minute."""
    return f"0+{step}x{minutes}"


def one(metric: str, labels: str = "") -> str:
    return f"{metric}{{{', '.join(filter(None, [AT, labels]))}}}"


def gauge(alert: str, metric: str, wrong: float, right: float, labels: str = "") -> list[Case]:
    return [
        Case(alert, {one(metric, labels): still(wrong)}),
        Case(alert, {one(metric, labels): still(right)}, fires=False),
    ]


def responses(good: float, bad: float, minutes: int = MINUTES) -> dict[str, str]:
    """So many answers a minute of server s."""
    metric = "nginx_http_responses_total"
    return {
        one(metric, 'server="s", method="GET", status="200"'): grows(good, minutes),
        one(metric, 'server="s", method="GET", status="502"'): grows(bad, minutes),
    }


def durations(slow: float) -> dict[str, str]:
    """100 requests a minute, of which ``slow`` take up to 5 s, the others up to 0.1 s."""
    bucket = "nginx_http_request_duration_seconds_bucket"
    labels = 'server="s", status_class="2xx"'
    return responses(100, 0) | {
        one(bucket, f'{labels}, le="0.1"'): grows(100 - slow),
        one(bucket, f'{labels}, le="5.0"'): grows(100),
        one(bucket, f'{labels}, le="+Inf"'): grows(100),
    }


def lag(late: float) -> dict[str, str]:
    bucket, worker = "resty_metrics_worker_event_loop_lag_seconds_bucket", 'worker="0"'
    return {
        one(bucket, f'{worker}, le="0.1"'): grows(60 - late),
        one(bucket, f'{worker}, le="1.0"'): grows(60),
        one(bucket, f'{worker}, le="+Inf"'): grows(60),
    }


def attempts(failed: float) -> dict[str, str]:
    metric, peer = "nginx_http_upstream_attempts_total", 'upstream="u", peer="10.0.0.1:80"'
    return {
        one(metric, f'{peer}, status="200"'): grows(100 - failed),
        one(metric, f'{peer}, status="-"'): grows(failed),
    }


def sizes(metric: str, labels: str, used: float, whole: float, names: tuple[str, str]) -> dict[str, str]:
    return {one(metric, f'{labels}="{names[0]}"'): still(used), one(metric, f'{labels}="{names[1]}"'): still(whole)}


def burn(window: str, ratio: float, fires: bool) -> Case:
    bad, label, why = 1000 * ratio, f'window="{window}"', f"{window}-{ratio:g}"
    series = responses(1000 - bad, bad, BURN_MINUTES)
    return Case("NginxErrorBudgetBurn", series, fires, BURN_MINUTES, BURN_EVALUATION, label, why)


TROUBLE = "resty_metrics_trouble"
VTS = "nginx_vts_main_shm_usage_bytes"
CASES = [
    *gauge("RestyMetricsCollectorDown", "up", 0, 1),
    *(case for kind in KINDS for case in gauge(kind.alert, TROUBLE, 1, 0, f'trouble="{kind.name}"')),
    *(
        Case(kind.alert, {one(TROUBLE, f'nginx="edge", trouble="{kind.name}"'): still(1)}, why="a-named-nginx")
        for kind in KINDS
        if kind.per_nginx
    ),
    Case("RestyMetricsEventLoopLag", lag(30)),
    Case("RestyMetricsEventLoopLag", lag(0), fires=False),
    Case("NginxErrorRatioHigh", responses(90, 10)),
    Case("NginxErrorRatioHigh", responses(100, 0), fires=False),
    Case("NginxErrorRatioHigh", responses(10, 10), fires=False, why="hardly-any-traffic"),
    Case("NginxLatencyHigh", durations(5)),
    Case("NginxLatencyHigh", durations(0), fires=False),
    # Nobody looks at a burn over days for a fault of an hour, and a slow one must not wake anybody.
    burn("1h", 0.02, fires=True),
    burn("1h", 0.01, fires=False),
    burn("6h", 0.01, fires=True),
    burn("6h", 0.005, fires=False),
    burn("1d", 0.004, fires=True),
    burn("1d", 0.002, fires=False),
    burn("3d", 0.002, fires=True),
    burn("3d", 0.0005, fires=False),
    Case("NginxUpstreamPeerFailing", attempts(50)),
    Case("NginxUpstreamPeerFailing", attempts(1), fires=False),
    Case("NginxVtsZoneFull", sizes(VTS, "shared", 95, 100, ("used_size", "max_size"))),
    Case("NginxVtsZoneFull", sizes(VTS, "shared", 10, 100, ("used_size", "max_size")), fires=False),
]


def unit_test(case: Case) -> dict[str, Any]:
    wanted = ", ".join(filter(None, [f'alertname="{case.alert}"', 'alertstate="firing"', case.labels]))
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": f"count(ALERTS{{{wanted}}}) or vector(0)",
                "eval_time": f"{case.minutes}m",
                "exp_samples": [{"labels": "{}", "value": int(case.fires)}],
            }
        ],
    }


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_alert_fires_for_its_cause_alone(case: Case, tmp_path: Path) -> None:
    file = tmp_path / "test.yml"
    tests = {
        "rule_files": [str(path) for path in RULES],
        "group_eval_order": GROUPS,
        "evaluation_interval": case.evaluation,
        "tests": [unit_test(case)],
    }
    file.write_text(json.dumps(tests))
    ran = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_is_tried_both_ways() -> None:
    for fires in (True, False):
        assert {case.alert for case in CASES if case.fires == fires} == {rule["alert"] for rule in ALERTS}


@pytest.mark.parametrize("alert", sorted({rule["alert"] for rule in ALERTS}))
def test_each_alert_has_its_section_of_the_runbook(alert: str) -> None:
    (section,) = re.findall(rf"^## {alert}\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert len(section) > 200, "what it means, what to look at, what to do"
    for rule in ALERTS:
        if rule["alert"] == alert:
            assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"
            assert rule["annotations"]["runbook_url"].endswith(f"/-/runbook#{alert.lower()}")


@pytest.mark.parametrize(("up", "page"), [("a:19145", "http://a:19145"), ("", "http://localhost:19145")])
def test_the_runbook_url_leads_to_a_collector_that_is_up(tmp_path: Path, up: str, page: str) -> None:
    """Not to that of the alert, which may be down; the alert of that case is the one that is tried here."""
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "RestyMetricsCollectorDown"]
    series = {'up{job="resty-metrics", instance="b:19145"}': "0x5"}
    if up:
        series[f'up{{job="resty-metrics", instance="{up}"}}'] = "1x5"
    annotations = {key: text.replace("{{ $labels.instance }}", "b:19145") for key, text in rule["annotations"].items()}
    annotations["runbook_url"] = f"{page}/-/runbook#restymetricscollectordown"
    labels = {"severity": "critical", "job": "resty-metrics", "instance": "b:19145"}
    expected = {"exp_labels": labels, "exp_annotations": annotations}
    tests = {
        "rule_files": [str(path) for path in RULES],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "alert_rule_test": [
                    {"eval_time": "5m", "alertname": rule["alert"], "exp_alerts": [expected]},
                ],
            }
        ],
    }
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    words = ["promtool", "test", "rules", str(tmp_path / "tests.yml")]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_rules_name_no_metric_that_the_page_has_not() -> None:
    documented = set(re.findall(r"^\| `([a-z_0-9]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    documented |= {rule["record"] for rule in rules() if "record" in rule} | {"up"}
    for rule in rules():
        for name in re.findall(
            r"\b((?:nginx|resty_metrics|job_nginx\w*)[a-z_:0-9]*)\b(?!=)(?=\{|\[|\s|\))", rule["expr"]
        ):
            base = re.sub("_(bucket|sum|count)$", "", name)
            assert {name, base} & (documented | {"nginx"}), f"{name} of {rule.get('alert') or rule['record']}"


def test_promtool_accepts_them() -> None:
    ran = subprocess.run(["promtool", "check", "rules", *map(str, RULES)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr

"""The warnings of the live page: the troubles of the pipeline, and what its charts show of the site."""

import re
from dataclasses import replace

import pytest
import yaml
from resty_metrics.health.facts import RefusedFile
from resty_metrics.health.judge import judge
from resty_metrics.health.troubles import COVERAGE, KINDS, SOCKET_CONTENDED, Trouble
from resty_metrics.live.history import History
from resty_metrics.live.notices import notices
from resty_metrics.live.totals import Totals
from support.faults import FAULTS, WELL
from support.live import facts
from support.nginx import ROOT

RULES = yaml.safe_load((ROOT / "prometheus" / "rules" / "alerts.yml").read_text())
SEVERITIES = {rule["alert"]: rule["labels"]["severity"] for group in RULES["groups"] for rule in group["rules"]}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
OF_THE_SITE = {"NginxErrorRatioHigh", "NginxLatencyHigh"}
NOT_FORCED = {  # needs a bug, or a configuration that cannot be had beside the others
    "RestyMetricsSocketUnreachable", "RestyMetricsGaugesCut", "RestyMetricsWorkerErrors", "RestyMetricsFamilyConflict",
}  # fmt: skip


def test_where_all_is_well_there_is_none() -> None:
    assert notices(facts(), History()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_trouble_is_a_warning(name: str) -> None:
    (trouble,) = judge(FAULTS[name])
    (shown,) = notices(facts(troubles=[trouble]), History())
    assert (shown.name, shown.severity, shown.title) == (trouble.kind.alert, trouble.kind.severity, trouble.title)
    assert shown.do == trouble.remedy
    assert re.fullmatch(r"[A-Z0-9/].*\.", shown.evidence)
    assert (shown.command is None) == (trouble.kind.command is None)


def test_commands_are_those_of_this_collector() -> None:
    given = facts(troubles=[Trouble(kind, "seen", "do") for kind in (SOCKET_CONTENDED, COVERAGE)])
    assert [one.command for one in notices(given, History())] == [
        "sudo resty-metrics doctor --watch",
        "sudo resty-metrics doctor",
    ]


REFUSED = [
    ([RefusedFile("/etc/x y.yml")], "resty-metrics check-config '/etc/x y.yml'"),
    ([RefusedFile("/w.yml", web=True, watched=True)], "resty-metrics check-config --web.config.file=/w.yml"),
    (
        [RefusedFile("/a.yml"), RefusedFile("/w.yml", web=True), RefusedFile("/w.yml", web=True, watched=True)],
        "resty-metrics check-config /a.yml; resty-metrics check-config --web.config.file=/w.yml",
    ),
    ([RefusedFile("")], None),
]


@pytest.mark.parametrize(("files", "command"), REFUSED)
def test_the_command_for_a_refused_file_can_be_copied(files: list[RefusedFile], command: str | None) -> None:
    (shown,) = notices(facts(troubles=judge(replace(WELL, misconfigured=files))), History())
    assert shown.command == command


def history(requests: float, errors: float = 0, seconds: float = 0.05, intervals: int = 60) -> History:
    """Five minutes with this in each interval; ``seconds``: below which bound all requests took."""
    found, bounds = History(), (0.1, 1.0, 10.0)
    at = next(index for index, bound in enumerate(bounds) if seconds <= bound)
    for sample in range(60 - intervals, 61):
        buckets = [0.0] * 4
        buckets[at] = sample * requests
        found.observe({"shop": Totals(sample * requests, sample * errors, {bounds: buckets})}, 0, 700.0 + 5 * sample)
    return found


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (history(10), []),
        (history(10, errors=0.4), []),
        (history(10, errors=1), ["NginxErrorRatioHigh"]),
        (history(4, errors=4), []),
        (history(10, seconds=5), ["NginxLatencyHigh"]),
        (history(4, seconds=5), []),
    ],
)
def test_traffic_makes_the_warnings_of_the_alerts(given: History, expected: list[str]) -> None:
    shown = notices(facts(), given)
    assert [one.name for one in shown] == expected
    assert [one.severity for one in shown] == [SEVERITIES[name] for name in expected]


def test_evidence_names_the_time_that_it_is_of() -> None:
    for intervals, words in ((60, "over the last 5 min: shop"), (5, "over the last 25 s: shop")):
        failing, slow = notices(facts(), history(100, 50, 5, intervals))
        assert f"Answers with 5xx {words}" in failing.evidence
        assert f"The p99 {words}" in slow.evidence


def test_a_few_failures_after_the_start_are_no_finding() -> None:
    """As in an alert, which stands on 300 requests."""
    assert notices(facts(), history(10, errors=2, seconds=5, intervals=2)) == []
    assert [one.name for one in notices(facts(), history(10, errors=10, intervals=2))] == ["NginxErrorRatioHigh"]


def test_failures_name_the_metric_that_tells_nginxs_own_from_the_applications() -> None:
    """A status alone does not: nginx answers 500 itself, and an application answers 502."""
    (shown,) = notices(facts(), history(10, errors=1))
    assert "nginx_http_failed_requests_total on /metrics" in shown.do
    assert "Origin upstream: the application answered so" in shown.do


def test_critical_ones_come_first() -> None:
    given = facts(troubles=[Trouble(COVERAGE, "50 %", "add it")])
    assert [one.severity for one in notices(given, history(10, errors=1))] == ["critical", "warning"]


def test_the_runbook_has_a_section_for_each() -> None:
    for name in {kind.alert for kind in KINDS} | OF_THE_SITE:
        assert f"\n## {name}\n" in RUNBOOK


def test_each_is_also_seen_in_a_real_fault() -> None:
    faults = (ROOT / "tests" / "live" / "test_faults.py").read_text()
    names = {kind.alert for kind in KINDS} | OF_THE_SITE
    assert {name for name in names if f'"{name}"' not in faults} == NOT_FORCED

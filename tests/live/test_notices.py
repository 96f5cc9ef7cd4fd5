"""Each warning appears with its fact and goes with it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from resty_metrics.advice import remedies, warnings
from resty_metrics.advice.warnings import Advice
from resty_metrics.journal.errors import REASONS as JOURNAL_REASONS
from resty_metrics.live.counts import Counts, Growth
from resty_metrics.live.facts import Facts, Journal, SourceState
from resty_metrics.live.history import History
from resty_metrics.live.notices import notices
from resty_metrics.live.totals import Totals
from resty_metrics.sources.errors import REASONS as SOURCE_REASONS
from support.live import WELL, facts, nginx
from support.nginx import ROOT

ALERTS = (ROOT / "prometheus" / "rules" / "alerts.yml").read_text()
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
TO_BE_TOLD_ELSEWHERE = {  # by what cannot be known here
    "RestyMetricsCollectorDown", "RestyMetricsEventLoopLag", "NginxErrorBudgetBurn", "NginxUpstreamPeerFailing",
    "NginxVtsZoneFull",
}  # fmt: skip


def socket(**changes: Any) -> Any:
    return replace(WELL.socket, **changes)


def source(reason: str | None, name: str | None = None) -> SourceState:
    return SourceState("vts", name, "http://127.0.0.1:1/vts", reason, "connection refused", 0.1)


CASES: dict[str, tuple[Facts, str]] = {
    "RestyMetricsStandby": (facts(socket=socket(up=False, standing_by=True)), "another one has the socket"),
    "RestyMetricsSocketDown": (facts(socket=socket(up=False, faults=["cannot be put right"])), "cannot be put right"),
    "RestyMetricsSocketContended": (facts(socket=socket(contended=True)), "doctor --watch"),
    "RestyMetricsSourceDown": (facts(nginx=[nginx(heard=False, name="edge")]), "No worker of nginx (edge) is heard of"),
    "RestyMetricsCoverage": (facts(nginx=[nginx(coverage=0.9876)]), "98.8 %"),
    "RestyMetricsWorkersMissing": (facts(nginx=[nginx(workers_seen=1)]), "1 of 2 workers"),
    "RestyMetricsSpoolFull": (facts(nginx=[nginx(spool_free=0.1)]), "10 %"),
    "RestyMetricsJournalDown": (facts(journal=Journal("/state", "full")), "/state: full"),
    "RestyMetricsJournalStalls": (facts(journal=Journal("/state", None, 2.5)), "a write takes 2.5 s so far"),
    "RestyMetricsConfigRefused": (facts(misconfigured=["web"]), "check-config"),
}


def test_where_all_is_well_there_is_none() -> None:
    assert notices(facts(), History(), Growth()) == []


@pytest.mark.parametrize("name", CASES)
def test_a_fact_makes_its_warning_and_no_other(name: str) -> None:
    given, words = CASES[name]
    (found,) = notices(given, History(), Growth())
    assert found.name == name
    assert found.alert == (name in of_alerts())
    assert words in " ".join(filter(None, (found.title, found.seen, found.do, found.command)))


def test_at_the_start_nobody_has_been_heard_of_yet() -> None:
    assert notices(facts(nginx=[nginx(heard=False)], uptime=14.0), History(), Growth()) == []


def test_who_does_not_use_lua_is_not_told_for_ever_that_there_is_none() -> None:
    without = facts(nginx=[nginx(heard=False)], heard=None, sources=[source(None)])
    assert notices(without, History(), Growth()) == []
    silent = facts(nginx=[nginx(heard=False)], heard=100.0, sources=[source(None)])
    assert [one.name for one in notices(silent, History(), Growth())] == ["RestyMetricsSourceDown"]


@pytest.mark.parametrize("reason", SOURCE_REASONS)
def test_a_source_that_is_down_says_which_why_and_what_to_do(reason: str) -> None:
    (found,) = notices(facts(sources=[source(None), source(reason, "edge")]), History(), Growth())
    assert (found.name, found.title) == ("RestyMetricsSourceDown", "The source vts of edge cannot be read")
    assert found.seen == "http://127.0.0.1:1/vts: connection refused."
    assert found.do


@pytest.mark.parametrize(
    ("of", "reasons"), [(remedies.of_source, SOURCE_REASONS), (remedies.of_journal, JOURNAL_REASONS)]
)
def test_most_reasons_have_a_remedy_of_their_own(of: Callable[[str], str], reasons: Sequence[str]) -> None:
    own = {of(reason) for reason in reasons} - {of("something else")}
    assert len(own) >= len(reasons) - 2


GROWN: dict[str, tuple[Counts, str]] = {
    "RestyMetricsRefusals": ({("refused", "uid"): 3}, "--socket.allow-uid"),
    "RestyMetricsRowsLost": ({("lost", "family_cap"): 3}, "family_cap: 3"),
    "RestyMetricsOverflow": ({("overflow", "http_requests"): 3}, "path has 900 values"),
    "RestyMetricsGaugesCut": ({("gauge_rows", "worker_cap"): 3}, "labels with fewer values"),
    "RestyMetricsSocketContended": ({("rebind", "missing"): 4}, "missing 4 times"),
}


@pytest.mark.parametrize("name", GROWN)
def test_what_grew_lately_makes_its_warning_for_a_while(name: str) -> None:
    counts, words = GROWN[name]
    growth, full = Growth(), {"http_requests": [("path", 900), ("status", 3)]}
    growth.observe({}, 0.0)
    growth.observe(counts, 1.0)
    (found,) = notices(facts(now=10.0, full=full), History(), growth)
    assert found.name == name
    assert words in f"{found.seen} {found.do}"
    assert notices(facts(now=2000.0, full=full), History(), growth) == []


def test_a_socket_that_is_taken_away_again_and_again_is_one_warning() -> None:
    given = facts(socket=socket(up=False, contended=True, faults=["missing"]))
    assert [one.name for one in notices(given, History(), Growth())] == ["RestyMetricsSocketContended"]


def test_a_socket_that_was_put_back_a_few_times_makes_none() -> None:
    growth = Growth()
    growth.observe({}, 0.0)
    growth.observe({("rebind", "missing"): 3}, 1.0)
    assert notices(facts(now=10.0), History(), growth) == []


def history(requests: float, errors: float = 0, seconds: float = 0.05, begun: float = 0) -> History:
    """Five minutes with this in each interval; ``seconds``: below which bound all requests took."""
    found, bounds = History(), (0.1, 1.0, 10.0)
    at = next(index for index, bound in enumerate(bounds) if seconds <= bound)
    for sample in range(61):
        buckets = [0.0] * 4
        buckets[at] = sample * requests
        found.observe({"shop": Totals(sample * requests, sample * errors, {bounds: buckets})}, 0, 700.0 + 5 * sample)
        found.observe_nginx({"1-1": sample * begun}, 700.0 + 5 * sample)
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
        (history(0, begun=10), ["RestyMetricsNothingArrives"]),
        (history(0, begun=4), []),
        (history(10, begun=10), []),
    ],
)
def test_traffic_makes_the_warnings_of_the_alerts(given: History, expected: list[str]) -> None:
    assert [one.name for one in notices(facts(), given, Growth())] == expected


def test_while_a_write_stalls_that_nothing_arrives_has_its_cause() -> None:
    given = facts(journal=Journal("/state", None, 20.0))
    assert [one.name for one in notices(given, history(0, begun=10), Growth())] == ["RestyMetricsJournalStalls"]


def test_critical_ones_come_first() -> None:
    given = facts(nginx=[nginx(coverage=0.5)], socket=socket(up=False))
    assert [one.severity for one in notices(given, History(), Growth())] == ["critical", "warning"]


def of_alerts() -> set[str]:
    """The names of the warnings that are alerts."""
    return {one.name for one in vars(warnings).values() if isinstance(one, Advice) and one.alert}


def test_the_names_are_those_of_the_alerts_and_the_runbook_has_them() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", ALERTS))
    assert of_alerts() == alerts - TO_BE_TOLD_ELSEWHERE
    for name in of_alerts():
        assert f"\n## {name}\n" in RUNBOOK


def test_each_is_also_seen_in_a_real_fault() -> None:
    faults = (ROOT / "tests" / "live" / "test_faults.py").read_text()
    assert [name for name in sorted({*of_alerts(), *CASES}) if f'"{name}"' not in faults] == []


def test_the_severity_is_that_of_the_alert() -> None:
    said = dict(re.findall(r"- alert: (\w+)\n(?:.*\n)*?\s+severity: (\w+)", ALERTS))
    everything = [one for given, _ in CASES.values() for one in notices(given, History(), Growth())]
    everything += notices(facts(), history(10, errors=1, seconds=5), Growth())
    for counts, _ in GROWN.values():
        growth = Growth()
        growth.observe({}, 0.0)
        growth.observe(counts, 1.0)
        everything += notices(facts(now=2.0), History(), growth)
    assert {one.name: one.severity for one in everything if one.name in of_alerts()}.items() <= said.items()

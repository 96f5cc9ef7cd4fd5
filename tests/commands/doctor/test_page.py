"""What the collector's page says, judged."""

from dataclasses import replace

import pytest
from resty_metrics import __version__
from resty_metrics.commands.doctor import families, page, reported, versions
from resty_metrics.commands.doctor.finding import Finding, Verdict, as_remedy
from resty_metrics.commands.doctor.page import Answer
from resty_metrics.commands.doctor.ready_words import ReadyWords
from resty_metrics.commands.doctor.versions import Installed
from resty_metrics.commands.doctor.worker_reports import Running
from resty_metrics.health import remedies
from resty_metrics.health import troubles as kinds
from resty_metrics.health.facts import RefusedFile
from resty_metrics.health.judge import judge
from resty_metrics.health.troubles import Trouble
from resty_metrics.observer.lines import lines
from support.faults import WELL, nginx

HEALTHY = """
resty_metrics_build_info{version="0.1.0"} 1
resty_metrics_lua_info{version="0.1.0"} 1
resty_metrics_socket_up 1
resty_metrics_socket_contended 0
resty_metrics_socket_rebinds_total{reason="replaced"} 0
resty_metrics_workers_expected 2
resty_metrics_workers_seen 2
resty_metrics_coverage_ratio 1
resty_metrics_overflow_rows_total{family="http_requests"} 0
resty_metrics_lost_rows_total{reason="dropped"} 0
resty_metrics_refusals_total{reason="uid"} 0
resty_metrics_journal_up 1
resty_metrics_journal_pending_seconds 0.1
resty_metrics_source_up{source="lua"} 1
"""


def judged(text: str, running: int = 2, **named: int) -> list[Finding]:
    """``running`` workers of an nginx without a name, ``named`` of those with one."""
    shown = page.read(text)
    counts = {"": running, **named}
    return [*reported.check(shown, "/state", {name: Running(n) for name, n in counts.items()}), *families.check(shown)]


def without_ok(text: str, running: int = 2) -> list[tuple[str, str]]:
    return [(one.check, one.verdict) for one in judged(text, running) if one.verdict is not Verdict.OK]


def changed(line: str, name: str | None = None) -> str:
    """The healthy page with one sample as it is here."""
    key = line.rpartition(" ")[0]
    return "\n".join([one for one in HEALTHY.splitlines() if one.rpartition(" ")[0] != key] + [line, ""])


def test_each_nginx_is_judged_by_its_name() -> None:
    """Several masters on one page: workers of one make up for none of another's, and none hides behind the other."""
    text = """
resty_metrics_workers_expected 2
resty_metrics_workers_seen 2
resty_metrics_workers_expected{nginx="edge"} 4
resty_metrics_workers_seen{nginx="edge"} 3
resty_metrics_coverage_ratio 1
resty_metrics_coverage_ratio{nginx="edge"} 0.5
resty_metrics_source_up{source="lua"} 1
resty_metrics_source_up{source="lua",nginx="edge"} 1
resty_metrics_source_up{source="lua",nginx="gone"} 0
resty_metrics_trouble{trouble="coverage"} 0
resty_metrics_trouble{trouble="coverage",nginx="edge"} 1
resty_metrics_trouble{trouble="workers_missing",nginx="edge"} 1
"""
    found = {(one.check, one.evidence): one.verdict for one in judged(text, running=0)}
    bad = [seen for (_, seen), verdict in found.items() if verdict is Verdict.WARN]
    assert bad == [
        "some requests of nginx edge are not counted: the log hook ran for 50.0% of the requests of the last minutes",
        "workers of nginx edge have stopped reporting: 3 of 4 report",
    ]
    assert found["workers.seen", "2 of 2 workers report"] is Verdict.OK
    assert found["page.coverage", "100.0% of the requests of nginx ran the log hook"] is Verdict.OK
    silent = [seen for (check, seen), verdict in found.items() if (check, verdict) == ("source.lua", Verdict.SKIP)]
    assert [seen.partition(";")[0] for seen in silent] == ["not known: gone: no worker sends heartbeats"]


def test_a_healthy_page() -> None:
    assert without_ok(HEALTHY) == []
    assert {"journal", "page.coverage", "page.rebinds", "workers.seen", "source.lua"} <= {
        one.check for one in judged(HEALTHY)
    }


def held(name: str, *figures: str) -> str:
    """The healthy page, but with a trouble and its figures."""
    text = HEALTHY
    for line in figures:
        key = line.rpartition(" ")[0]
        text = "\n".join([one for one in text.splitlines() if one.rpartition(" ")[0] != key] + [line, ""])
    return f'{text}resty_metrics_trouble{{trouble="{name}"}} 1\n'


FAULTS = [
    ("socket_down", "resty_metrics_socket_up 0", "page.socket", "FAIL", "does not lead to this collector"),
    ("socket_contended", "resty_metrics_socket_contended 1", "page.socket", "WARN", "keeps removing or replacing"),
    ("socket_unreachable", "resty_metrics_socket_up 1", "page.socket", "FAIL", "no worker of nginx can reach"),
    ("standby", "resty_metrics_socket_standby 1", "page.socket", "WARN", "stands by"),
    ("workers_missing", "resty_metrics_workers_seen 1", "workers.seen", "WARN", "1 of 2 report"),
    ("coverage", "resty_metrics_coverage_ratio 0.75", "page.coverage", "WARN", "75.0%"),
    ("nothing_arrives", "resty_metrics_coverage_ratio 0", "page.coverage", "FAIL", "none of them is counted"),
    ("spool_full", "resty_metrics_socket_up 1", "page.spool", "WARN", "nearly full"),
    ("config_refused", "resty_metrics_config_last_reload_successful 0", "page.configuration", "WARN", "refused"),
    ("source_down", 'resty_metrics_source_up{source="vts"} 0', "page.sources", "WARN", "vts"),
    ("overflow", 'resty_metrics_overflow_rows_total{family="http_requests"} 7', "page.overflow", "WARN",
        "http_requests 7"),
    ("family_conflict", 'resty_metrics_family_conflict{family="nginx_http_requests_total"} 1', "page.conflicts",
        "WARN", "nginx_http_requests_total"),
    ("rows_lost", 'resty_metrics_lost_rows_total{reason="dropped"} 2', "page.lost", "FAIL", "dropped 2"),
    ("refusals", 'resty_metrics_refusals_total{reason="uid"} 9', "page.refusals", "WARN", "user not allowed 9"),
    ("gauges_cut", 'resty_metrics_heartbeat_rows_refused_total{reason="total_cap"} 8', "page.gauges", "WARN",
        "total_cap 8"),
    ("worker_errors", 'resty_metrics_worker_errors_total{worker="0",reason="internal"} 1', "workers.errors", "WARN",
        "internal 1"),
    ("rows_lost", 'resty_metrics_worker_lost_rows_total{worker="0",reason="spool_full"} 1', "page.lost", "FAIL",
        "spool_full 1"),
    ("journal_down", "resty_metrics_journal_up 0", "journal", "WARN", "memory only"),
    ("journal_stalls", "resty_metrics_journal_pending_seconds 2.5", "journal", "WARN", "the oldest for 2.5 s"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "check", "verdict", "words"), FAULTS, ids=[one[1] for one in FAULTS])
def test_one_trouble_at_a_time(name: str, line: str, check: str, verdict: str, words: str) -> None:
    text = held(name, line)
    assert without_ok(text) == [(check, verdict)]
    (finding,) = [one for one in judged(text) if one.is_problem]
    assert words in finding.evidence
    assert finding.remedy
    assert finding.trouble == name


def test_the_remedy_to_watch_has_its_command() -> None:
    (finding,) = [one for one in judged(held("socket_contended")) if one.is_problem]
    assert str(finding.remedy).endswith("; run: sudo resty-metrics doctor --watch")


def test_each_trouble_of_the_closed_list_has_a_case() -> None:
    assert {one[0] for one in FAULTS} == set(kinds.BY_NAME)


FIGURES = [one[1] for one in FAULTS if one[0] != "family_conflict"]


@pytest.mark.parametrize("line", FIGURES)
def test_figures_alone_are_no_trouble(line: str) -> None:
    """Counts of long ago, an idle worker: the collector judges."""
    assert without_ok(changed(line)) == []


ABSENT = [
    ("resty_metrics_coverage_ratio 1", [("page.coverage", "SKIP")]),
    ("resty_metrics_workers_seen 2", [("workers.seen", "SKIP")]),
    ("resty_metrics_journal_up 1", []),
    ('resty_metrics_socket_rebinds_total{reason="replaced"} 0', []),
]


@pytest.mark.parametrize(("line", "expected"), ABSENT)
def test_what_is_absent_is_not_called_ok(line: str, expected: list[tuple[str, str]]) -> None:
    text = HEALTHY.replace(f"{line}\n", "")
    assert without_ok(text) == expected
    assert not {one.check for one in judged(text) if one.verdict is Verdict.OK} & {
        {"resty_metrics_coverage_ratio 1": "page.coverage", "resty_metrics_workers_seen 2": "workers.seen"}.get(line),
        "journal" if "journal" in line else None,
        "page.rebinds" if "rebinds" in line else None,
    }


def test_a_worker_that_never_spoke_is_no_fault() -> None:
    """Without lifecycle.conf it speaks with its first request."""
    assert without_ok(HEALTHY, running=3) == without_ok(HEALTHY, running=0) == []
    (seen,) = [one.evidence for one in judged(HEALTHY, running=3) if one.check == "workers.seen"]
    assert seen.startswith("2 of 3 workers report; an idle worker")


SILENT = [
    (Running(3), Verdict.OK, ""),
    (
        Running(3, beats=True),
        Verdict.WARN,
        "reload nginx, since its workers may be older than that include: RELOAD; if ",
    ),
    (Running(3, beats=True, silent=[7, 8, 9]), Verdict.WARN, "then restart nginx"),
    (
        Running(3, beats=True, silent=[7]),
        Verdict.WARN,
        "then end what hangs (kill -9 7), and nginx starts other workers",
    ),
    (Running(3, beats=True, silent=[7], stopped=[7]), Verdict.WARN, "kill -CONT 7"),
    (Running(2, beats=True), Verdict.OK, ""),
    (Running(0, beats=True), Verdict.OK, ""),
]


@pytest.mark.parametrize(("running", "verdict", "remedy"), SILENT)
def test_with_lifecycle_a_silent_worker_is_a_problem(running: Running, verdict: Verdict, remedy: str) -> None:
    shown = page.read(HEALTHY)
    found = reported.check(shown, "/state", {"": replace(running, reload="RELOAD")})
    (finding,) = [one for one in found if one.check == "workers.seen"]
    assert finding.verdict is verdict
    assert remedy in (finding.remedy or "")
    assert finding.nginx == ""


def test_with_lifecycle_a_worker_of_an_nginx_that_was_never_heard_of_is_a_problem() -> None:
    found = reported.check(page.read(HEALTHY), "", {"edge": Running(2, beats=True)})
    assert [one.evidence for one in found if one.is_problem] == [
        "edge: 0 of 2 workers send heartbeats, and with lifecycle.conf each one does"
    ]


def worded(trouble: Trouble, words: ReadyWords) -> Finding:
    """The finding of a trouble, as its line of /-/ready has it."""
    shown = page.read(held(trouble.kind.name))
    ready = replace(words, ready="\n".join(["ready", *lines([trouble], "/run/c.sock")]))
    (finding,) = [one for one in reported.check(shown, "/state", {}, ready) if one.is_problem]
    return finding


def test_a_refusal_names_the_users() -> None:
    evidence = "refused lately: 3 datagrams of daemon (uid 1), uid 33, 1 datagram (version)"
    words = " ".join(remedies.of_refusal(reason, [1, 33], {1: "daemon"}) for reason in ("uid", "version"))
    finding = worded(Trouble(kinds.REFUSALS, evidence, words), ReadyWords(names={33: "www-data"}))
    assert finding.evidence == (
        "the collector refuses datagrams: refused lately: 3 datagrams of daemon (uid 1), www-data (uid 33), 1 datagram "
        "(version)"
    )
    assert str(finding.remedy).startswith("if daemon (uid 1) or www-data (uid 33) runs nginx's workers, add 1, 33 to ")
    assert finding.parts == {"uid 1", "uid 33", "version"}


def test_a_refused_file_is_named_with_the_pid_that_is_seen_from_here() -> None:
    (trouble,) = judge(replace(WELL, misconfigured=[RefusedFile("/etc/a. b.yml"), RefusedFile("/etc/c.yml")], pid=7))
    finding = worded(trouble, ReadyWords(pid=4711))
    assert "in force: refused: /etc/a. b.yml, /etc/c.yml; the collector's log" in finding.evidence
    assert "correct '/etc/a. b.yml', check it (resty-metrics check-config '/etc/a. b.yml')" in str(finding.remedy)
    assert str(finding.remedy).count("kill -HUP 4711") == 2
    assert "kill -HUP 7" in str(worded(trouble, ReadyWords()).remedy)


def test_the_number_of_missing_workers_is_known() -> None:
    (trouble,) = judge(nginx(missing=2))
    assert worded(trouble, ReadyWords()).parts == {"worker 1", "worker 2"}


def test_errors_of_workers_are_those_that_ready_names_not_all_since_the_journal_began() -> None:
    """Some of the page's are older: of a setting that is repaired, or of before the collector's start."""
    text = HEALTHY + 'resty_metrics_worker_errors_total{worker="0",reason="buckets"} 2\n'
    held = text + 'resty_metrics_trouble{trouble="worker_errors"} 1\n'
    trouble = Trouble(kinds.WORKER_ERRORS, "errors in ten minutes: labels 1", kinds.WORKER_ERRORS.remedy)
    words = ReadyWords("\n".join(lines([trouble], "/run/c.sock")))
    (finding,) = [one for one in reported.check(page.read(held), "", {}, words) if one.check == "workers.errors"]
    assert finding.evidence == "workers of nginx report errors: errors in ten minutes: labels 1"
    assert (
        "ten minutes after the last error this ends by itself" in str(finding.remedy).lower()
    )  # a repair does not end it
    for shown, evidence in ((text, "buckets 2 so far, none lately"), (held, "report errors: buckets 2 so far")):
        assert [one.evidence for one in judged(shown) if one.evidence.endswith(evidence)] != []


def test_missing_workers_that_a_signal_has_stopped_are_named() -> None:
    text = HEALTHY + 'resty_metrics_trouble{trouble="workers_missing"} 1\n'
    running = {"": Running(2, beats=True, stopped=[7, 9])}
    (finding,) = [one for one in reported.check(page.read(text), "", running) if one.check == "workers.seen"]
    assert finding.evidence.endswith("2 of 2 report; stopped by a signal: 7 9")
    assert str(finding.remedy) == "kill -CONT 7 9"


def test_one_trouble_of_ready_is_one() -> None:
    for text, words in (("degraded: a", "1 trouble, which has"), ("degraded: a\ndegraded: b", "2 troubles, each of")):
        (finding,) = page.ready(Answer("http://x/-/ready", text, None), page.read(HEALTHY))
        assert f"ready, with {words}" in finding.evidence


ADVISED = [
    ("standby", "resty_metrics_socket_standby 1", kinds.STANDBY.remedy),
    ("workers_missing", "resty_metrics_workers_seen 1", kinds.WORKERS_MISSING.remedy),
    ("rows_lost", 'resty_metrics_lost_rows_total{reason="dropped"} 2', remedies.of_loss("dropped")),
    ("overflow", 'resty_metrics_overflow_rows_total{family="http_requests"} 7', kinds.OVERFLOW.remedy),
    ("family_conflict", 'resty_metrics_family_conflict{family="a_total"} 1', kinds.FAMILY_CONFLICT.remedy),
    ("refusals", 'resty_metrics_refusals_total{reason="uid"} 9', remedies.of_refusal("uid")),
    ("journal_down", 'resty_metrics_journal_errors_total{reason="full"} 1', remedies.of_journal("full")),
]


@pytest.mark.parametrize(("name", "line", "advice"), ADVISED, ids=[one[0] for one in ADVISED])
def test_what_to_do_is_what_the_live_page_says(name: str, line: str, advice: str) -> None:
    (finding,) = [one for one in judged(held(name, line)) if one.is_problem]
    assert as_remedy(advice) in str(finding.remedy)
    assert finding.remedy == (finding.remedy or "").removesuffix(".")


def test_each_reason_has_its_remedy() -> None:
    """Also where several are seen at once."""
    refusals = "resty_metrics_refusals_total"
    text = held("refusals", f'{refusals}{{reason="version"}} 1', f'{refusals}{{reason="sender_cap"}} 1')
    (finding,) = [one for one in judged(text) if one.check == "page.refusals"]
    assert finding.remedy == as_remedy(remedies.of_refusal("sender_cap"), remedies.of_refusal("version"))


def test_several_findings_stand_side_by_side() -> None:
    text = held("journal_down") + held("standby").splitlines()[-1] + "\n"
    assert without_ok(text) == [("page.socket", "WARN"), ("journal", "WARN")]


def test_readiness() -> None:
    url = "http://x/-/ready"
    assert [one.verdict for one in page.ready(Answer(url, "resty-metrics is ready\n", None), None)] == [Verdict.OK]
    answer = Answer(url, "resty-metrics is ready\ndegraded: a\ndegraded: b\n", None)
    degraded = page.ready(answer, None)
    assert [(one.verdict, one.evidence) for one in degraded] == [
        (Verdict.WARN, "degraded: a"),
        (Verdict.WARN, "degraded: b"),
    ]
    assert [one.verdict for one in page.ready(answer, page.read(HEALTHY))] == [Verdict.OK], "they are on the page"
    assert page.ready(Answer(url, "", "HTTP status 500"), None)[0].verdict is Verdict.FAIL


def test_the_page_answers() -> None:
    shown = page.read(HEALTHY)
    assert page.answers(Answer("u", HEALTHY, None), shown, None).verdict is Verdict.OK
    assert page.answers(Answer("u", "", "refused"), None, None).verdict is Verdict.FAIL
    assert page.answers(Answer("u", "<html>", None), None, None).verdict is Verdict.FAIL
    foreign = page.answers(Answer("u", "", "refused"), None, 77)
    assert foreign.verdict is Verdict.WARN
    assert "nsenter --target 77 --net" in str(foreign.remedy)


NAMED = 'resty_metrics_source_up{source="lua",nginx="edge"} 1\n'
BY_NAME = "since another one has its name or its series: "
BY_LABEL = (
    "since an nginx without a name has a label nginx of yours, which makes series that may be those of another nginx: "
)
CONFLICT = "resty_metrics_family_conflict"

# the page; what is seen; whether to rename a metric, too
CONFLICTS = [
    (f'{CONFLICT}{{family="a"}} 1', f"{BY_NAME}a", True),
    (f'{CONFLICT}{{nginx="edge",family="a"}} 1\na{{nginx="site"}} 2', f"{BY_LABEL}a of nginx edge", False),
    (f'{CONFLICT}{{nginx="edge",family="a"}} 1\na{{nginx="edge"}} 2', f"{BY_LABEL}a of nginx edge", False),
    (f'{CONFLICT}{{nginx="edge",family="h"}} 1\nh_count{{nginx="x"}} 2', f"{BY_LABEL}h of nginx edge", False),
    (f'{CONFLICT}{{family="a"}} 1\na{{nginx="edge"}} 2', f"{BY_NAME}a", True),
    (f'{CONFLICT}{{nginx="edge",family="a"}} 1\na 2', f"{BY_NAME}a of nginx edge", True),
    (
        f'{CONFLICT}{{family="b"}} 1\n{CONFLICT}{{nginx="edge",family="a"}} 1\na{{nginx="x"}} 2',
        f"{BY_NAME}b; {BY_LABEL}a of nginx edge",
        True,
    ),
]


@pytest.mark.parametrize(("text", "seen", "rename"), CONFLICTS)
def test_why_a_family_is_withheld(text: str, seen: str, rename: bool) -> None:
    (finding,) = [one for one in judged(f"{HEALTHY}{NAMED}{text}\n") if one.check == "page.conflicts"]
    assert finding.evidence == f"withheld from the page, {seen}"
    assert finding.remedy == as_remedy(kinds.FAMILY_CONFLICT.remedy if rename else kinds.RELABEL)


VERSIONS = [
    (Installed([__version__], [__version__], {"/m.lua": __version__}), Verdict.OK, None),
    (Installed([__version__], [], {}), Verdict.OK, None),
    (Installed(["9.9.9"], [__version__], {}), Verdict.WARN, "collector 9.9.9"),
    (Installed([__version__], [__version__, "9.9.9"], {}), Verdict.WARN, "workers 9.9.9"),
    (Installed([__version__], [], {"/m.lua": "9.9.9"}), Verdict.WARN, "/m.lua 9.9.9"),
    (Installed([], [], {}), Verdict.SKIP, "not known"),
]


@pytest.mark.parametrize(("installed", "verdict", "words"), VERSIONS)
def test_versions(installed: Installed, verdict: Verdict, words: str | None) -> None:
    finding = versions.check(installed)
    assert finding.verdict is verdict
    assert (words or "") in finding.evidence


def test_a_fetched_source() -> None:
    assert page.fetched("vts", "u", None, 30, None).verdict is Verdict.OK
    failed = page.fetched("vts", "u", "timeout", 0, None)
    assert (failed.check, failed.verdict, failed.evidence) == ("source.vts", Verdict.FAIL, "u: timeout")
    assert failed.remedy == as_remedy(remedies.of_source("timeout"))
    assert page.fetched("vts", "u", "refused", 0, 77).evidence.startswith("not known: u: refused from here; process 77")


def test_overflow_names_the_label() -> None:
    """Of two labels, and of two scopes, the one with the most values."""
    text = (
        held("overflow", 'resty_metrics_overflow_rows_total{family="http_requests"} 7')
        + """
resty_metrics_overflow_rows_total{family="http_requests",scope="api"} 3
resty_metrics_label_values{family="http_requests",label="server"} 12
resty_metrics_label_values{family="http_requests",label="tenant"} 9998
resty_metrics_label_values{family="http_requests",scope="api",label="tenant"} 40
"""
    )
    (found,) = [one for one in judged(text) if one.check == "page.overflow"]
    assert found.evidence.endswith(": http_requests 10 (label tenant: 9998 values)")

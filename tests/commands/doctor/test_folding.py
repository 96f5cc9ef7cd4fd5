"""One problem for each cause."""

from dataclasses import replace

import pytest
from resty_metrics.commands.doctor.finding import (
    ALL_REQUESTS,
    LATE_REQUESTS,
    UNKNOWN_NGINX,
    Finding,
    Verdict,
    fail,
    not_known,
    of_its_own,
    ok,
    skip,
    warn,
)
from resty_metrics.commands.doctor.folding import fold
from resty_metrics.commands.doctor.nginx_deaths import workers
from resty_metrics.health.troubles import BY_NAME

DOWN = [
    fail("collector.process", "no collector is found", "start it"),
    ok("socket.path", "a socket"),
    fail("socket.lock", "nobody holds it", "start it"),
    fail("socket.holder", "nobody holds it", "restart"),
    fail("socket.probe", "refused", "restart"),
    fail("page.answers", "refused", "see that it runs"),
]


def reported(check: str, trouble: str, nginx: str | None = None, *parts: str) -> Finding:
    """As severe as its kind is."""
    report = fail if BY_NAME[trouble].severity == "critical" else warn
    return of(replace(report(check, "something", "do it"), trouble=trouble), nginx, *parts)


def of(finding: Finding, nginx: str | None, *parts: str) -> Finding:
    return replace(finding, nginx=nginx, parts=frozenset(parts))


def problems(*findings: Finding) -> list[str]:
    return [one.trouble or one.check for one in fold(findings) if one.is_problem]


def test_a_collector_that_is_down_is_one_failure() -> None:
    found = fold(DOWN)
    assert problems(*DOWN) == ["collector.process"]
    assert found[0] == DOWN[0]
    assert [one.check for one in found if one.verdict is Verdict.SKIP] == [one.check for one in DOWN[2:]]
    assert found[2] == Finding("socket.lock", Verdict.SKIP, "follows from collector.process: nobody holds it")


CASES = [
    ("a hook that shadows", [warn("nginx.shadowed", "a.conf:1", "add"), reported("page.coverage", "coverage")],
        ["nginx.shadowed"]),
    ("a user that may not send", [fail("reach.uid", "uid 1", "allow"), reported("page.refusals", "refusals")],
        ["reach.uid"]),
    ("a directory", [fail("reach.socket", "0700", "chmod"), reported("page.socket", "socket_unreachable")],
        ["reach.socket"]),
    ("an impostor", [of_its_own(fail("socket.holder", "an impostor", "end it")), fail("socket.probe", "x", "see"),
        reported("page.socket", "socket_down")], ["socket.holder"]),
    ("a source", [fail("source.vts", "refused", "start"), reported("page.sources", "source_down")], ["source.vts"]),
    ("nginx ended", [of(warn("nginx.workers", "does not run", "start nginx"), ""),
        of(fail("source.vts", "refused", "see"), "", "vts"),
        reported("page.sources", "source_down")], ["nginx.workers"]),
    ("a trouble without a cause", [reported("journal", "journal_down")], ["journal_down"]),
    ("a cause that is not known", [not_known("reach.socket", "a list", "look"),
        reported("page.socket", "socket_unreachable")], ["socket_unreachable", "reach.socket"]),
    ("another nginx has the cause", [of(warn("nginx.shadowed", "b:1", "add"), "b"),
        reported("page.coverage", "coverage", "a")], ["nginx.shadowed", "coverage"]),
    ("one of two nginx has the cause", [of(warn("nginx.shadowed", "a:1", "add"), "a"),
        reported("page.coverage", "coverage", "a"), reported("page.coverage", "coverage", "b")],
        ["nginx.shadowed", "coverage"]),
    ("the nginx of a cause is not known", [of(fail("reach.uid", "uid 1", "allow"), UNKNOWN_NGINX),
        reported("page.coverage", "coverage", "")], ["reach.uid", "coverage"]),
    ("a warning explains no failure", [of(warn("nginx.code-cache", "in one location", "remove"), ""),
        reported("page.coverage", "nothing_arrives", "")], ["nothing_arrives", "nginx.code-cache"]),
    ("a location that shadows explains no failure",
        [of(warn("nginx.shadowed", "in one location", "add"), "", LATE_REQUESTS),
        reported("page.coverage", "nothing_arrives", "", ALL_REQUESTS)], ["nothing_arrives", "nginx.shadowed"]),
    ("a worker that died explains a coverage of that time", [of(warn("workers.died", "1", "see"), "", LATE_REQUESTS),
        reported("page.coverage", "coverage", "", LATE_REQUESTS)], ["workers.died"]),
    ("a worker that died before explains no coverage", [of(warn("workers.died", "1", "see"), "", "the last hour"),
        reported("page.coverage", "coverage", "", LATE_REQUESTS)], ["workers.died", "coverage"]),
    ("two workers are missing, and one died", [of(warn("workers.died", "1", "see"), "", *workers(1)),
        reported("workers.seen", "workers_missing", "", *workers(2))], ["workers.died", "workers_missing"]),
    ("two workers are missing, and two died", [of(warn("workers.died", "2", "see"), "", *workers(2)),
        reported("workers.seen", "workers_missing", "", *workers(2))], ["workers.died"]),
    ("versions differ, and a user is refused", [of(warn("versions", "differ", "install"), None, "version"),
        reported("page.refusals", "refusals", None, "uid 7")], ["versions", "refusals"]),
    ("versions differ, and a version is refused", [of(warn("versions", "differ", "install"), None, "version"),
        reported("page.refusals", "refusals", None, "version")], ["versions"]),
    ("two users are refused, and one is a worker's", [of(fail("reach.uid", "uid 1", "allow"), "", "uid", "uid 1"),
        reported("page.refusals", "refusals", None, "uid 1", "uid 7")], ["reach.uid", "refusals"]),
    ("the users of two nginx are refused", [of(fail("reach.uid", "uid 1", "allow"), "a", "uid 1"),
        of(fail("reach.uid", "uid 7", "allow"), "b", "uid 7"), reported("page.refusals", "refusals", None, "uid 1",
        "uid 7")], ["reach.uid", "reach.uid"]),
    ("one source of two is down here too", [of(fail("source.vts", "refused", "start"), "", "vts"),
        reported("page.sources", "source_down", "", "vts"),
        reported("page.sources", "source_down", "", "stub_status")], ["source.vts", "source_down"]),
    ("versions differ while the collector is down", [DOWN[0], of(warn("versions", "differ", "install"), None,
        "version")], ["collector.process", "versions"]),
    ("few descriptors explain nothing", [replace(warn("collector.descriptors", "few", "raise"), is_cause=False),
        reported("page.coverage", "coverage", "")], ["collector.descriptors", "coverage"]),
    ("a socket that is missing in this moment", [fail("socket.path", "missing", "wait"), fail("socket.probe", "x", "y"),
        reported("page.socket", "socket_contended")], ["socket_contended"]),
    ("two causes", [fail("reach.uid", "uid 1", "allow"), fail("nginx.include", "missing", "install"),
        reported("page.coverage", "nothing_arrives")], ["reach.uid", "nginx.include"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "findings", "expected"), CASES, ids=[one[0] for one in CASES])
def test_what_follows_from_a_problem_is_none(name: str, findings: list[Finding], expected: list[str]) -> None:
    assert problems(*findings) == expected


def test_a_setting_that_is_not_known_makes_no_problem_of_what_it_judges() -> None:
    wrong = warn("collector.configuration", "the file is wrong", "correct it")
    findings = [fail("socket.path", "missing", "restart"), not_known("nginx.socket", "x", "y"), wrong, ok("page", "")]
    folded = fold(findings, {"socket_path": "collector.configuration"})
    assert folded[0] == wrong
    assert [(one.check, one.verdict) for one in folded[1:]] == [
        ("socket.path", Verdict.SKIP), ("nginx.socket", Verdict.SKIP), ("page", Verdict.OK)
    ]  # fmt: skip
    assert folded[1].evidence == "follows from collector.configuration: missing"
    assert fold([findings[0], wrong])[0] == wrong


def test_a_warning_that_is_the_whole_reason_of_a_failure_is_one() -> None:
    """So the exit status says so, and it is the first to be fixed."""
    stopped = of(warn("nginx.workers", "does not run", "start nginx"), "edge")
    failed = of(fail("source.vts", "refused", "see"), "edge", "vts")
    first, second = fold([stopped, failed])
    assert (first.check, first.verdict, second.verdict) == ("nginx.workers", Verdict.FAIL, Verdict.SKIP)
    assert [one.verdict for one in fold([stopped, replace(failed, nginx="")])] == [Verdict.FAIL, Verdict.WARN]
    everywhere = of(warn("nginx.shadowed", "in all servers", "add"), "", ALL_REQUESTS, LATE_REQUESTS)
    first, second = fold([everywhere, reported("page.coverage", "nothing_arrives", "", ALL_REQUESTS)])
    assert (first.check, first.verdict, second.verdict) == ("nginx.shadowed", Verdict.FAIL, Verdict.SKIP)


def test_failures_are_first_then_warnings_each_in_the_order_of_the_pipeline() -> None:
    findings = [
        ok("a", ""),
        warn("b", "", "x"),
        fail("c", "", "x"),
        skip("d", ""),
        warn("e", "", "x"),
        fail("f", "", "x"),
    ]
    assert [one.check for one in fold(findings)] == ["c", "f", "b", "e", "a", "d"]

"""One problem for each cause."""

from dataclasses import replace

import pytest
from resty_metrics.commands.doctor.finding import Finding, Verdict, fail, not_known, ok, skip, warn
from resty_metrics.commands.doctor.folding import fold

DOWN = [
    fail("collector.process", "no collector is found", "start it"),
    ok("socket.path", "a socket"),
    fail("socket.lock", "nobody holds it", "start it"),
    fail("socket.holder", "nobody holds it", "restart"),
    fail("socket.probe", "refused", "restart"),
    fail("page.answers", "refused", "see that it runs"),
    not_known("versions", "no collector could be asked", "see page.answers"),
]


def reported(check: str, trouble: str) -> Finding:
    return replace(warn(check, "something", "do it"), trouble=trouble)


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
    ("an impostor", [fail("socket.holder", "an impostor", "end it"), fail("socket.probe", "no answer", "see"),
        reported("page.socket", "socket_down")], ["socket.holder"]),
    ("a source", [fail("source.vts", "refused", "start"), reported("page.sources", "source_down")], ["source.vts"]),
    ("nginx ended", [warn("nginx.workers", "does not run", "start nginx"), fail("source.vts", "refused", "see"),
        reported("page.sources", "source_down")], ["nginx.workers"]),
    ("a trouble without a cause", [reported("journal", "journal_down")], ["journal_down"]),
    ("a cause that is not known", [not_known("reach.socket", "a list", "look"),
        reported("page.socket", "socket_unreachable")], ["reach.socket", "socket_unreachable"]),
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

"""The findings as text and as JSON."""

import json
from dataclasses import replace

from resty_metrics import __version__
from resty_metrics.commands.doctor.descriptors import Descriptors
from resty_metrics.commands.doctor.facts import Subject
from resty_metrics.commands.doctor.finding import EXIT_STATUS, Finding, Verdict, fail, not_known, ok, skip, warn, worst
from resty_metrics.commands.doctor.reach import Filter
from resty_metrics.commands.doctor.report import as_json, as_text
from resty_metrics.commands.doctor.socket_file import LockFile, Running

FINDINGS = [
    ok("socket.path", "there"),
    skip("page.coverage", "too early"),
    warn("workers.seen", "1 of 2", "wait"),
    fail("socket.probe", "no answer", "restart"),
]
SUBJECT = Subject(
    "/run/c.sock",
    "/state",
    {"--source.vts": ("a", "b")},
    LockFile("/run/c.sock.lock", exists=True, holder=7, written=7),
    Running(7, "resty-metrics serve", "S", ours=True),
    Descriptors(20, 1024),
    Filter(0, frozenset({0})),
    False,
    10,
    {},
    True,
)


def test_text() -> None:
    assert as_text(FINDINGS, colour=False) == (
        "OK    socket.path    there\n"
        "SKIP  page.coverage  not known: too early\n"
        "WARN  workers.seen   1 of 2\n"
        "                     -> wait\n"
        "FAIL  socket.probe   no answer\n"
        "                     -> restart\n"
        "\n"
        "1 OK, 1 SKIP, 1 WARN, 1 FAIL\n"
    )


def test_problems_alone_have_no_summary() -> None:
    assert as_text(FINDINGS[3:], colour=False, summary=False) == (
        "FAIL  socket.probe  no answer\n                    -> restart\n"
    )
    assert as_text([], colour=False, summary=False) == ""


def test_colour_is_around_the_verdict_alone() -> None:
    assert as_text([ok("a", "b")], colour=True).startswith("\x1b[32mOK  \x1b[0m  a  b\n")


def test_nothing_that_was_seen_reaches_the_terminal_raw() -> None:
    text = as_text([fail("a", "\x1b[2J\r\nevil\udcff\u202e", "b\x07")], colour=False)
    assert text.splitlines()[:2] == ["FAIL  a  \\x1b[2J\\r evil\\xff\\u202e", "         -> b\\x07"]
    text.encode()


def test_json() -> None:
    assert json.loads(as_json(FINDINGS, SUBJECT)) == {
        "schema": 1,
        "version": __version__,
        "socket": "/run/c.sock",
        "collector": {"pid": 7, "settings": {"--source.vts": ["a", "b"]}},
        "verdict": "FAIL",
        "status": 2,
        "findings": [
            {"check": "socket.path", "verdict": "OK", "seen": "there", "remedy": None, "trouble": None},
            {
                "check": "page.coverage",
                "verdict": "SKIP",
                "seen": "not known: too early",
                "remedy": None,
                "trouble": None,
            },
            {"check": "workers.seen", "verdict": "WARN", "seen": "1 of 2", "remedy": "wait", "trouble": None},
            {"check": "socket.probe", "verdict": "FAIL", "seen": "no answer", "remedy": "restart", "trouble": None},
        ],
    }


def test_json_of_what_is_not_utf8() -> None:
    assert json.loads(as_json([ok("a", "\udcff")], SUBJECT))["findings"][0]["seen"] == "\udcff"
    as_json([ok("a", "\udcff")], SUBJECT).encode()


def test_the_worst_and_the_exit_status() -> None:
    def status(*findings: Finding) -> int:
        return EXIT_STATUS[worst(findings)]

    assert status() == 0
    assert status(FINDINGS[0], FINDINGS[1]) == 0
    assert status(FINDINGS[0], not_known("a", "b", "c")) == 1
    assert status(*FINDINGS) == 2
    assert worst(FINDINGS) is Verdict.FAIL


def test_a_password_is_left_out() -> None:
    findings = [fail("a", "http://user:secret@host/x: refused", "see https://user:secret@host/")]
    assert "secret" not in as_text(findings, colour=False)
    assert "http://***@host/x: refused" in as_text(findings, colour=False)
    subject = replace(SUBJECT, applied_flags={"--source.vts": ("http://u:secret@h/",)})
    assert "secret" not in as_json(findings, subject)

"""All checks over all facts: which of several nginx concern us, and what becomes of a check that fails itself."""

from dataclasses import replace
from typing import Any

import pytest
from resty_metrics.commands.doctor import judgement, page, socket_file
from resty_metrics.commands.doctor.descriptors import Descriptors
from resty_metrics.commands.doctor.facts import Holders, Instance, Looked, Subject
from resty_metrics.commands.doctor.finding import Finding, Verdict, not_known
from resty_metrics.commands.doctor.nginx_checks import Configured
from resty_metrics.commands.doctor.processes import ProcessFacts
from resty_metrics.commands.doctor.reach import Filter
from resty_metrics.commands.doctor.socket_file import LockFile, Probe, Running
from resty_metrics.kernel.access import Node, User
from resty_metrics.nginx_config.dump import read
from resty_metrics.process.command_line import DEFAULT_SOCKET

PATH = "/run/c.sock"
SUBJECT = Subject(
    PATH,
    "/state",
    {},
    LockFile(f"{PATH}.lock", exists=True, holder=7, written=7),
    Running(7, "resty-metrics serve", "S", ours=True),
    Descriptors(20, 1024),
    Filter(0, frozenset({0, 33})),
    False,
    10,
    {},
    True,
)
LOOKED = Looked(None, Probe("answered", "", 0.001), None, None, None, (), (), ())
HOOK = "log_by_lua_file /lua/resty/metrics/hook.lua; lua_shared_dict resty_metrics_spool 8m;"
SOCKET = 'map "" $resty_metrics_socket {{ default {}; }}'


def nginx(label: str, http: str | None, trouble: Finding | None = None) -> Instance:
    """``http`` None: its configuration is not known."""
    configured = None
    if http is not None:
        configured = Configured(read(f"# configuration file /{label}:\nhttp {{ {http} }}\n"), "/", "", {}, frozenset())
    user = User(33, 33, frozenset(), None)
    return Instance(label, 6, None, trouble, configured, (8,), (user,), None, None, (), {}, None, ())


def bad(*instances: Instance, others: tuple[ProcessFacts, ...] = ()) -> list[tuple[str, str]]:
    findings = judgement.judge(SUBJECT, replace(LOOKED, instances=instances, other_processes=others))
    found = [(one.check, str(one.verdict)) for one in findings if one.verdict in (Verdict.WARN, Verdict.FAIL)]
    return [one for one in found if one[0] != "versions"]


OURS = nginx("ours", HOOK + SOCKET.format(PATH))
UNRELATED = nginx("unrelated", "server { }")
ELSEWHERE = nginx("elsewhere", HOOK + SOCKET.format("/other.sock"))
HIDDEN = nginx("hidden", None, not_known("nginx.configuration", "another mount namespace", "nsenter"))
OTHER = ProcessFacts(9, 0, "resty-metrics serve", (), None, {}, ours=True, socket_path="/other.sock")


def test_an_nginx_that_does_not_know_us() -> None:
    assert bad(OURS) == []
    assert bad(UNRELATED) == [("nginx.include", Verdict.FAIL)]
    assert bad(OURS, UNRELATED) == []


NAME = 'map "" $resty_metrics_nginx {{ default "{}"; }}'
LIFECYCLE = "init_worker_by_lua_block {{ dofile('/l/resty/metrics/load.lua').init_worker {{ nginx = '{}' }} }}"
HEARD = """
resty_metrics_workers_seen 1
resty_metrics_workers_expected 1
resty_metrics_workers_seen{nginx="a"} 1
resty_metrics_workers_expected{nginx="a"} 3
resty_metrics_workers_seen{nginx="b"} 2
resty_metrics_workers_expected{nginx="b"} 2
"""


def test_workers_of_several_nginx_are_told_apart_by_the_names_that_they_state() -> None:
    """One runs here for each name; where two masters have one, what the page says must do."""
    a = nginx("a", HOOK + SOCKET.format(PATH) + NAME.format("a"))
    b = nginx("b", HOOK + SOCKET.format(PATH) + NAME.format("b"))
    other_b = nginx("other b", HOOK + SOCKET.format(PATH) + NAME.format("x") + LIFECYCLE.format("b"))
    late = nginx("late", HOOK + SOCKET.format(PATH) + NAME.format("late"))
    odd = nginx("odd", HOOK + SOCKET.format(PATH) + NAME.format("no name"))
    instances = (a, b, other_b, late, odd, replace(ELSEWHERE, label="c"))
    findings = judgement.judge(SUBJECT, replace(LOOKED, instances=instances, page=page.read(HEARD)))
    assert [(one.verdict, one.evidence.partition(";")[0]) for one in findings if one.check == "workers.seen"] == [
        (Verdict.OK, "1 of 1 workers report"),
        (Verdict.OK, "a: 1 of 1 workers report"),
        (Verdict.OK, "b: 2 of 2 workers report"),
        (Verdict.SKIP, "not known: late: no worker has reported"),
    ]


def test_a_cause_of_one_nginx_explains_nothing_of_another() -> None:
    shadowed = "server { log_by_lua_block { local x = 1 } }"
    a = nginx("a", HOOK + SOCKET.format(PATH) + NAME.format("a") + "server { }")
    b = nginx("b", HOOK + SOCKET.format(PATH) + NAME.format("b") + shadowed)
    held = 'resty_metrics_build_info{{version="1"}} 1\nresty_metrics_trouble{{trouble="{}",nginx="{}"}} 1\n'
    for trouble, name, expected in (
        ("coverage", "a", ["nginx.shadowed", "page.coverage"]),
        ("coverage", "b", ["nginx.shadowed"]),
        ("nothing_arrives", "a", ["page.coverage", "nginx.shadowed"]),
        ("nothing_arrives", "b", ["nginx.shadowed"]),
    ):
        shown = page.read(held.format(trouble, name))
        findings = judgement.judge(SUBJECT, replace(LOOKED, instances=(a, b), page=shown))
        problems = [one for one in findings if one.is_problem and one.check != "versions"]
        assert [one.check for one in problems] == expected
        assert (problems[0].verdict is Verdict.FAIL) == (trouble == "nothing_arrives")


@pytest.mark.parametrize(("lifecycle", "settled", "seconds", "verdict"), [
    (True, True, 60.0, Verdict.WARN), (False, True, 60.0, Verdict.OK), (True, False, 60.0, Verdict.OK),
    (True, True, 5.0, Verdict.OK), (True, True, None, Verdict.OK),
])  # fmt: skip
def test_a_worker_that_had_the_time_to_send_a_heartbeat(
    lifecycle: bool, settled: bool, seconds: float | None, verdict: Verdict
) -> None:
    """Neither nginx nor the collector has just started, and lifecycle.conf is there."""
    http = HOOK + SOCKET.format(PATH) + NAME.format("a") + (LIFECYCLE.format("a") if lifecycle else "")
    instance = replace(nginx("a", http), workers=(8, 9), settled=settled)
    assert SUBJECT.running is not None
    subject = replace(SUBJECT, running=replace(SUBJECT.running, seconds=seconds))
    heard = page.read('resty_metrics_workers_seen{nginx="a"} 1\nresty_metrics_workers_expected{nginx="a"} 2\n')
    connected = Holders(None, None, (), (ProcessFacts(8, 33, "nginx: worker process", (), None, {}),))
    looked = replace(LOOKED, instances=(instance,), page=heard, holders=connected)
    (finding,) = [one for one in judgement.judge(subject, looked) if one.check == "workers.seen"]
    assert finding.verdict is (Verdict.SKIP if finding.evidence.startswith("follows") else verdict)
    if verdict is Verdict.WARN:
        assert finding.evidence.endswith(
            "1 of 2 workers send heartbeats, and with lifecycle.conf each one does; silent: 9"
        )


def test_an_nginx_of_another_collector() -> None:
    assert bad(ELSEWHERE) == [("nginx.socket", Verdict.FAIL)]
    assert bad(OURS, ELSEWHERE) == [("nginx.socket", Verdict.FAIL)]
    assert bad(OURS, ELSEWHERE, others=(OTHER,)) == []
    assert bad(ELSEWHERE, others=(OTHER,)) == [("nginx.socket", Verdict.FAIL)]


@pytest.mark.parametrize("socket", ["/other.sock", "/stopped.sock"])
def test_where_several_collectors_run_no_nginx_is_told_to_send_to_the_default_socket(socket: str) -> None:
    """The choice is open, so its socket is right as far as we know; nor are its settings ours to judge."""
    per_request = 'map $host $resty_metrics_nginx { default "x"; }'
    instance = nginx("a", HOOK + SOCKET.format(socket) + (per_request if socket == "/other.sock" else ""))
    subject = replace(
        SUBJECT, running=None, candidates=("/other.sock", "/third.sock"), lock=LockFile("x", False, None, None)
    )
    silent = replace(LOOKED, probe=Probe("missing", "", 0.0), instances=(instance,), other_processes=(OTHER,))
    findings = judgement.judge(subject, silent)
    problems = {one.check for one in findings if one.verdict in (Verdict.WARN, Verdict.FAIL)}
    assert problems == {"collector.process"}
    (finding,) = [one for one in findings if one.check == "nginx.socket"]
    assert finding.verdict is Verdict.SKIP
    assert "follows from collector.process" in finding.evidence
    assert socket in finding.evidence


def test_an_nginx_that_cannot_be_examined() -> None:
    assert bad(HIDDEN) == [("nginx.configuration", Verdict.WARN)]
    assert bad(OURS, HIDDEN) == []
    findings = judgement.judge(SUBJECT, replace(LOOKED, instances=(OURS, HIDDEN)))
    assert [one.evidence for one in findings if one.verdict is Verdict.SKIP and one.check == "nginx.configuration"] == [
        "hidden: not known: another mount namespace"
    ]


def test_no_nginx() -> None:
    assert bad() == [("nginx.configuration", Verdict.WARN)]


def test_a_check_that_fails_becomes_a_finding_and_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    healthy = judgement.judge(SUBJECT, replace(LOOKED, instances=(OURS,)))

    def broken(*_: object) -> Finding:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(socket_file, "queue", broken)
    findings = judgement.judge(SUBJECT, replace(LOOKED, instances=(OURS,)))
    assert [one for one in findings if one not in healthy] == [
        not_known("socket.queue", "the check itself failed: ZeroDivisionError: by zero", "please report this")
    ]
    assert len(findings) == len(healthy)


WORKERS = [
    ({"workers": (8,)}, True, "OK", "1 workers run as"),
    ({"workers": ()}, True, "WARN", "master 6 runs no worker"),
    ({"workers": (), "master": None, "pid_file": "/nginx.pid"}, True, "WARN", "does not run here: /nginx.pid"),
    ({"workers": (), "master": None, "pid_file": "/nginx.pid"}, False, "WARN", "not known"),
    ({"workers": (), "master": None}, True, "WARN", "not known"),
]


@pytest.mark.parametrize(("state", "root", "verdict", "words"), WORKERS)
def test_whether_nginx_runs(state: dict[str, Any], root: bool, verdict: str, words: str) -> None:
    """Only root can tell that somebody is not there."""
    findings = judgement.judge(replace(SUBJECT, root=root), replace(LOOKED, instances=(replace(OURS, **state),)))
    (finding,) = [one for one in findings if one.check == "nginx.workers"]
    assert finding.verdict == verdict
    assert words in finding.evidence


COMMANDS = [
    (DEFAULT_SOCKET, "resty-metrics doctor --watch", "resty-metrics serve"),
    (
        "/run/c d.sock",
        "resty-metrics doctor --socket.path='/run/c d.sock' --watch",
        "resty-metrics serve --socket.path='/run/c d.sock'",
    ),
]


@pytest.mark.parametrize(("path", "watch", "serve"), COMMANDS)
def test_commands_can_be_pasted(path: str, watch: str, serve: str) -> None:
    """With a socket of one's own each command of ours names it."""
    never = replace(SUBJECT.lock, exists=False)
    subject = replace(SUBJECT, socket_path=path, running=None, lock=never)
    stranger = ProcessFacts(9, 0, "other", (), None, {})
    file = socket_file.SocketFile(path, 0o140666, 0, 0, True)
    looked = replace(LOOKED, probe=Probe("refused", "", 0.0), holders=Holders(file, None, (stranger,), ()))
    remedies = {one.check: one.remedy or "" for one in judgement.judge(subject, looked)}
    assert f"start it: {serve}" in remedies["collector.process"]
    holder = {one.check: one.remedy or "" for one in judgement.judge(replace(SUBJECT, socket_path=path), looked)}
    assert f"{watch} names the next one" in holder["socket.holder"]


def test_the_remedy_to_install_names_the_nginx_that_was_given() -> None:
    subject = replace(SUBJECT, nginx_command="nginx -c /x y.conf")
    (finding,) = [
        one for one in judgement.judge(subject, replace(LOOKED, instances=(UNRELATED,))) if one.check == "nginx.include"
    ]
    assert f"install --socket.path={PATH} --nginx.command='nginx -c /x y.conf'" in str(finding.remedy)


@pytest.mark.parametrize(
    ("unit", "ran", "remedy"),
    [
        (True, True, "start it: sudo systemctl start resty-metrics"),
        (True, False, "start it: sudo systemctl start resty-metrics"),
        (False, False, "start it: resty-metrics serve"),
        (False, True, socket_file.AGAIN),
    ],
)
def test_a_collector_is_started_by_its_unit_or_as_before(unit: bool, ran: bool, remedy: str) -> None:
    """Started by hand, it would leave files of root; with other settings, begin another journal."""
    lock = replace(SUBJECT.lock, exists=ran)
    subject = replace(SUBJECT, socket_path=DEFAULT_SOCKET, running=None, unit=unit, lock=lock)
    silent = replace(LOOKED, probe=Probe("refused", "", 0.0))
    (finding,) = [one for one in judgement.judge(subject, silent) if one.check == "collector.process"]
    assert finding.remedy == remedy


IN_ITS_PLACE = [
    ("a file", 0o100600, (), "refused", "socket.path"),
    ("an impostor's socket", 0o140600, (ProcessFacts(9, 0, "other", (), None, {}),), "no_answer", "socket.holder"),
    ("one that has ended", 0o140600, (), "refused", "socket.holder"),
]


@pytest.mark.parametrize(("name", "mode", "bound", "outcome", "check"), IN_ITS_PLACE)
def test_a_running_collector_replaces_what_is_in_the_place_of_its_socket(
    name: str, mode: int, bound: tuple[ProcessFacts, ...], outcome: socket_file.Outcome, check: str
) -> None:
    """So there is one problem, neither the mode of the other file, and no restart is needed."""
    way = (Node("/run", 0, 0, 0o40755), Node(PATH, 0, 0, mode))
    holders = Holders(socket_file.SocketFile(PATH, mode, 0, 0, True), None, bound, ())
    looked = replace(LOOKED, holders=holders, probe=Probe(outcome, "", 0.0), instances=(replace(OURS, socket_way=way),))
    findings = {one.check: one for one in judgement.judge(SUBJECT, looked)}
    problems = {name for name, one in findings.items() if one.verdict in (Verdict.WARN, Verdict.FAIL)} - {"versions"}
    assert problems == {check}
    assert socket_file.PUT_BACK in str(findings[check].remedy)
    assert findings["reach.socket"].evidence.startswith(f"follows from {check}: ")


def test_a_directory_that_is_closed_is_a_problem_beside_an_impostor() -> None:
    way = (Node("/run", 0, 0, 0o40700), Node(PATH, 0, 0, 0o140666))
    holders = Holders(socket_file.SocketFile(PATH, 0o140666, 0, 0, True), None, (), ())
    looked = replace(
        LOOKED, holders=holders, probe=Probe("refused", "", 0.0), instances=(replace(OURS, socket_way=way),)
    )
    findings = judgement.judge(SUBJECT, looked)
    assert {"socket.holder", "reach.socket"} <= {one.check for one in findings if one.verdict is Verdict.FAIL}

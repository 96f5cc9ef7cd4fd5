"""Lines of the watch, as literal text."""

import json

import pytest
from resty_metrics.commands.doctor.watch.report import Actor, Notice, Sighting, State, to_json, to_text
from resty_metrics.kernel.procfs import Parent, Process

AT = "2026-01-02T03:04:05.000006+00:00"
PATH = "/run/resty-metrics/collector.sock"
PROCESS = Process(
    pid=71,
    uid=33,
    exe="/usr/bin/python3.11",
    command=("python3", "-c", "a b"),
    parents=(Parent(70, "sh"), Parent(1, "systemd")),
    cgroup="/system.slice/scan.service",
    container=None,
    namespaces={"mnt": 5},
)
SHELL = Process(71, 33, "/bin/sh", ("sh", "x.sh"), (), None, None, {})
STATE = State("srw-rw-rw-", 33, 34)


def sighting(actor: Actor | None, *actions: str, state: State | None = STATE) -> Sighting:
    return Sighting(AT, actions, PATH, state, None, actor)


TEXTS = [
    (
        "all that can be known",
        sighting(Actor(71, PROCESS, SHELL, False, False), "deleted", "created"),
        f"{AT} {PATH}: deleted and created (now srw-rw-rw- 33:34) by pid 71, uid 33, "
        "/usr/bin/python3.11 [python3 -c 'a b'], before that /bin/sh [sh x.sh], below sh 70 < systemd 1, "
        "cgroup /system.slice/scan.service, in another mount namespace than the collector",
    ),
    (
        "the collector",
        sighting(Actor(71, PROCESS, None, True, True), "moved_here", state=None),
        f"{AT} {PATH}: moved here by the collector itself (pid 71)",
    ),
    (
        "nobody that is known",
        sighting(Actor(71, None, None, False, None), "attributes_changed", state=None),
        f"{AT} {PATH}: attributes changed by pid 71, which ended before it could be looked at",
    ),
    (
        "somebody outside",
        sighting(Actor(0, None, None, False, None), "created", state=None),
        f"{AT} {PATH}: created by a process that is outside of this pid namespace",
    ),
    ("nobody seen", sighting(None, "found"), f"{AT} {PATH}: found (now srw-rw-rw- 33:34)"),
    (
        "a program that was missed, in a container",
        sighting(Actor(71, Process(71, 0, None, (), (), "/", "3f1c", {}), None, False, True), "created", state=None),
        f"{AT} {PATH}: created by pid 71, uid 0, a program that could not be seen [], container 3f1c, "
        "in the collector's mount namespace",
    ),
    (
        "a command of ours",
        Sighting(AT, ("ended",), None, None, 256, Actor(71, SHELL, None, False, None)),
        f"{AT} resty-metrics: ended (status 1) by pid 71, uid 33, /bin/sh [sh x.sh]",
    ),
    (
        "a command of ours that was killed",
        Sighting(AT, ("ended",), None, None, 9, Actor(71, SHELL, None, False, None)),
        f"{AT} resty-metrics: ended (signal 9) by pid 71, uid 33, /bin/sh [sh x.sh]",
    ),
    (
        "a notice",
        Notice(AT, "refused", "file events: no", "CAP_SYS_ADMIN"),
        f"{AT} refused: file events: no",
    ),
]


@pytest.mark.parametrize(("report", "text"), [case[1:] for case in TEXTS], ids=[case[0] for case in TEXTS])
def test_text(report: Sighting | Notice, text: str) -> None:
    assert to_text(report) == text


def test_what_a_stranger_chose_cannot_break_a_line_or_a_terminal() -> None:
    hostile = Process(71, 0, "/tmp/\x1b[2J\n", ("\udcff\r",), (), None, None, {})
    line = to_text(sighting(Actor(71, hostile, None, False, None), "created"))
    assert line.isprintable()
    assert "\\x1b[2J\\n" in line
    data = to_json(sighting(Actor(71, hostile, None, False, None), "created"))
    assert data.isascii()
    assert data.isprintable()
    assert json.loads(data)["by"]["exe"] == hostile.exe


def test_json() -> None:
    assert json.loads(to_json(sighting(Actor(71, PROCESS, SHELL, False, False), "deleted", "created"))) == {
        "time": AT,
        "actions": ["deleted", "created"],
        "path": PATH,
        "state": {"mode": "srw-rw-rw-", "uid": 33, "gid": 34},
        "status": None,
        "by": {
            "pid": 71,
            "uid": 33,
            "exe": "/usr/bin/python3.11",
            "command": ["python3", "-c", "a b"],
            "parents": [{"pid": 70, "name": "sh"}, {"pid": 1, "name": "systemd"}],
            "cgroup": "/system.slice/scan.service",
            "container": None,
            "namespaces": {"mnt": 5},
            "ours": False,
            "before": {"exe": "/bin/sh", "command": ["sh", "x.sh"]},
            "collector": False,
            "same_mount_namespace": False,
        },
    }
    assert json.loads(to_json(Notice(AT, "lost", "file events"))) == {
        "time": AT,
        "notice": "lost",
        "text": "file events",
        "capability": None,
    }
    assert json.loads(to_json(sighting(None, "found")))["by"] is None

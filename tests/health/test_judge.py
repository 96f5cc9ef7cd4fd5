"""The judge: each fact makes its trouble and no other, a healthy system has none, and one cause makes one."""

from dataclasses import replace

import pytest
from resty_metrics.health import troubles
from resty_metrics.health.facts import Facts, Journal, NginxFacts, Recent, RefusedFile, Socket
from resty_metrics.health.judge import judge
from support.faults import FAULTS, NGINX, PATH, REFUSED, WELL, nginx, recent, socket


def names(facts: Facts) -> list[str]:
    return [trouble.kind.name for trouble in judge(facts)]


def test_each_trouble_of_the_closed_list_has_a_case() -> None:
    assert set(FAULTS) == set(troubles.BY_NAME)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fact_makes_its_trouble_and_no_other(name: str) -> None:
    (trouble,) = judge(FAULTS[name])
    assert trouble.kind.name == name
    assert trouble.evidence
    assert trouble.remedy.endswith((".", ";", "install", ")")), trouble.remedy


HEALTHY: list[tuple[str, Facts]] = [
    ("all is well", WELL),
    ("the first minutes", replace(WELL, nginx=[NginxFacts()], sources=[])),
    ("no worker ever spoke", replace(WELL, nginx=[], recent=Recent(accepted=False))),
    ("an idle nginx after a reload", nginx(coverage=None, spool_free=None)),
    ("status pages alone are asked for", nginx(uncounted=0.9)),
    ("put back a few times", recent(rebinds={"missing": 3.0})),
    ("no journal is wanted", replace(WELL, journal=Journal(None, None))),
    ("a short wait for the disk", replace(WELL, journal=Journal("/state", None, 0.9))),
]


@pytest.mark.parametrize(("name", "facts"), HEALTHY, ids=[name for name, _ in HEALTHY])
def test_a_healthy_system_has_no_trouble(name: str, facts: Facts) -> None:
    assert judge(facts) == []


SILENT = replace(NGINX, missing=2, uncounted=50.0, coverage=0.5)
UNCOUNTED = replace(NGINX, uncounted=50.0, coverage=0.5)  # by the refused, as far as is known
LATE = Recent(accepted=False, refused={"uid": 9.0}, uids=[101])
ONE_CAUSE: list[tuple[str, Facts, list[str]]] = [
    ("nobody reaches the socket", replace(FAULTS["socket_unreachable"], nginx=[SILENT]), ["socket_unreachable"]),
    ("the socket is down", replace(FAULTS["socket_down"], nginx=[SILENT]), ["socket_down"]),
    ("another collector has it", replace(FAULTS["standby"], nginx=[SILENT]), ["standby"]),
    ("every worker is refused", replace(WELL, nginx=[UNCOUNTED], recent=LATE), ["refusals"]),
    ("known workers are refused", replace(WELL, nginx=[replace(UNCOUNTED, refused=True)], recent=LATE), ["refusals"]),
    ("known workers of one nginx are refused, and another one is counted",
        replace(WELL, nginx=[NGINX, replace(UNCOUNTED, name="b", refused=True)], recent=replace(LATE, accepted=True)),
        ["refusals"]),
    ("known workers are silent, and a stranger is refused",
        replace(WELL, nginx=[replace(UNCOUNTED, refused=False)], recent=LATE), ["nothing_arrives", "refusals"]),
    ("workers hang, and others are refused",
        replace(WELL, nginx=[replace(NGINX, missing=2), replace(UNCOUNTED, name="edge")], recent=LATE),
        ["refusals", "workers_missing"]),
    ("a stranger is refused", replace(WELL, nginx=[SILENT], recent=replace(LATE, accepted=True)),
        ["nothing_arrives", "refusals", "workers_missing"]),
    ("the disk stalls", replace(nginx(uncounted=50.0), journal=Journal("/state", None, 58.0)), ["journal_stalls"]),
    ("the disk stalls for a moment, and nothing arrived for longer",
        replace(nginx(uncounted=50.0), journal=Journal("/state", None, 2.0)), ["journal_stalls", "nothing_arrives"]),
    ("put back some times, and workers hang",
        replace(nginx(missing=2, coverage=0.5), recent=Recent(rebinds={"missing": 4.0})),
        ["coverage", "socket_contended", "workers_missing"]),
    ("put back some times, and then its directory is closed",
        replace(FAULTS["socket_unreachable"], recent=Recent(accepted=False, rebinds={"missing": 4.0})),
        ["socket_contended", "socket_unreachable"]),
    ("a status page says nothing about workers", replace(nginx(missing=2), sources=[REFUSED]),
        ["source_down", "workers_missing"]),
    ("put back again and again, and nothing is counted", replace(FAULTS["socket_contended"], nginx=[SILENT]),
        ["nothing_arrives", "socket_contended"]),
    ("another nginx is gone", replace(WELL, nginx=[replace(NGINX, name="edge", missing=2)], sources=[REFUSED]),
        ["source_down", "workers_missing"]),
    ("invalid batches", recent(refused={"invalid": 2.0}, lost={"dropped": 5.0}), ["rows_lost"]),
    ("replaced again and again, and not there now", socket(up=False, contended=True), ["socket_contended"]),
    ("replaced often, and down for good", replace(socket(up=False), recent=Recent(rebinds={"mode": 9.0})),
        ["socket_down"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "facts", "expected"), ONE_CAUSE, ids=[one[0] for one in ONE_CAUSE])
def test_one_cause_makes_one_trouble(name: str, facts: Facts, expected: list[str]) -> None:
    assert sorted(names(facts)) == sorted(expected)


def test_critical_troubles_come_first() -> None:
    facts = replace(nginx(coverage=0.5), recent=Recent(lost={"type": 1.0}), misconfigured=[RefusedFile("/etc/web.yml")])
    assert names(facts) == ["rows_lost", "coverage", "config_refused"]


def test_what_is_put_back_often_is_a_trouble_without_being_contended_now() -> None:
    (trouble,) = judge(recent(rebinds={"missing": 3.0, "mode": 1.0}))
    assert trouble.evidence == f"{PATH} was put back 4 times in ten minutes (missing 3, mode 1); nothing was lost"


def test_each_nginx_is_judged_by_itself() -> None:
    facts = replace(WELL, nginx=[NGINX, replace(NGINX, name="edge", coverage=0.5)])
    (trouble,) = judge(facts)
    assert (trouble.nginx, trouble.title) == ("edge", "Some requests of nginx edge are not counted")


def test_evidence_names_what_fills_a_family() -> None:
    (trouble,) = judge(FAULTS["overflow"])
    assert "http_requests 7; path of http_requests has 900 values" in trouble.evidence


def test_evidence_says_for_how_long_nothing_arrived() -> None:
    (trouble,) = judge(nginx(uncounted=50.0, uncounted_seconds=25.0))
    assert trouble.evidence == "nginx itself counts 50 requests/s, and no request arrived here for 25 seconds"


def test_a_refusal_names_the_user() -> None:
    (trouble,) = judge(FAULTS["refusals"])
    assert trouble.evidence == "refused lately: 3 datagrams of uid 101"
    assert "--socket.allow-uid=101" in trouble.remedy
    assert "socket.allow_uid" in trouble.remedy
    (named,) = judge(recent(refused={"uid": 1.0, "version": 2.0}, uids=[1, 101], names={1: "daemon"}))
    assert named.evidence == "refused lately: 2 datagrams (version), 1 datagram of daemon (uid 1), uid 101"


FILES = [
    (RefusedFile("/etc/x y.yml"), ["Correct '/etc/x y.yml'", "check-config '/etc/x y.yml'", "kill -HUP 7."]),
    (RefusedFile("/w.yml", web=True, watched=True), ["check-config --web.config.file=/w.yml", "again by itself"]),
    (RefusedFile("/w.yml", web=True), ["check-config --web.config.file=/w.yml", "kill -HUP 7"]),
    (RefusedFile(""), ["kill -HUP 7"]),
]


@pytest.mark.parametrize(("file", "words"), FILES)
def test_a_refused_file_is_named_with_the_commands(file: RefusedFile, words: list[str]) -> None:
    (trouble,) = judge(replace(WELL, misconfigured=[file], pid=7))
    assert trouble.evidence.startswith(f"refused: {file.path or 'the environment'};")
    for part in words:
        assert part in trouble.remedy


def test_a_socket_with_a_mode_that_keeps_workers_out() -> None:
    obstacle = FAULTS["socket_unreachable"].socket.obstacle
    assert obstacle is not None
    here = replace(obstacle, node=replace(obstacle.node, path=PATH))
    assert "--socket.mode=0666" in judge(socket(obstacle=here))[0].remedy
    assert "chmod o+x /run/resty-metrics" in judge(socket(obstacle=obstacle))[0].remedy
    home = replace(obstacle, node=replace(obstacle.node, path="/root"))
    assert "chmod" not in judge(socket(obstacle=home))[0].remedy


def test_the_socket_of_the_facts_is_well_by_default() -> None:
    assert judge(Facts(Socket(PATH))) == []

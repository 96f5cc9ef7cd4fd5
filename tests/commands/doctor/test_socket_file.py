"""The path, the lock, the collector's process, the probe, the queue."""

import stat
from typing import get_args

import pytest
from resty_metrics.commands.doctor import socket_file
from resty_metrics.commands.doctor.finding import Verdict
from resty_metrics.commands.doctor.socket_file import LockFile, Outcome, Probe, Running, SocketFile

PATH = "/run/c.sock"
LIVING = Running(7, "resty-metrics serve", "S", ours=True)


def at(mode: int, datagram: bool | None = True) -> SocketFile:
    return SocketFile(PATH, mode | 0o666, 0, 0, datagram)


PATHS = [
    ("a datagram socket", at(stat.S_IFSOCK), None, "OK", "datagram socket, mode 0666"),
    ("a socket that nobody holds", at(stat.S_IFSOCK, None), None, "OK", "is a socket, mode"),
    ("a stream socket", at(stat.S_IFSOCK, False), None, "FAIL", "another type"),
    ("a file", at(stat.S_IFREG), None, "FAIL", "a regular file"),
    ("a directory", at(stat.S_IFDIR), None, "FAIL", "a directory"),
    ("a link", at(stat.S_IFLNK), None, "FAIL", "a symbolic link"),
    ("nothing", None, None, "FAIL", "does not exist"),
    ("forbidden", None, "Permission denied", "WARN", "not known: /run/c.sock: Permission denied"),
]


@pytest.mark.parametrize(("name", "found", "error", "verdict", "words"), PATHS, ids=[one[0] for one in PATHS])
def test_the_path(name: str, found: SocketFile | None, error: str | None, verdict: str, words: str) -> None:
    finding = socket_file.path(PATH, found, error)
    assert (finding.check, finding.verdict) == ("socket.path", verdict)
    assert words in finding.evidence


def test_a_directory_is_not_renamed_over() -> None:
    remedy = socket_file.path(PATH, at(stat.S_IFDIR), None).remedy
    assert remedy is not None
    assert "remove it" in remedy
    assert "renames" not in remedy


def lock(exists: bool = True, holder: int | None = None) -> LockFile:
    return LockFile(f"{PATH}.lock", exists, holder, 7)


LOCKS = [
    ("held", lock(holder=7), LIVING, True, "OK"),
    ("never made", lock(exists=False), None, False, "FAIL"),
    ("let go", lock(), None, False, "FAIL"),
    ("of a directory that was made anew", lock(), LIVING, True, "WARN"),
    ("of another pid namespace", lock(), None, True, "WARN"),
]


@pytest.mark.parametrize(("name", "found", "running", "answered", "verdict"), LOCKS, ids=[one[0] for one in LOCKS])
def test_the_lock(name: str, found: LockFile, running: Running | None, answered: bool, verdict: str) -> None:
    assert socket_file.lock(found, running, answered).verdict == verdict


PROCESSES = [
    ("lives", LIVING, False, "OK", "process 7: resty-metrics serve"),
    ("is stopped", Running(7, "x", "T", ours=True), False, "FAIL", "is stopped"),
    ("is a zombie", Running(7, "x", "Z", ours=True), False, "FAIL", "has ended"),
    ("is somebody else", Running(7, "sleep", "S", ours=False), False, "FAIL", "is no collector"),
    ("none", None, False, "FAIL", "no collector is found"),
    ("invisible", None, True, "WARN", "not known"),
]


@pytest.mark.parametrize(
    ("name", "running", "answered", "verdict", "words"), PROCESSES, ids=[one[0] for one in PROCESSES]
)
def test_the_process(name: str, running: Running | None, answered: bool, verdict: str, words: str) -> None:
    finding = socket_file.collector(running, answered)
    assert finding.verdict == verdict
    assert words in finding.evidence


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_each_outcome_of_a_probe_is_judged(outcome: Outcome) -> None:
    finding = socket_file.probe(Probe(outcome, "detail", 0.002))
    expected = {"answered": Verdict.OK, "denied": Verdict.WARN}.get(outcome, Verdict.FAIL)
    assert (finding.check, finding.verdict) == ("socket.probe", expected)
    assert (finding.remedy is None) is (expected is Verdict.OK)


QUEUES = [
    (10, None, 4, "OK"),
    (9, None, 1, "WARN"),
    (10, None, 64, "WARN"),
    (16, None, 64, "OK"),
    (None, None, 1, "WARN"),
    (10, 77, 1, "WARN"),
]


@pytest.mark.parametrize(("length", "foreign", "workers", "verdict"), QUEUES)
def test_the_queue(length: int | None, foreign: int | None, workers: int, verdict: str) -> None:
    assert socket_file.queue(length, foreign, workers).verdict == verdict

"""The incident that this project exists for, and its relatives: what may be executed or bound beside the collector."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import impostors
from support.collector import COMMAND, Collector
from support.stage import KEEPS_TOUCHING, OVERDUE_SECONDS, SLOW_HEALS_SECONDS, Stage
from support.wait import wait_until
from support.watch import Seen, Watch, refused

LOCKED = 3
REFUSED = refused()


def inode(path: Path) -> int:
    return path.stat().st_ino


@dataclass(frozen=True, slots=True)
class Done:
    """A process from begin to end."""

    pid: int
    status: int
    output: str
    errors: str


def run(*words: str) -> Done:
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        output, errors = process.communicate(timeout=60)
        return Done(process.pid, process.returncode, output, errors)


@contextmanager
def watching(stage: Stage) -> Iterator[Watch | None]:
    """``doctor --watch`` beside a scenario; None where this kernel, or this container, lets nobody see enough."""
    if REFUSED:
        yield None
        return
    with Watch(stage.path) as watch:
        yield watch


def names(watch: Watch, path: Path, pid: int) -> None:
    """It tells that this Python of ours took the socket away and put its own there, and who is behind it."""
    for action in ("deleted", "created"):
        who = watch.act(path, action, pid=pid)["by"]
        assert who["exe"] == str(Path(sys.executable).resolve())
        assert who["command"][:2] == [sys.executable, "-c"]
        assert who["parents"][0]["pid"] == os.getpid()
        assert (who["collector"], who["same_mount_namespace"]) == (False, True)


def names_command(watch: Watch, pid: int, *arguments: str) -> None:
    """It tells that our command was executed by this process, or by a child of it, with these arguments."""

    def by_it(one: Seen) -> bool:
        who = one["by"] if one.get("path") is None and "executed" in one.get("actions", ()) else None
        return who is not None and pid in (who["pid"], *(parent["pid"] for parent in who["parents"]))

    who = watch.wait_for(by_it)["by"]
    assert who["exe"] == str(Path(sys.executable).resolve())
    assert who["command"][1:] == [COMMAND, *arguments]
    assert os.getpid() in [parent["pid"] for parent in who["parents"]]
    assert (who["collector"], who["same_mount_namespace"]) == (False, True)


def test_the_command_is_executed_with_a_version_flag(stage: Stage) -> None:
    """As the scanner did: also from a pid namespace of its own, inside the collector's mount namespace."""
    made = inode(stage.path)
    inside = ("nsenter", f"--mount=/proc/{stage.collector.pid}/ns/mnt", "unshare", "--pid", "--fork")
    with stage.load(), watching(stage) as watch:
        for number in range(stage.times(10, 100)):
            done = run(*(inside if number % 2 else ()), COMMAND, "-V")
            assert (done.status, done.errors) == (0, "")
            assert done.output.startswith("resty-metrics ")
            if watch is not None:
                names_command(watch, done.pid, "-V")
        assert inode(stage.path) == made
        stage.heals()
        stage.flows()
        stage.doctor_finds_only()
        if watch is not None:
            assert not [one for one in watch.seen if one.get("path")], "a file was touched"
    stage.conserved()
    assert stage.rebinds("replaced") == stage.rebinds("missing") == 0
    assert not stage.sampler.saw("resty_metrics_socket_up", 0)


def test_a_second_serve_on_the_same_path(stage: Stage) -> None:
    made = inode(stage.path)
    arguments = ["serve", f"--socket.path={stage.path}", f"--state.dir={stage.directory}/state"]
    with stage.load(), watching(stage) as watch:
        for number in range(stage.times(3, 20)):
            more = ["--state.dir=/nonexistent/other"] if number % 2 else []
            done = run(COMMAND, *arguments, *more)
            assert done.status == LOCKED, done.errors
            assert str(stage.collector.pid) in done.errors
            if watch is not None:
                names_command(watch, done.pid, *arguments, *more)
                assert watch.command("ended", done.pid)["status"] == LOCKED << 8
        assert inode(stage.path) == made
        stage.heals()
        stage.flows()
        stage.doctor_finds_only()
    stage.conserved()
    assert not stage.sampler.saw("resty_metrics_socket_up", 0)


def test_a_program_takes_the_path_and_exits(stage: Stage) -> None:
    with stage.load(), watching(stage) as watch:
        culprit = impostors.taken(stage.path)
        stage.heals()
        if watch is not None:
            names(watch, stage.path, culprit)
        assert stage.rebinds("replaced") == 1
        stage.flows()
        assert "replaced 1" in stage.doctor_finds_only().seen("page.rebinds", "OK")
    stage.conserved()


def test_a_program_takes_the_path_and_swallows_what_comes(stage: Stage) -> None:
    """The collector takes the path back at once; workers born meanwhile may talk to the impostor for a while."""
    with stage.load(), impostors.swallows(stage.path) as impostor:
        stage.nginx.reload()
        stage.heals()  # though the cause is still there
        stage.flows(OVERDUE_SECONDS)
        wait_until(lambda: f"pid={impostor.pid}" in stage.collector.log(), message="the impostor's name")
        stage.doctor("page.rebinds", "OK", "replaced")
        stage.handles(5000)
        stage.flows()
    stage.conserved()


def test_workers_are_born_while_an_impostor_has_the_path(stage: Stage) -> None:
    """The collector is stopped, so that the impostor has the path for sure; then it goes on."""
    with stage.load(), stage.sampler.away():
        stage.collector.signal(signal.SIGSTOP)
        with impostors.swallows(stage.path) as impostor:
            stage.nginx.reload()
            stage.handles(stage.times(20_000, 100_000))
            stage.doctor("socket.holder", "FAIL", str(impostor.pid))
            stage.collector.signal(signal.SIGCONT)
            stage.heals(SLOW_HEALS_SECONDS)
            stage.flows(SLOW_HEALS_SECONDS + OVERDUE_SECONDS)
    stage.conserved()


def test_a_program_comes_back_each_second(stage: Stage) -> None:
    with stage.load():
        with watching(stage) as watch, impostors.returns(stage.path) as impostor:
            stage.measure("contended", lambda: contended(stage.collector) == 1, SLOW_HEALS_SECONDS)
            (said,) = stage.degraded(KEEPS_TOUCHING)
            assert f"resty-metrics doctor --watch --socket.path={stage.path}" in said
            found = stage.diagnosis()  # the impostor is the cause, where it is there at that moment
            verdict = "SKIP" if "socket.holder" in found.verdicts("FAIL") else "WARN"
            assert "keeps removing or replacing the socket" in found.seen("page.socket", verdict)
            if watch is not None:
                names(watch, stage.path, impostor.pid)
                wait_until(
                    lambda: len(watch.acts(stage.path, "created", pid=impostor.pid)) >= 3, message="it comes back"
                )
            stage.nginx.reload()
            stage.handles(stage.times(40_000, 200_000))
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows(SLOW_HEALS_SECONDS + OVERDUE_SECONDS)
        assert stage.rebinds("replaced") >= 2
        assert stage.sampler.saw("resty_metrics_socket_up", 0)
    stage.conserved()
    wait_until(lambda: contended(stage.collector) == 0, 40, "peace")
    assert stage.degraded(KEEPS_TOUCHING), "what was put back so often is a trouble for ten minutes"


def contended(collector: Collector) -> float | None:
    return collector.value("resty_metrics_socket_contended")


def test_another_collector_has_the_lock_of_a_new_directory(stage: Stage, shared: Path) -> None:
    """The directory is made anew while the collector is stopped, and another starts there: ours stands by, and takes
    the path again when the other has gone. What each was acked is on its own page."""
    with stage.load():
        with stage.sampler.away():
            stage.collector.signal(signal.SIGSTOP)
            stage.path.rename(stage.path.with_name("old"))
            stage.path.with_name("collector.sock.lock").unlink()
            with Collector(stage.path, f"--state.dir={shared}/other") as other:
                wait_until(lambda: other.request_counts().total() > 1000, message="requests on the other's page")
                stage.collector.signal(signal.SIGCONT)
                wait_until(lambda: stage.collector.value("resty_metrics_socket_standby") == 1, message="the stand-by")
                assert stage.degraded("standing by")
                assert stage.collector.value("resty_metrics_socket_up") == 0
                stage.doctor("processes", "WARN", str(stage.collector.pid))
                stage.handles(10_000)
                other.terminate()
                theirs = other_total(other)
        stage.heals(SLOW_HEALS_SECONDS)
        stage.handles(10_000)
    wait_until(lambda: stage.collector.request_counts().total() + theirs >= stage.truth.total(), message="an end")
    assert stage.collector.request_counts().total() + theirs == stage.truth.total()


def other_total(collector: Collector) -> int:
    """What a collector had on its page when it ended, by its last line of log."""
    return int(collector.log().rpartition("msg=stopped requests=")[2].split()[0])

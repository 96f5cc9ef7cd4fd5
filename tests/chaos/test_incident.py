"""The incident that this project exists for, and its relatives: what may be executed or bound beside the collector."""

import signal
import subprocess
from pathlib import Path

from support import impostors
from support.collector import COMMAND, Collector
from support.stage import OVERDUE_SECONDS, SLOW_HEALS_SECONDS, Stage
from support.wait import wait_until

LOCKED = 3


def inode(path: Path) -> int:
    return path.stat().st_ino


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_is_executed_with_a_version_flag(stage: Stage) -> None:
    """As the scanner did: also from a pid namespace of its own, inside the collector's mount namespace."""
    made = inode(stage.path)
    inside = ("nsenter", f"--mount=/proc/{stage.collector.pid}/ns/mnt", "unshare", "--pid", "--fork")
    with stage.load():
        for number in range(stage.times(10, 100)):
            done = run(*(inside if number % 2 else ()), COMMAND, "-V")
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith("resty-metrics ")
        assert inode(stage.path) == made
        stage.heals()
        stage.flows()
    stage.conserved()
    assert stage.rebinds("replaced") == stage.rebinds("missing") == 0
    assert not stage.sampler.saw("resty_metrics_socket_up", 0)


def test_a_second_serve_on_the_same_path(stage: Stage) -> None:
    made = inode(stage.path)
    words = [COMMAND, "serve", f"--socket.path={stage.path}", f"--state.dir={stage.directory}/state"]
    with stage.load():
        for number in range(stage.times(3, 20)):
            done = run(*words, *(["--state.dir=/nonexistent/other"] if number % 2 else []))
            assert done.returncode == LOCKED, done.stderr
            assert str(stage.collector.pid) in done.stderr
        assert inode(stage.path) == made
        stage.heals()
        stage.flows()
    stage.conserved()
    assert not stage.sampler.saw("resty_metrics_socket_up", 0)


def test_a_program_takes_the_path_and_exits(stage: Stage) -> None:
    with stage.load():
        impostors.exits(stage.path)
        stage.heals()
        assert stage.rebinds("replaced") == 1
        stage.doctor("page.rebinds", "WARN", "replaced")
        stage.flows()
    stage.conserved()


def test_a_program_takes_the_path_and_swallows_what_comes(stage: Stage) -> None:
    """The collector takes the path back at once; workers born meanwhile may talk to the impostor for a while."""
    with stage.load(), impostors.swallows(stage.path) as impostor:
        stage.nginx.reload()
        stage.heals()  # though the cause is still there
        stage.flows(OVERDUE_SECONDS)
        wait_until(lambda: f"pid={impostor.pid}" in stage.collector.log(), message="the impostor's name")
        stage.doctor("page.rebinds", "WARN", "replaced")
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
        with impostors.returns(stage.path):
            stage.measure("contended", lambda: contended(stage.collector) == 1, SLOW_HEALS_SECONDS)
            assert stage.degraded("keeps touching")
            stage.doctor("page.socket", "FAIL", "again and again")
            stage.nginx.reload()
            stage.handles(stage.times(40_000, 200_000))
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows(SLOW_HEALS_SECONDS + OVERDUE_SECONDS)
        assert stage.rebinds("replaced") >= 2
        assert stage.sampler.saw("resty_metrics_socket_up", 0)
    stage.conserved()
    wait_until(lambda: contended(stage.collector) == 0, 40, "peace")
    assert not stage.degraded("keeps touching")


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
    return int(collector.log().rpartition("msg=ended requests=")[2].split()[0])

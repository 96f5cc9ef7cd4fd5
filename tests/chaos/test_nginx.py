"""nginx under load is reloaded, ended, upgraded and killed; the collector is there all the while."""

import os
import signal
import time
from collections import Counter

from support.nginx import Counts, count_lines
from support.stage import SLOW_HEALS_SECONDS, Stage
from support.wait import wait_until

UNACKED_SECONDS = 3.0  # a flush each second, and its ack within a few


def test_reloads(stage: Stage) -> None:
    with stage.load():
        for _ in range(stage.times(10, 50)):
            stage.nginx.reload()
            stage.handles(1000)
        stage.flows()
        stage.doctor_finds_only()
    stage.conserved()


def test_quit_and_start(stage: Stage) -> None:
    with stage.load():
        for number in range(stage.times(2, 10)):
            stage.nginx.quit()
            if number == 0:
                stage.doctor("nginx.workers", "WARN", "nginx does not run here")
            stage.nginx.start()
            stage.handles(5000)
            stage.flows()
        stage.doctor_finds_only()
    stage.conserved()


def test_sigterm_and_start(stage: Stage) -> None:
    with stage.load():
        for number in range(stage.times(2, 10)):
            stage.nginx.terminate()
            if number == 0:
                stage.doctor("nginx.workers", "WARN", "nginx does not run here")
            stage.nginx.start()
            stage.handles(5000)
            stage.flows()
        stage.doctor_finds_only()
    stage.conserved()


def test_binary_upgrades(stage: Stage) -> None:
    with stage.load():
        for _ in range(stage.times(2, 10)):
            old = stage.nginx.upgrade()
            stage.handles(5000)
            stage.nginx.wait_gone(old, 40)
            stage.flows()
        stage.doctor_finds_only()
    stage.conserved()


def test_reloads_while_the_collector_is_away(stage: Stage) -> None:
    """What the old workers could not deliver is in the spool, and the new ones deliver it."""
    with stage.load():
        with stage.sampler.away():
            stage.collector.kill()
            for _ in range(stage.times(5, 20)):
                stage.nginx.reload()
                stage.handles(3000)
            stage.doctor("collector.process", "FAIL", "no collector")
            stage.collector.start()
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows(2 * SLOW_HEALS_SECONDS)
        stage.doctor_finds_only()
    stage.conserved(60)


def test_quit_and_start_while_the_collector_is_away(stage: Stage) -> None:
    """The spool goes with nginx: what was counted since the collector went is lost, and nothing else."""
    with stage.load():
        stage.handles(5000)
    known = stage.conserved()
    with stage.sampler.away():
        stage.collector.kill()
        with stage.load():
            stage.handles(5000)
        stage.nginx.quit()
        lost = stage.truth.counts() - known
        stage.nginx.start()
        stage.collector.start()
    with stage.load():
        stage.heals(SLOW_HEALS_SECONDS)
        stage.handles(5000)
    wait_until(lambda: stage.collector.request_counts() == stage.truth.counts() - lost, 30, "all but what was lost")
    stage.result.waits.append(("requests lost", lost.total()))
    assert lost.total() > 5000


def test_kill_9_of_a_worker(stage: Stage) -> None:
    """The loss is at most what it had not had acknowledged, and is measured."""
    possible: Counts = Counter()
    with stage.load():
        for _ in range(stage.times(3, 20)):
            stage.handles(8000)
            victim = stage.nginx.worker_pids()[0]
            os.kill(victim, signal.SIGKILL)
            killed = time.time()
            wait_until(lambda: len(stage.nginx.worker_pids()) == 2, message="a new worker")
            possible += of_worker(stage, victim, killed - UNACKED_SECONDS)
        died = stage.doctor_finds_only("workers.died").seen("workers.died", "WARN")
        assert f"{victim} on signal 9 (SIGKILL)" in died
    wait_until(lambda: not too_much_lost(stage, possible), 30, "all but what the dead worker held")
    lost = stage.truth.counts() - stage.collector.request_counts()
    stage.result.waits.append((f"requests lost, of {possible.total()} possible,", lost.total()))
    assert lost.total() > 0, "nothing was lost: then it was no kill -9 under load"


def of_worker(stage: Stage, pid: int, since: float) -> Counts:
    """What a worker logged since then."""
    lines = (line for line in stage.nginx.access_lines() if line[7] == str(pid) and float(line[6]) >= since)
    return count_lines(lines)


def too_much_lost(stage: Stage, possible: Counts) -> Counts:
    return stage.truth.counts() - stage.collector.request_counts() - possible

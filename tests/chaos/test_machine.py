"""The machine under the collector: a disk that is full, read-only or slow, a clock that jumps, no descriptor left.

The wall clock is that of libfaketime, for the collector and for nginx: the machine's own is not the test's to set.
"""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import disks
from support.clock import Clock
from support.collector import Collector
from support.stage import HEALS_SECONDS, OVERDUE_SECONDS, SLOW_HEALS_SECONDS, Stage, opened
from support.stalls import stalled
from support.wait import wait_until

STALL_SECONDS = 2.0
UNACKED_SECONDS = 3.0


def journal_up(collector: Collector) -> float | None:
    return collector.value("resty_metrics_journal_up")


def restarted(stage: Stage) -> None:
    with stage.sampler.away():
        stage.collector.kill()
        stage.collector.start()


def degrades(stage: Stage, reason: str) -> None:
    stage.measure("degrades", lambda: bool(stage.degraded(f"({reason})")), HEALS_SECONDS)
    assert journal_up(stage.collector) == 0
    stage.doctor("journal", "WARN", reason)
    stage.handles(stage.times(10_000, 100_000))
    stage.flows(0)
    stage.heals()
    assert stage.sampler.saw("resty_metrics_journal_up", 0)


def is_written_again(stage: Stage) -> None:
    stage.measure("journal up", lambda: journal_up(stage.collector) == 1, HEALS_SECONDS)
    wait_until(lambda: not stage.degraded("journal"), message="readiness without a word")
    stage.flows(0)
    restarted(stage)
    stage.heals(SLOW_HEALS_SECONDS)
    stage.flows()


def test_the_disk_is_full_and_has_room_again(request: pytest.FixtureRequest, shared: Path, long: bool) -> None:
    with disks.Full(shared / "state") as disk, opened(request.node.name, shared, long) as stage:
        with stage.load():
            for _ in range(stage.times(2, 5)):
                disk.fail()
                degrades(stage, "full")
                disk.back()
                is_written_again(stage)
            stage.doctor_finds_only()
        stage.conserved()


def test_the_disk_becomes_read_only_and_is_whole_again(
    request: pytest.FixtureRequest, shared: Path, long: bool
) -> None:
    with disks.Failing(shared / "state") as disk, opened(request.node.name, shared, long) as stage:
        with stage.load():
            disk.fail()
            degrades(stage, "read_only")
            disk.back()
            is_written_again(stage)
            stage.doctor_finds_only()
        stage.conserved()


@pytest.mark.parametrize("reason", ["full", "read_only"])
def test_kill_9_while_nothing_can_be_written(
    request: pytest.FixtureRequest, shared: Path, long: bool, reason: str
) -> None:
    """What was in memory only is lost, and the page begins again: never at what the journal had before."""
    disk = disks.Full(shared / "state") if reason == "full" else disks.Failing(shared / "state")
    with disk, opened(request.node.name, shared, long) as stage:
        with stage.load():
            stage.handles(10_000)
            disk.fail()
            degrades(stage, reason)
        known = stage.conserved()
        with stage.sampler.away():
            stage.collector.kill()
            stage.sampler.forget()
            stage.doctor("collector.process", "FAIL", "no collector")
            stage.collector.start()
            assert not stage.collector.request_counts()
        stage.doctor("journal", "WARN", reason)
        with stage.load():
            stage.heals(SLOW_HEALS_SECONDS)
            stage.handles(10_000)
        wait_until(lambda: stage.collector.request_counts() == stage.truth.counts() - known, 30, "what came since")


def test_writes_stall(stage: Stage) -> None:
    """Another process holds the database: nothing is acknowledged, nothing is lost, and scrapes go on."""
    with stage.load():
        for _ in range(stage.times(2, 10)):
            pages = stage.sampler.pages
            with stalled(stage.directory / "state"):
                doctor_sees_it_stall(stage)  # the fault is a length of time
                assert stage.sampler.pages > pages + 1, "no scrape got through"
            stage.heals()
            stage.flows(HEALS_SECONDS)
        stage.doctor_finds_only()
    stage.conserved()
    stage.result.waits.append(("slowest scrape", stage.sampler.slowest))
    assert stage.sampler.slowest < STALL_SECONDS


def test_nginx_ends_while_writes_stall(stage: Stage) -> None:
    """What its workers sent is taken in, though nobody can tell them so in time."""
    with stage.load():
        for end in [stage.nginx.terminate, stage.nginx.quit] * stage.times(1, 5):
            stage.flows(HEALS_SECONDS)
            with stalled(stage.directory / "state"):
                stage.handles(5000)
                end()
                stage.nginx.start()
                doctor_sees_it_stall(stage)
            stage.flows(OVERDUE_SECONDS)
    stage.conserved()


def doctor_sees_it_stall(stage: Stage) -> None:
    """It takes STALL_SECONDS at least."""
    wait_until(lambda: waits(stage.collector) >= STALL_SECONDS, message="a record that waits so long")
    stage.doctor("journal", "WARN", "has not finished for seconds")


def waits(collector: Collector) -> float:
    return collector.value("resty_metrics_journal_pending_seconds") or 0


def probes(collector: Collector) -> float:
    return collector.value("resty_metrics_datagrams_total", result="probe") or 0


def test_no_descriptor_is_left(stage: Stage) -> None:
    """Nothing can be answered and nobody can scrape; what comes counts all the same, and is acknowledged later."""
    with stage.load():
        with stage.sampler.away(), without_descriptors(stage.collector):
            found = stage.doctor("collector.descriptors", "FAIL", "none is left")
            assert f"prlimit --pid {stage.collector.pid}" in found.seen("collector.descriptors", "FAIL")
            assert "follows from collector.descriptors: http" in found.seen("page.answers", "SKIP")
            stage.handles(stage.times(30_000, 200_000))
        stage.heals()
        stage.flows()
        before = probes(stage.collector)
        wait_until(lambda: probes(stage.collector) > before + 1, message="a probe after another")
        stage.doctor_finds_only()
    stage.conserved()
    assert (stage.collector.value("resty_metrics_datagrams_without_descriptor_total") or 0) > 0


@contextlib.contextmanager
def without_descriptors(collector: Collector) -> Iterator[None]:
    soft, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_the_clock_is_set_back_and_forward(request: pytest.FixtureRequest, shared: Path, long: bool) -> None:
    clock = Clock(shared / "clock", monotonic=False)
    with opened(request.node.name, shared, long, clock.environment) as stage:
        with stage.load():
            for offset in ["-1d", "+3d", "-400d", "+0"] * stage.times(1, 3):
                clock.set(offset)
                stage.handles(5000)
                stage.nginx.reload()  # workers born in another time
                stage.flows(0)
                restarted(stage)
                stage.heals(SLOW_HEALS_SECONDS)
                stage.flows()
                stage.doctor_finds_only()
        stage.conserved()

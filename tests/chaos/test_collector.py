"""The collector dies, hangs, ends, and a real Prometheus looks on: its counters never go backward."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.nginx import Counts
from support.prometheus import Prometheus
from support.stage import SLOW_HEALS_SECONDS, Stage
from support.wait import wait_until

RESPONSES = "nginx_http_responses_total"
Key = tuple[str, str, str]


def shown(prometheus: Prometheus) -> Counts:
    found = prometheus.query(RESPONSES)
    return Counter({(m["server"], m["method"], m["status"]): int(value) for m, value in found})


def histories(prometheus: Prometheus, since: float) -> dict[Key, list[float]]:
    seconds = int(time.time() - since) + 1
    found = prometheus.history(f"{RESPONSES}[{seconds}s]")
    return {(m["server"], m["method"], m["status"]): [v for t, v in values if t >= since] for m, values in found}


@contextmanager
def watched(stage: Stage, shared: Path) -> Iterator[Prometheus]:
    """Every row is there before; at the end last - first raw sample is what nginx logged meanwhile, row by row."""
    with stage.load():
        stage.handles(3000)
    before = stage.conserved()
    with Prometheus(shared, stage.collector.port) as prometheus:
        wait_until(lambda: shown(prometheus) == before, 30, "all rows in Prometheus")
        since = time.time() - 0.5
        yield prometheus
        after = stage.conserved()
        wait_until(lambda: shown(prometheus) == after, 30, "the last values in Prometheus")
        rows = histories(prometheus, since)
        for key, values in rows.items():
            assert values == sorted(values), f"{key} went backward: {values}"
        assert {key: values[-1] - values[0] for key, values in rows.items()} == {
            key: after[key] - before[key] for key in after
        }


def killed(stage: Stage) -> None:
    stage.collector.kill()


def ended(stage: Stage) -> None:
    assert stage.collector.terminate() == 0


def killed_and_started(stage: Stage) -> None:
    stage.collector.kill()
    stage.collector.start()


def again_and_again(stage: Stage, shared: Path, end: Callable[[Stage], None], times: int) -> None:
    with watched(stage, shared), stage.load():
        for number in range(times):
            with stage.sampler.away():
                end(stage)
                if number == 0:
                    doctor_misses_it(stage)
                stage.collector.start()
            stage.heals(SLOW_HEALS_SECONDS)
            stage.flows()
        stage.doctor_finds_only()


def doctor_misses_it(stage: Stage) -> None:
    """The cause, and what comes of it."""
    found = stage.doctor("collector.process", "FAIL", "no collector")
    assert "no process holds" in found.seen("socket.lock", "SKIP")
    assert "no process receives" in found.seen("socket.probe", "SKIP")
    assert "start it as it was started before, with its own --config.file" in found.seen("collector.process", "FAIL")


def test_kill_9(stage: Stage, shared: Path) -> None:
    again_and_again(stage, shared, killed, stage.times(5, 20))
    assert stage.collector.value("resty_metrics_lost_state_total") == 0


def test_kill_9_at_any_moment(stage: Stage, shared: Path) -> None:
    """Not waiting for it to be well: killed as soon as it is ready, or has answered one page."""
    with watched(stage, shared), stage.load():
        with stage.sampler.away():
            for number in range(stage.times(5, 20)):
                killed_and_started(stage)
                if number % 2:
                    stage.handles(500 * number)
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows()
        stage.doctor_finds_only()


def test_sigterm(stage: Stage, shared: Path) -> None:
    again_and_again(stage, shared, ended, stage.times(3, 10))


def test_it_hangs_for_fifteen_seconds_and_is_killed(stage: Stage, shared: Path) -> None:
    with watched(stage, shared), stage.load():
        with stage.sampler.away():
            stage.collector.signal(signal.SIGSTOP)
            stage.doctor("collector.process", "FAIL", "is stopped")
            time.sleep(15)  # the scenario is a length of time
            killed_and_started(stage)
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows()
        stage.doctor_finds_only()


def test_it_is_away_for_long(stage: Stage) -> None:
    """Long enough for every worker to have backed off as far as it does."""
    with stage.load():
        with stage.sampler.away():
            stage.collector.kill()
            doctor_misses_it(stage)
            time.sleep(stage.times(12, 60))
            stage.collector.start()
        stage.heals(SLOW_HEALS_SECONDS)
        stage.flows()
        stage.doctor_finds_only()
    stage.conserved()

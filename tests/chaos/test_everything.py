"""Faults in any order, one upon the other, not waiting for the last one to heal. The seed is in the test's name."""

import random
import signal
import time
from collections.abc import Callable

import pytest
from support import impostors
from support.stage import OVERDUE_SECONDS, SLOW_HEALS_SECONDS, Stage

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 21))]
STEPS = 12
FAULTS_OF_THE_PATH = ("missing", "replaced")


def collector_killed(stage: Stage) -> None:
    stage.collector.kill()
    stage.collector.start()


def collector_ended(stage: Stage) -> None:
    assert stage.collector.terminate() == 0
    stage.collector.start()


def collector_hangs(stage: Stage) -> None:
    stage.collector.signal(signal.SIGSTOP)
    stage.nginx.reload()
    time.sleep(random.uniform(0.5, 5))
    stage.collector.signal(signal.SIGCONT)


def collector_hangs_and_is_killed(stage: Stage) -> None:
    stage.collector.signal(signal.SIGSTOP)
    time.sleep(random.uniform(0.5, 3))
    collector_killed(stage)


def path_removed(stage: Stage) -> None:
    stage.path.unlink(missing_ok=True)


def path_taken(stage: Stage) -> None:
    impostors.exits(stage.path)


def path_taken_for_a_while(stage: Stage) -> None:
    with impostors.swallows(stage.path):
        stage.nginx.reload()
        time.sleep(random.uniform(0, 2))


def nginx_reloaded(stage: Stage) -> None:
    stage.nginx.reload()


FAULTS: list[Callable[[Stage], None]] = [
    collector_killed,
    collector_ended,
    collector_hangs,
    collector_hangs_and_is_killed,
    path_removed,
    path_taken,
    path_taken_for_a_while,
    nginx_reloaded,
]


@pytest.mark.parametrize("seed", SEEDS)
def test_in_any_order(stage: Stage, seed: int) -> None:
    random.seed(seed)
    with stage.load():
        with stage.sampler.away():
            for _ in range(STEPS):
                random.choice(FAULTS)(stage)
                stage.handles(random.choice([1, 500, 5000]))
        stage.measure("heals", stage.well, SLOW_HEALS_SECONDS)
        stage.flows(SLOW_HEALS_SECONDS + OVERDUE_SECONDS)
        doctor_knows(stage)
    stage.conserved(60)
    assert (stage.collector.value("resty_metrics_lost_state_total") or 0) == 0


def doctor_knows(stage: Stage) -> None:
    """What it says since its last start is what doctor names; the socket may have been contended until just now."""
    found = stage.diagnosis()
    assert found.verdicts("FAIL") == set()
    for one in found.findings["page.socket"]:
        assert one["verdict"] == "OK" or one["trouble"] == "socket_contended"
    reasons = [reason for reason in FAULTS_OF_THE_PATH if stage.rebinds(reason)]
    for reason in reasons:
        assert reason in found.seen("page.rebinds", "OK")

"""A real collector on a journal that is full of nginx which are gone: it serves those that are there."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from resty_metrics.journal.files import Directory
from resty_metrics.journal.state import State
from resty_metrics.shapes.shape import Shape, family_batch
from resty_metrics.table.table import MAX_INSTANCES, Table
from resty_metrics.wire.datagram import Verdict
from support.collector import Collector
from support.journals import Life, begin
from support.worker import Worker, counter

pytestmark = pytest.mark.slow

MONTH = 30 * 24 * 3600.0
PROMETHEUS: Mapping[str, str] = {"X_Prometheus_Scrape_Timeout_Seconds": "10", "User_Agent": "Prometheus/3"}


def full_of(names: list[str], now: float) -> State:
    """A state whose nginx each counted a request when its collector began, which ran until ``now``."""
    table = Table()
    for name in names:
        shape = Shape("c_total", "counter", (), None, ("value",), instance=name)
        table.merge([family_batch(shape, "", False, [(5,)])], 1, 0.0)
    return State(table=table, now=now)


def counted(page: str) -> dict[str, float]:
    """The counter by the name of its nginx."""
    lines = [line.split() for line in page.splitlines() if line.startswith("c_total{")]
    return {series.split('"')[1]: float(value) for series, value in lines}


def send(collector: Collector, instance: str) -> None:
    with Worker(collector.socket_path) as worker:
        worker.send(worker.next_batch(counter("c_total", 1) | {"instance": instance}))
        assert worker.answer()[::2] == (Verdict.ACK, 1)


def test_the_65th_name_takes_the_place_of_one_that_is_gone(socket_path: Path) -> None:
    names = [f"pod-{number}" for number in range(MAX_INSTANCES)]
    collector = Collector(socket_path)
    collector.state_dir.mkdir(mode=0o700)
    begin(Directory(collector.state_dir), Life(full_of(names, MONTH)))
    with collector:
        assert counted(collector.page(**PROMETHEUS)) == dict.fromkeys(names, 5)
        send(collector, "pod-64")
        left = dict.fromkeys(names[1:], 5.0)
        assert counted(collector.page(**PROMETHEUS)) == {**left, "pod-64": 0}, "a new row begins at 0"
        assert counted(collector.page(**PROMETHEUS)) == {**left, "pod-64": 1}
        collector.kill()
        collector.start()
        assert counted(collector.page(**PROMETHEUS)) == {**left, "pod-64": 1}, "the replay decides the same"
        send(collector, "pod-0")
        del left["pod-1"]
        assert counted(collector.page(**PROMETHEUS)) == {**left, "pod-64": 1, "pod-0": 0}, "it comes back as new rows"
        assert collector.value("resty_metrics_evicted_instances_total") == 2
        assert collector.value("resty_metrics_lost_rows_total", reason="instance_cap") == 0


def test_names_that_were_used_within_the_hour_stay(socket_path: Path) -> None:
    names = [f"pod-{number}" for number in range(MAX_INSTANCES)]
    collector = Collector(socket_path)
    collector.state_dir.mkdir(mode=0o700)
    begin(Directory(collector.state_dir), Life(full_of(names, 600.0)))
    with collector:
        send(collector, "pod-64")
        assert counted(collector.page()) == dict.fromkeys(names, 5)
        assert collector.value("resty_metrics_lost_rows_total", reason="instance_cap") == 1
        assert collector.value("resty_metrics_source_up", source="lua", nginx="pod-64") == 0

"""The observer in a process of its own making: a bug in a look costs no page."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from resty_metrics.health.facts import RefusedFile
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.journal.tally import Tally
from resty_metrics.observer.observer import Observer
from resty_metrics.page.coverage import Coverage
from resty_metrics.table.table import Table

PAGES: Any = SimpleNamespace(fetchers=[], last={}, last_at=-1e9, stub_statuses={}, withheld=())


def parts_of(**guard: Any) -> Any:
    """The parts of a collector that has no worker."""
    well = {"rebinds": {}, "faults": list, "up": lambda: True, "contended": False, "standing_by": False}
    return SimpleNamespace(
        intake=Intake(Table(), Senders(), lambda _: True),
        guard=SimpleNamespace(path=Path("/run/c.sock"), **{**well, **guard}),
        journal=SimpleNamespace(tally=Tally()),
        coverage=Coverage(),
        listener=SimpleNamespace(oversized=0),
    )


def test_what_grows_all_the_time_takes_little_memory() -> None:
    """4,096 families at their cap are 0.5 MB of counts a sample."""
    parts, times = parts_of(), iter(range(100_000))
    observer = Observer(parts, PAGES, None, tuple, list, lambda: float(next(times)))
    for _ in range(1200):
        parts.intake.lost_rows += 1
        assert [trouble.kind.name for trouble in observer.look()] == ["rows_lost"]
    assert len(observer._growth._samples) <= 14


def test_a_bug_in_a_look_costs_no_page_and_hides_no_trouble_of_before() -> None:
    refused = [RefusedFile("/etc/resty-metrics.yml")]
    parts = parts_of()
    guard = parts.guard
    observer = Observer(parts, PAGES, None, tuple, lambda: refused, lambda: 1000.0)
    (line,) = observer()
    assert line.startswith("degraded: a configuration file was refused")
    guard.up = lambda: 1 // 0
    assert observer() == [line]
    assert [bytes(one) for family in observer.families() for one in family.lines if one.endswith(b" 1\n")] == [
        b'resty_metrics_trouble{trouble="config_refused"} 1\n',
        b'resty_metrics_refused_file{file="/etc/resty-metrics.yml",kind="settings"} 1\n',
    ]

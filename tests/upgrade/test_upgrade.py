"""What an earlier version left is read: its journal to the exact page, its configuration and flags as it meant them.

tests/data/upgrade has a directory for each version and, before the first release, for each format of the journal. None
is ever written again; make.py there writes the next one.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from resty_metrics import __version__
from resty_metrics.wire.datagram import Verdict
from support.collector import Collector
from support.nginx import ROOT
from support.upgrade import counted, shown_of_file, shown_of_flags
from support.worker import Worker, counter

LEFT = ROOT / "tests" / "data" / "upgrade"
VERSIONS = sorted(path.name for path in LEFT.iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.fixture(params=VERSIONS)
def left(request: pytest.FixtureRequest) -> Path:
    return LEFT / str(request.param)


def holds(then: Any, now: Any) -> bool:
    """Whether all that was said then is said now; a key that is new may stand beside it."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and holds(value, now[key]) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(then) == len(now) and all(map(holds, then, now))
    return bool(then == now)


def test_the_version_of_now_is_among_them() -> None:
    """So that the one after it is held to it."""
    assert __version__.rpartition(".")[0] in VERSIONS, "run tests/data/upgrade/make.py for it"


def test_its_journal_leads_to_the_same_page(left: Path, shared: Path) -> None:
    shutil.copytree(left / "state", shared / "state")
    page = (left / "page.txt").read_text()
    with Collector(shared / "collector.sock", f"--state.dir={shared}/state") as collector:
        assert counted(collector.page()) == page
        assert collector.value("resty_metrics_journal_up") == 1
        assert not list((shared / "state").glob("set-aside-*"))
        collector.kill()
        collector.start()  # from a journal of our own by now
        assert counted(collector.page()) == page


def test_its_senders_go_on_where_they_were(left: Path, shared: Path) -> None:
    """What was acknowledged by it is not counted again, what comes next is."""
    shutil.copytree(left / "state", shared / "state")
    said = yaml.safe_load((left / "senders.json").read_text())
    with Collector(shared / "collector.sock", f"--state.dir={shared}/state") as collector:
        with Worker(collector.socket_path) as worker:
            worker.sender, worker.sequence = bytes.fromhex(said["sender"]), said["last"] - 1
            for value in (1, 2):
                worker.send(worker.next_batch(counter("more_total", value)))
                assert worker.answer()[::2] == (Verdict.ACK, worker.sequence)
        assert collector.value("more_total") == 2
        assert collector.value("resty_metrics_datagrams_total", result="duplicate") == 1


def test_its_configuration_means_what_it_meant(left: Path) -> None:
    for then, now in [
        ("config.shown.yml", shown_of_file(left / "config.yml")),
        ("flags.shown.yml", shown_of_flags((left / "flags.txt").read_text().split())),
    ]:
        assert holds(yaml.safe_load((left / then).read_text()), yaml.safe_load(now))

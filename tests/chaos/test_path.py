"""Everything that can happen to the socket's file, under load: healed within a second, nothing missing or double."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from support import impostors
from support.stage import OVERDUE_SECONDS, Stage


def removed(path: Path) -> None:
    path.unlink()


def without_mode(path: Path) -> None:
    path.chmod(0)


def given_away(path: Path) -> None:
    os.chown(path, 12345, 12345)


def without_directory(path: Path) -> None:
    shutil.rmtree(path.parent)


def with_another_directory(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.mkdir(mode=0o755)


def by_a_stream_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(str(path.with_name("other")))
    path.with_name("other").rename(path)  # who unlinks first may find the collector faster


def by_a_regular_file(path: Path) -> None:
    path.with_name("other").write_text("no socket")
    path.with_name("other").rename(path)


FAULTS = [
    (removed, "missing"),
    (without_mode, "mode"),
    (given_away, "owner"),
    (without_directory, "missing"),
    (with_another_directory, "missing"),
    (by_a_stream_socket, "replaced"),
    (by_a_regular_file, "replaced"),
    (impostors.exits, "replaced"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_it_heals(stage: Stage, fault: Callable[[Path], None], reason: str) -> None:
    with stage.load():
        fault(stage.path)
        stage.heals()
        assert stage.rebinds(reason) == 1
        stage.flows()
        assert f"{reason} 1" in stage.doctor_finds_only().seen("page.rebinds", "OK")
    stage.conserved()


def test_all_of_it_while_workers_are_born(stage: Stage) -> None:
    """A worker that comes up during a fault meets whatever is at the path then."""
    with stage.load():
        for fault, _ in FAULTS * stage.times(1, 5):
            fault(stage.path)
            stage.nginx.reload()
            stage.heals(within=6)  # one after the other: the path is contended
            stage.flows(within=6 + OVERDUE_SECONDS)
        found = stage.doctor("page.socket", "WARN", "keeps removing or replacing the socket")
        for _, reason in FAULTS:
            assert reason in found.seen("page.rebinds", "OK")
    stage.conserved()

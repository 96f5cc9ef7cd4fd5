"""What scripts/run starts: its proof, and the end of everything it began."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.nginx import ROOT
from support.wait import wait_until

pytestmark = pytest.mark.slow
DEMO = [sys.executable, "-m", "deploy.demo"]


@pytest.fixture
def clone(shared: Path) -> Path:
    """A clone in a directory that nginx's workers cannot enter, as below /root."""
    private = shared / "private"
    private.mkdir(mode=0o700)
    for name in ("collector", "lua", "nginx.conf.d", "deploy"):
        shutil.copytree(ROOT / name, private / name)
    return private


def descendants(pid: int) -> set[int]:
    """Processes below this one, by what the kernel says now."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children} | {below for child in children for below in descendants(int(child))}


def workers_of(pid: int) -> list[int]:
    """nginx's workers below this process; a process that has just ended is none."""
    commands = {}
    for below in descendants(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            commands[below] = Path(f"/proc/{below}/cmdline").read_bytes()
    return [below for below, command in commands.items() if b"worker process" in command]


def test_check_shows_that_each_of_a_thousand_was_counted(clone: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--check"], cwd=clone, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sent 1000, counted 1000; sources: " in done.stdout
    assert {"lua 1", "stub_status 1"} <= set(done.stdout.split("sources: ")[1].splitlines()[0].split(", "))
    assert done.stdout.endswith("OK: every request is on the page exactly once\n")


def test_ctrl_c_ends_all_of_it(clone: Path) -> None:
    with subprocess.Popen(DEMO, cwd=clone, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL) as running:
        assert running.stdout is not None
        try:
            said = [running.stdout.readline() for _ in range(6)]
            assert said[5] == "A little traffic is on its way. Ctrl-C ends everything.\n"
            prefix = Path(said[3].split()[1].removesuffix(",")).parent
            assert prefix.is_dir()
            workers = wait_until(lambda: workers_of(running.pid), message="the workers")
            if os.geteuid() == 0:
                assert all(Path(f"/proc/{pid}").stat().st_uid != 0 for pid in workers)
            below = descendants(running.pid)
        finally:  # else a failure would wait for the demo, which ends on a signal alone
            running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0
    wait_until(lambda: not [pid for pid in below if Path(f"/proc/{pid}").exists()], message="the end of all of it")
    assert not prefix.exists()

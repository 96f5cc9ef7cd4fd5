"""scripts/distributions: a command runs in a root of its own, and leaves nothing, also where it is interrupted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.nginx import ROOT
from support.wait import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 and "CI" not in os.environ, reason="needs root, for debootstrap"),
]

RELEASE = "bookworm"


class Roots:
    """A directory for ``--keep`` that has a root of bookworm."""

    def __init__(self, directory: Path, base: Path) -> None:
        self.directory = directory
        self.tree = directory / RELEASE
        subprocess.run(["cp", "--archive", base, self.tree], check=True, timeout=120)
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(directory / "cache")}
        (directory / "cache/resty-metrics-roots" / RELEASE).mkdir(parents=True)

    def start(self, *command: str) -> subprocess.Popen[str]:
        words = ["scripts/distributions", "--keep", str(self.directory), RELEASE, "--", *command]
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[int]:
        """Those whose root directory it is."""
        pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in pids if self._is_inside(pid)]

    def _is_inside(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/root").samefile(self.tree)
        except OSError:
            return False

    def assert_nothing_is_left(self) -> None:
        assert self.processes() == []
        assert str(self.tree) not in Path("/proc/self/mountinfo").read_text()
        assert list((self.tree / "proc").iterdir()) == []


@pytest.fixture
def roots(tmp_path: Path, base_tree: Path) -> Roots:
    return Roots(tmp_path, base_tree)


def test_a_command_in_the_clone(roots: Roots) -> None:
    script = "test -d collector && test ! -e /mnt/etc && unshare --user true && exec sleep 1000 & sleep 0.1; pwd >/pwd"
    process = roots.start("sh", "-c", script)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert (roots.tree / "pwd").read_text() == "/root/resty-metrics\n"
    assert f"{RELEASE}: sh -c" in said
    assert "status 0" in said
    roots.assert_nothing_is_left()


def test_a_command_that_fails(roots: Roots) -> None:
    process = roots.start("sh", "-c", "echo '== 1 failed, 2 passed in 0.5s =='; exit 3")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "status 3" in said
    assert "1 failed, 2 passed in 0.5s" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(roots: Roots, number: signal.Signals) -> None:
    process = roots.start("sh", "-c", "setsid sleep 1000 & sleep 1000")
    wait_until(lambda: len(roots.processes()) >= 2, message="the command")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    roots.assert_nothing_is_left()

"""A Debian machine of the test's own: a tree laid over a minimal one, where programs run, and systemd too.

It has its own files and processes, and this machine's network unless it is told otherwise. Nothing of this machine's
system is changed.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.index import CERTIFICATES, write_pip_configuration
from support.nginx import ROOT
from support.wait import wait_until

SOURCE = "/src"
# What systemd-nspawn keeps in /run, where it complains of a disk.
_OF_ITS_OWN = 'mkdir -p /run/systemd && mount -t tmpfs nspawn /run/systemd && exec "$@"'


class Machine:
    """``directory``: where it is kept, to be closed before that is removed. A command that fails: AssertionError.

    ``on``: another machine, stopped by ``freeze``, whose files it begins with.
    """

    def __init__(self, base: Path, directory: Path, on: "Machine | None" = None) -> None:
        self.directory = directory
        self.root = directory / "root"
        self._console = directory / "console"
        self._boot: subprocess.Popen[bytes] | None = None
        self._leader: int | None = None
        self._frozen = False
        layers = directory / "layers"  # on a disk of memory, since the one here may be an overlay itself
        for path in (self.root, layers):
            path.mkdir(parents=True)
        _run("mount", "-t", "tmpfs", "-o", "mode=0755", "machine", str(layers))
        for path in (layers / "upper", layers / "work"):
            path.mkdir(mode=0o755)
        lower = str(base) if on is None else f"{on.directory}/layers/upper:{base}"
        options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        write_pip_configuration(directory / "pip.conf")

    def close(self) -> None:
        if self._boot is not None:
            self.halt()
        self.freeze()
        _run("umount", str(self.directory / "layers"))

    def freeze(self) -> None:
        """Nothing runs there any more; others may begin with its files."""
        if not self._frozen:
            _run("umount", str(self.root))
        self._frozen = True

    def run(self, *words: str, status: int = 0) -> str:
        """What a command says there, both senders; where nothing runs, or beside what systemd has started."""
        done = subprocess.run(
            [*self.inside(), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == status, f"{shlex.join(words)}: {done.returncode}\n{done.stdout[-3000:]}"
        return done.stdout

    def inside(self) -> list[str]:
        """What a command begins with that is to run there."""
        return self._words() if self._leader is None else ["nsenter", f"--target={self._leader}", "--all", "--"]

    def install(self, *packages: str) -> str:
        return self.run(
            "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *packages
        )

    def path(self, inside: str) -> Path:
        """A file of it as it is seen from here."""
        return Path(f"/proc/{self._leader}/root{inside}") if self._leader else self.root / inside.lstrip("/")

    def boot(self, *options: str) -> None:
        """systemd, until it has started everything that it was going to; ``options`` of systemd-nspawn besides."""
        with self._console.open("wb") as console:
            self._boot = subprocess.Popen(
                [*self._words()[:-1], "--boot", "--console=pipe", *options],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._leader = wait_until(self._init, 60, "systemd's first process")
        wait_until(lambda: self._state() in ("running", "degraded"), 120, "systemd")

    def halt(self) -> None:
        assert self._boot is not None
        if self._leader is not None:
            os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd's own word for poweroff
        try:
            self._boot.wait(timeout=60)
        finally:
            self._boot.kill()
        self._boot, self._leader = None, None

    def _words(self) -> list[str]:
        binds = [
            f"--bind-ro={ROOT}:{SOURCE}",
            f"--bind-ro={self.directory}/pip.conf:/etc/pip.conf",
            f"--bind-ro={CERTIFICATES}",
        ]
        there = ["--register=no", "--keep-unit", "--resolv-conf=copy-host", f"--directory={self.root}", *binds]
        return ["unshare", "--mount", "sh", "-c", _OF_ITS_OWN, "sh", "systemd-nspawn", "--quiet", *there, "--pipe"]

    def _init(self) -> int | None:
        """The pid, here, of the process that is 1 there."""
        assert self._boot is not None
        assert self._boot.poll() is None, self._console.read_text(errors="replace")[-3000:]
        for pid in _descendants(self._boot.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if any(line.startswith("NSpid:") and line.split()[2:] == ["1"] for line in status.splitlines()):
                return pid
        return None

    def _state(self) -> str:
        words = ["nsenter", f"--target={self._leader}", "--all", "--", "systemctl", "is-system-running"]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False).stdout.strip()


def _descendants(pid: int) -> Sequence[int]:
    found = [pid]
    for one in found:
        try:
            children = Path(f"/proc/{one}/task/{one}/children").read_text().split()
        except OSError:
            continue
        found.extend(map(int, children))
    return found[1:]


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr

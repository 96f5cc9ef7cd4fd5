"""Who installs from README.md: a user who may sudo, with a clone of this repository, on a Debian machine."""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support import readme
from support.machine import SOURCE, Machine

USER = "newcomer"
HOME = f"/home/{USER}"
TERMINAL = f"{HOME}/terminal"  # the process group of what runs in it
ARRIVES = f"""
useradd --create-home --shell /bin/bash {USER}
[ ! -d /etc/sudoers.d ] || echo '{USER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{USER}
mkdir {HOME}/clone
cd {SOURCE}
tar -c --exclude=./.venv --exclude=./.git --exclude=./build --exclude=__pycache__ --exclude='./.*_cache' \\
    --exclude='*.egg-info' . |
    tar -x -C {HOME}/clone
chown -R {USER}: {HOME}
"""


class Newcomer:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.run("sh", "-euc", ARRIVES)
        self._blocks = readme.blocks()

    @property
    def clone(self) -> Path:
        return self.machine.path(f"{HOME}/clone")

    def types(self, name: str, answer: str | None = None, lines: slice = slice(None)) -> str:
        """A block of README.md, or some of its lines; ``answer``: what is answered if it asks, at a terminal."""
        return self.machine.run(*_shell("\n".join(self.block(name).splitlines()[lines]), answer))

    def does(self, command: str) -> str:
        """What README.md leaves to those who read it."""
        return self.machine.run(*_shell(command))

    @contextmanager
    def in_another_terminal(self, name: str) -> Iterator[None]:
        """A block that runs until it is told to end."""
        words = [*self.machine.inside(), *_shell(f"echo $$ >{TERMINAL}\n{self.block(name)}")]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            group = self.machine.path(TERMINAL).read_text().strip()
            self.machine.run("sh", "-c", f"kill -TERM -{group}")
            process.wait(timeout=30)

    def block(self, name: str) -> str:
        return self._blocks[name]


def _shell(command: str, answer: str | None = None) -> list[str]:
    if answer is not None:
        at_a_terminal = shlex.join(["script", "--quiet", "--return", "--command", command, "/dev/null"])
        command = f"echo {shlex.quote(answer)} | {at_a_terminal}"
    return ["runuser", "--login", USER, "--command", f"cd clone && set -e\n{command}"]

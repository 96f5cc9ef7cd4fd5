"""A process of the test's own that does something, says so, and stays until it is let go."""

import subprocess
import sys
from types import TracebackType

STAYS = "print(os.getpid(), flush=True); sys.stdin.read()"
"""What a script ends with so that ``Child`` sees it ready: its pid as it sees itself, then it waits."""


class Child:
    """``python -c script arguments``, perhaps below a command like ``unshare``. Ready when it has printed a line.

    Ended by closing its input, so that nothing is left even below a command that forks.
    """

    def __init__(self, script: str, *arguments: str, under: tuple[str, ...] = (), name: str | None = None) -> None:
        words = [*under, name or sys.executable, "-c", f"import os, socket, sys\n{script}\n{STAYS}", *arguments]
        executable = sys.executable if name and not under else None
        self.process = subprocess.Popen(
            words, executable=executable, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline().strip()
        assert self.said, f"{words} ended with {self.process.wait(10)}"

    @property
    def pid(self) -> int:
        """Of the process that was started: of the command above, if there is one that forks."""
        return self.process.pid

    def end(self) -> None:
        self.process.communicate(timeout=10)

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

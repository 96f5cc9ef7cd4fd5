"""A terminal of the test's own: tmux, with keys that are typed and a screen that is read."""

import itertools
import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from support.wait import wait_until

_NUMBERS = itertools.count()


class Tmux:
    """One command in a terminal of ``columns`` x ``lines``; its socket is in ``directory``, each its own: a server that
    was told to end still listens for a moment.

    When the command has ended the screen says ``ENDED`` and its exit status.
    """

    def __init__(
        self,
        directory: Path,
        words: Sequence[str],
        columns: int = 80,
        lines: int = 24,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tmux = ["tmux", "-u", "-f", "/dev/null", "-S", str(directory / f"tmux-{next(_NUMBERS)}.sock")]
        self._command = f"{shlex.join(words)}; echo ENDED $?; exec cat"
        self._size = ["-x", str(columns), "-y", str(lines)]
        self._environment = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}

    def __enter__(self) -> "Tmux":
        self._run("new-session", "-d", *self._size, self._command)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("kill-server")

    def keys(self, *names: str) -> None:
        self._run("send-keys", *names)

    def resize(self, columns: int, lines: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *, colours: bool = False) -> str:
        return self._run("capture-pane", "-p", *(["-e"] if colours else []))

    def shows(self, *texts: str, timeout: float = 20) -> str:
        """The screen, when all of these are on it."""
        return self.until(lambda screen: all(text in screen for text in texts), " and ".join(texts), timeout)

    def until(self, condition: Callable[[str], bool], message: str, timeout: float = 20) -> str:
        """The screen, when the condition holds for it."""
        seen = ""

        def look() -> bool:
            nonlocal seen
            seen = self.screen()
            return condition(seen)

        try:
            wait_until(look, timeout, message)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen:\n{seen}") from None
        return seen

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, timeout=10, check=True, env=self._environment
        )
        return done.stdout

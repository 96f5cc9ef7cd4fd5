"""A real ``doctor --watch`` of the test's own, below a command like ``unshare`` if need be."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from resty_metrics.commands.doctor.watch import fanotify
from resty_metrics.commands.doctor.watch.connector import Connector
from resty_metrics.commands.doctor.watch.errors import RefusedError
from support.collector import COMMAND
from support.wait import wait_until

RUN = (
    "import sys; from pathlib import Path; from resty_metrics.commands.doctor.watch import run; "
    "sys.exit(run(Path(sys.argv[1]), json=sys.argv[2] == 'json'))"
)

Seen = dict[str, Any]


def refused() -> list[str]:
    """What this machine does not let us see, whoever we are."""
    reasons = []
    try:
        Connector().close()
    except RefusedError as error:
        reasons.append(str(error))
    try:
        os.close(fanotify.group())
    except RefusedError as error:
        reasons.append(str(error))
    return reasons


class Watch:
    """The watch of ``socket_path``; entered, it has begun. ``seen`` is what it has told; at the end it ends with 0."""

    def __init__(self, socket_path: Path, *under: str) -> None:
        self.process = subprocess.Popen(
            [*under, COMMAND, "doctor", "--watch", "--json", f"--socket.path={socket_path}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[Seen] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.seen.extend(json.loads(line) for line in self.process.stdout)

    def __enter__(self) -> "Watch":
        self.wait_for(lambda one: one.get("notice") == "watching")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, complaints = self.end()
        assert kind is not None or (status, complaints) == (0, "")

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """The exit status, and what it wrote on stderr."""
        os.kill(self._pid(), number)
        return self.ended()

    def _pid(self) -> int:
        """Of the watch itself: ``unshare --fork`` stays above it, deaf to signals."""
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(below[0]) if below else self.process.pid

    def ended(self) -> tuple[int, str]:
        """The same of one that ends by itself."""
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        complaints = self.process.stderr.read()
        status = self.process.wait(timeout=20)
        self._reader.join(timeout=20)
        self.process.stderr.close()
        self.process.stdout.close()
        return status, complaints

    def wait_for(self, wanted: Callable[[Seen], bool]) -> Seen:
        """The first that is ``wanted``; AssertionError if it does not come."""

        def found() -> list[Seen]:
            return [one for one in list(self.seen) if wanted(one)]

        return wait_until(lambda: found() or self._none_any_more(), message=f"in {self.seen}")[0]

    def _none_any_more(self) -> list[Seen]:
        assert self.process.poll() is None, f"the watch ended: {self.ended()}, {self.seen}"
        return []

    def act(self, path: Path, *actions: str, pid: int | None = None) -> Seen:
        """What was done to ``path``: the actions, all of them in one, by that process if one is given."""
        return self.wait_for(lambda one: _is_act(one, path, actions, pid))

    def acts(self, path: Path, *actions: str, pid: int) -> list[Seen]:
        """All of these so far."""
        return [one for one in list(self.seen) if _is_act(one, path, actions, pid)]

    def command(self, action: str, pid: int) -> Seen:
        """That a command of ours was executed, or ended."""
        return self.wait_for(lambda one: one.get("path") is None and action in one.get("actions", ()) and by(one, pid))


def by(one: Seen, pid: int) -> bool:
    return one["by"] is not None and one["by"]["pid"] == pid


def _is_act(one: Seen, path: Path, actions: tuple[str, ...], pid: int | None) -> bool:
    return one.get("path") == str(path) and set(actions) <= set(one["actions"]) and (pid is None or by(one, pid))

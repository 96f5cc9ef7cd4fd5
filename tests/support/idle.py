"""Waiting until a process has nothing left to do, such as to write the log lines of what it has just answered."""

import re
import time
from pathlib import Path

_WORK = re.compile(r"^(?:State:\t(\w)|\w*_ctxt_switches:\t(\d+))", re.MULTILINE)
_MOST_SECONDS = 2.0


def wait_idle(pid: int) -> None:
    """Return when no thread of the process runs or has run between two looks; after a while in any case."""
    ends = time.monotonic() + _MOST_SECONDS
    before = None
    while time.monotonic() < ends:
        now = _threads(pid)
        if now == before and not any(line[0][0] == "R" for line in now.values()):
            return
        before = now
        time.sleep(0.005)


def _threads(pid: int) -> dict[str, list[tuple[str, str]]]:
    """The state of each thread, and how often it began to run."""
    found = {}
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            found[path.parent.name] = _WORK.findall(path.read_text())
        except OSError:
            continue
    return found

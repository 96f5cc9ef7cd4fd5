"""The collector, as the watch must know it: to recognise its own acts, and to compare its view with that of others.

Rule: a search for the holder of a lock among all processes makes the kernel wait, sometimes for ten milliseconds, in
which a culprit may end unseen. So the search is made when the watch begins and when the lock's file is touched, at most
once in QUIET_SECONDS. When a process of ours touches the files, only that process is examined.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from resty_metrics.kernel.processes import holds_lock, is_ours, lock_holder, namespaces_of
from resty_metrics.kernel.procfs import Process

QUIET_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Collector:
    """The process that holds the lock; ``mounts`` is the inode of its mount namespace."""

    pid: int
    mounts: int | None


class Holder:
    """The holder of ``<socket path>.lock``.

    Where the file was removed, it is the last holder for as long as that runs.
    """

    def __init__(self, socket_path: Path) -> None:
        self.lock = socket_path.with_name(socket_path.name + ".lock")
        self._known: Collector | None = None
        self._checked = float("-inf")

    @property
    def known(self) -> Collector | None:
        """Return the last known collector, if it still runs."""
        return self._known if self._known is not None and is_ours(self._known.pid) else None

    def at(self, actor: Process | None) -> Collector | None:
        """Return the collector at the time when ``actor`` touched its files.

        A process of ours may be the next collector.
        """
        known = self.known
        if actor is None or not actor.ours or (known is not None and actor.pid == known.pid):
            return known
        if holds_lock(actor.pid, self.lock):
            self._know(actor.pid)
        return self.known

    def ask(self) -> None:
        """Find the holder again, since it may have changed; at most once in QUIET_SECONDS."""
        now = time.monotonic()
        if now - self._checked < QUIET_SECONDS:
            return
        self._checked = now
        pid = lock_holder(self.lock)
        if pid is not None:
            self._know(pid)

    def _know(self, pid: int) -> None:
        self._known = Collector(pid, namespaces_of(pid).get("mnt"))

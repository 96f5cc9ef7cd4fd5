"""The masters of nginx: whether they have ended.

Rules:
- Only a master that this collector saw running can be seen to have ended. One of another container, or one that /proc
  hides, was never seen.
- A master is looked for when it is first heard of, and again only when its workers are silent: a read takes 10 us.
"""

from collections.abc import Callable, Set

from resty_metrics.wire.heartbeat import Master


class Masters:
    """The masters that are heard of. ``started`` returns when a process started, in clock ticks since boot."""

    def __init__(self, started: Callable[[int], int | None]) -> None:
        self._started = started
        self._ran: dict[Master, bool] = {}

    def keep(self, masters: Set[Master]) -> None:
        """Look for each new master, and forget those that are not among these."""
        earlier = self._ran
        self._ran = {master: earlier[master] if master in earlier else self._runs(master) for master in masters}

    def is_gone(self, master: Master) -> bool:
        """Return True if this master was seen running and runs no more."""
        return self._ran.get(master, False) and not self._runs(master)

    def _runs(self, master: Master) -> bool:
        return master.pid is not None and master.birth is not None and self._started(master.pid) == master.birth

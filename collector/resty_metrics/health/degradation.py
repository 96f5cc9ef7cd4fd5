"""The faults of a running collector in words, for ``/-/ready`` and the service manager."""

import asyncio
import os
import pwd
from collections.abc import Callable, Iterable
from pathlib import Path

from resty_metrics.endpoint.credentials import worker_uids
from resty_metrics.endpoint.guard import Guard
from resty_metrics.health.readiness import (
    ACCEPTED,
    ACCEPTED_SECONDS,
    REFUSED_SECONDS,
    Arrivals,
    Growth,
    SendingUser,
    faults,
)
from resty_metrics.ingest.drain import Result
from resty_metrics.ingest.intake import Intake
from resty_metrics.journal.journal import Journal
from resty_metrics.kernel.access import Node
from resty_metrics.kernel.paths import nodes_to

CHECK_SECONDS = 1.0


class Degradation:
    """The faults of a running collector. ``allowed``: the users that may send beside those that are known."""

    def __init__(
        self,
        intake: Intake,
        guard: Guard,
        journal: Journal,
        state_dir: Path | None,
        allowed: Callable[[], tuple[int, ...]],
        clock: Callable[[], float],
    ) -> None:
        self._intake = intake
        self._guard = guard
        self._journal = journal
        self._state_dir = state_dir
        self._allowed = allowed
        self._clock = clock
        self._known: tuple[int, ...] | None = None
        self._users_allowed: tuple[SendingUser, ...] = ()
        self._results: Growth[tuple[Result, str | None]] = Growth()
        self._uids: Growth[int] = Growth()
        self._arrivals = Arrivals(accepted=True)
        self._way: list[Node] = []

    def __call__(self) -> list[str]:
        """Say each fault."""
        found = [*self._guard.faults(), *faults(self._arrivals, self._way, self._users_allowed)]
        reason = self._journal.tally.reason
        if reason is not None:
            found.append(f"cannot write the journal in {self._state_dir} ({reason}): counts are in memory only")
        return [f"degraded: {text}" for text in found]

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            allowed = self._allowed()
            if allowed != self._known:
                self._users_allowed, self._known = await asyncio.to_thread(users, allowed), allowed
            self.observe(self._clock())
            await asyncio.sleep(CHECK_SECONDS)

    def observe(self, now: float) -> None:
        """Look at new datagrams and, while none are accepted, at the way to the socket."""
        self._results.observe(self._intake.results, now)
        self._uids.observe(self._intake.refused_uids, now)
        recent = self._results.within(REFUSED_SECONDS, now)
        refused = frozenset(reason for result, reason in recent if result == "held" and reason is not None)
        results = {result for result, _ in self._results.within(ACCEPTED_SECONDS, now)}
        uids = frozenset(self._uids.within(REFUSED_SECONDS, now))
        self._arrivals = Arrivals(not ACCEPTED.isdisjoint(results), refused, uids)
        self._way = [] if self._arrivals.accepted or self._guard.faults() else self._look()

    def _look(self) -> list[Node]:
        try:
            return nodes_to(str(self._guard.path))
        except OSError:  # it has just been removed, or we may not look
            return []


def users(more: Iterable[int]) -> tuple[SendingUser, ...]:
    """Return the users of nginx's workers that this machine knows, and ``more``, each with its groups.

    It may ask a name service that is slow: a running loop calls it in a thread.
    """
    return tuple(_user(uid) for uid in sorted(worker_uids().union(more)))


def _user(uid: int) -> SendingUser:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return SendingUser(uid, None)
    return SendingUser(uid, frozenset(os.getgrouplist(user.pw_name, user.pw_gid)))

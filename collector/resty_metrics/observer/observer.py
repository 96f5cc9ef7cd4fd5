"""The observer's shell: it collects the facts each second, and again for each page, and keeps the judge's troubles.

Rules:
- Workers beat each 5 s, and send refused datagrams again within 5 s. A refusal that did not recur for REFUSED_SECONDS
  is over. Other events are remembered for SPAN_SECONDS.
- A source that nobody fetched for STALE_SECONDS is not known.
- What fills a family is counted at most each FULL_SECONDS, and only while rows are counted as ``other``.
"""

import asyncio
import logging
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from resty_metrics.exposition.text import MetricFamily
from resty_metrics.health import facts
from resty_metrics.health.facts import Facts, Recent, RefusedFile, SourceState
from resty_metrics.health.judge import judge
from resty_metrics.health.reach import SendingUser, closed
from resty_metrics.health.troubles import SOCKET_UNREACHABLE, Trouble
from resty_metrics.kernel.access import Obstacle
from resty_metrics.kernel.paths import nodes_to
from resty_metrics.kernel.processes import started
from resty_metrics.observer import metric
from resty_metrics.observer.counts import SPAN_SECONDS, Counts, Growth, Kind, counts_of
from resty_metrics.observer.lines import lines, sentence
from resty_metrics.observer.nginx import NginxLooks
from resty_metrics.observer.users import names, users
from resty_metrics.page.scrape import Pages, Parts
from resty_metrics.process.log import say
from resty_metrics.table.table import Table

CHECK_SECONDS = 1.0
ACCEPTED_SECONDS = 15.0
REFUSED_SECONDS = 30.0
STALE_SECONDS = 300.0
FULL_SECONDS = 10.0
LONG_STEP_SECONDS = 60.0  # of the samples of SPAN_SECONDS
Full = Mapping[str, Sequence[tuple[str, int]]]  # for each family at its cap, the number of values of each label
_ACCEPTED = frozenset({"applied", "duplicate", "out_of_order", "heartbeat", "bye"})
_REPEATED = frozenset({"uid", "version", "sender_cap", "instance_cap"})  # by senders that are refused for these


class Observer:
    """The observer of a running collector. ``allowed``: the users that may send beside those that are known.

    ``misconfigured`` returns the configuration files that were refused; ``clock`` is monotonic seconds.
    """

    def __init__(
        self,
        parts: Parts,
        pages: Pages,
        state_dir: Path | None,
        allowed: Callable[[], tuple[int, ...]],
        misconfigured: Callable[[], Collection[RefusedFile]],
        clock: Callable[[], float],
    ) -> None:
        self.troubles: list[Trouble] = []
        self._parts = parts
        self._pages = pages
        self._state_dir = state_dir
        self._allowed = allowed
        self._misconfigured = misconfigured
        self._clock = clock
        self._known: tuple[int, ...] | None = None
        self._users: tuple[SendingUser, ...] = ()
        self._names: dict[int, str | None] = {}  # of refused users; None: not known here
        self._warned = False
        self._growth = Growth(step=LONG_STEP_SECONDS)
        self._refusals = Growth(REFUSED_SECONDS)  # to the step of a few seconds that a refusal's end needs
        self._count(self._counts(), clock())
        self._nginx = NginxLooks(started)
        self._full: Full = {}
        self._full_at = -math.inf
        self._accepted = 0
        self._accepted_at = -math.inf

    def __call__(self) -> list[str]:
        """Describe each trouble in a line."""
        return lines(self.look(), self._parts.guard.path)

    def families(self) -> list[MetricFamily]:
        """Return the metrics of the troubles, as they are now."""
        troubles = self.look()
        users = {uid: self._names[uid] for uid in self._refused_uids(self._clock()) if uid in self._names}
        return [metric.family(troubles), *metric.refused(users, self._misconfigured())]

    async def run(self) -> None:
        """Look each second, for ever."""
        while True:
            allowed = self._allowed()
            if allowed != self._known:
                self._users, self._known = await asyncio.to_thread(users, allowed), allowed
            self.look()
            self._warn()
            await self._name_users()
            await asyncio.sleep(CHECK_SECONDS)

    def _warn(self) -> None:
        """Log that no worker can reach the socket when that begins; at the start nobody looks at the page yet."""
        closed = [trouble for trouble in self.troubles if trouble.kind is SOCKET_UNREACHABLE]
        if closed and not self._warned:
            say(logging.WARNING, sentence(closed[0], self._parts.guard.path))
        self._warned = bool(closed)

    async def _name_users(self) -> None:
        """Look up the names of users that were refused."""
        unnamed = [uid for uid in self._refused_uids(self._clock()) if uid not in self._names]
        if unnamed:
            self._names |= dict.fromkeys(unnamed) | await asyncio.to_thread(names, unnamed)

    def _refused_uids(self, now: float) -> list[int]:
        return [int(uid) for _, uid in self._refusals.over("uid", REFUSED_SECONDS, now)]

    def look(self) -> list[Trouble]:
        """Collect the facts and return the troubles. A bug in that costs no page: the troubles before stay."""
        try:
            self.troubles = judge(self._facts(self._clock()))
        except Exception as error:
            say(logging.ERROR, "the troubles could not be judged, please report this", error, per=type(error).__name__)
        return self.troubles

    def journal(self, now: float) -> facts.Journal:
        """Return the state of the journal."""
        tally = self._parts.journal.tally
        directory = None if self._state_dir is None else str(self._state_dir)
        return facts.Journal(directory, tally.reason, tally.pending_seconds(now))

    def _facts(self, now: float) -> Facts:
        parts = self._parts
        recent = self._recent(now)
        senders, table = parts.intake.senders, parts.intake.table
        return Facts(
            socket=self._socket(recent.accepted),
            journal=self.journal(now),
            sources=[*states(self._pages, now)],
            nginx=self._nginx.look(senders, table, self._pages.stub_statuses, parts.coverage.ratios(), now),
            recent=recent,
            full=self._full_of(table, now) if recent.overflow else {},
            misconfigured=sorted(self._misconfigured(), key=lambda file: file.path),
            withheld=self._pages.withheld,
            pid=os.getpid(),
        )

    def _full_of(self, table: Table, now: float) -> Full:
        """Return what fills the families at their cap, as it was a moment ago: counting takes milliseconds."""
        if now - self._full_at >= FULL_SECONDS:
            self._full, self._full_at = _full(table), now
        return self._full

    def _socket(self, accepted: bool) -> facts.Socket:
        guard = self._parts.guard
        faults = guard.faults()
        obstacle = None if accepted or faults else self._obstacle()
        return facts.Socket(str(guard.path), guard.up(), guard.contended, guard.standing_by, faults, obstacle)

    def _obstacle(self) -> Obstacle | None:
        """Return what stops every user that may send. It is looked for while no datagram of a worker is accepted."""
        try:
            return closed(nodes_to(str(self._parts.guard.path)), self._users)
        except OSError:  # the socket has just been removed, or we may not look
            return None

    def _counts(self) -> Counts:
        parts = self._parts
        return counts_of(parts.intake, parts.guard.rebinds, parts.listener.oversized)

    def _recent(self, now: float) -> Recent:
        intake, lost_at_start = self._parts.intake, self._parts.journal.tally.lost_rows
        accepted = sum(count for (result, _), count in intake.results.items() if result in _ACCEPTED)
        if accepted != self._accepted:
            self._accepted, self._accepted_at = accepted, now
        journal: Counts = {("lost", "", "journal"): lost_at_start} if lost_at_start else {}
        self._count({**self._counts(), **journal}, now)
        return Recent(
            accepted=now - self._accepted_at <= ACCEPTED_SECONDS,
            refused=self._refused(now),
            uids=self._refused_uids(now),
            names={uid: name for uid, name in self._names.items() if name is not None},
            lost=self._by_name("lost", now),
            rebinds=self._by_name("rebind", now),
            gauges_cut=self._by_name("gauge_rows", now),
            overflow=self._growth.over("overflow", SPAN_SECONDS, now),
            worker_errors=self._growth.over("worker_errors", SPAN_SECONDS, now),
        )

    def _count(self, counts: Counts, now: float) -> None:
        self._growth.observe(counts, now)
        self._refusals.observe({key: count for key, count in counts.items() if key[0] in ("refused", "uid")}, now)

    def _by_name(self, kind: Kind, now: float) -> dict[str, float]:
        return {name: count for (_, name), count in self._growth.over(kind, SPAN_SECONDS, now).items()}

    def _refused(self, now: float) -> dict[str, float]:
        lately = {reason for _, reason in self._refusals.over("refused", REFUSED_SECONDS, now)}
        return {
            reason: count
            for reason, count in self._by_name("refused", now).items()
            if reason in lately or reason not in _REPEATED
        }


def states(pages: Pages, now: float) -> Iterator[SourceState]:
    """Return the state of each fetched source, as it was last found."""
    last = pages.last if now - pages.last_at <= STALE_SECONDS else {}
    for fetcher in pages.fetchers:
        source, scrape = fetcher.source, last.get(fetcher.source)
        if scrape is None:
            yield SourceState(source.kind, source.name, source.address, None, "", None)
        else:
            yield SourceState(source.kind, source.name, source.address, scrape.reason, scrape.words, scrape.seconds)


def _full(table: Table) -> Full:
    """Return for each family at its cap the number of values of each label, the greatest first."""
    return {
        key.name: sorted(family.values_by_label.items(), key=lambda item: -item[1])
        for key, family in table.families.items()
        if len(family.rows) >= family.max_rows
    }

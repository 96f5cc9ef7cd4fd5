"""The facts of each nginx, from its workers' heartbeats, the table, and its fetched stub_status.

Rules:
- Requests that are not counted are a fault only where Lua was ever heard of; a user may want stub_status alone.
- An nginx is judged while its name is that of a sender or of a family in the table, both of which are bounded. One that
  is only fetched is judged where Lua was heard of, under whichever name, and no row of requests ever arrived.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from resty_metrics.health.facts import NginxFacts
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.ingest.senders import Senders
from resty_metrics.observer.arrivals import Arrivals, Arriving, Sample
from resty_metrics.observer.masters import Masters
from resty_metrics.page import instances, workers
from resty_metrics.page.coverage import ENDED
from resty_metrics.shapes.shape import FamilyKey
from resty_metrics.sources.stub_status import StubStatus
from resty_metrics.table.table import Table

SPOOL = "resty_metrics_spool"
_FETCHED = "stub_status"
Fetched = Mapping[str, tuple[float, StubStatus]]  # by name of nginx: when it was read, and what it said


class NginxLooks:
    """The looks at all nginx that are known now.

    ``started`` returns when a process started, in clock ticks since boot, None if it is not visible.
    """

    def __init__(self, started: Callable[[int], int | None]) -> None:
        self._arrivals: dict[str, Arrivals] = {}
        self._masters = Masters(started)

    def look(
        self, senders: Senders, table: Table, fetched: Fetched, coverage: Mapping[str, float], now: float
    ) -> list[NginxFacts]:
        """Return the facts of each nginx."""
        beats = instances.by_instance(senders.heartbeats(now))
        arrived = _arrived(table)
        names = _names(senders, table, fetched if not arrived else ())
        self._arrivals = {name: self._arrivals.get(name) or Arrivals() for name in names}
        self._masters.keep(senders.masters)
        missing, refused = senders.missing(now, self._masters.is_gone), senders.refused(now)
        facts = []
        for name, arrivals in sorted(self._arrivals.items()):
            own = beats.get(name, [])
            sample = _sample(name, own, table, fetched, now)
            if sample is not None:
                arrivals.keep(replace(sample, arrived=arrived.get(name, -math.inf)))
            spool_free = _spool_free(workers.of_newest_master(own))
            uncounted = _uncounted(arrivals.rates(now))
            facts.append(
                NginxFacts(name, missing.get(name, 0), *uncounted, coverage.get(name), spool_free, refused.get(name))
            )
        return facts


def _uncounted(rates: Arriving | None) -> tuple[float | None, float]:
    """Return the requests per second that were not counted, and the seconds of the window."""
    if rates is None:
        return None, 0.0
    return 0.0 if rates.rows else rates.served - rates.counted, rates.seconds


def _names(senders: Senders, table: Table, fetched: Iterable[str]) -> set[str]:
    """Return the names of all nginx to look at."""
    names = senders.instances | {key.instance for key in table.families}
    if names or len(senders) > 0 or senders.last_datagram is not None:
        names.update(fetched)
    return names


def _sample(name: str, beats: Sequence[LiveHeartbeat], table: Table, fetched: Fetched, now: float) -> Sample | None:
    """Return the counters of this moment; None where nginx's own are not known."""
    master, status = workers.newest_master(beats), workers.stub_status(beats)
    if master is not None and status is not None:
        return Sample(master, now, status.requests, _in_flight(status), _counted(table, name, master))
    if name not in fetched:
        return None
    at, status = fetched[name]
    return Sample(_FETCHED, at, status.requests, _in_flight(status), _counted(table, name, None))


def _in_flight(status: StubStatus) -> int:
    return status.reading + status.writing


def _counted(table: Table, name: str, master: str | None) -> float:
    """Return the requests whose hook ran. ``master`` None: under any master."""
    family = table.families.get(FamilyKey(ENDED, instance=name))
    rows = () if family is None else family.rows
    return sum(row.numbers[0] for row in rows if master is None or row.labels == (master,))


def _arrived(table: Table) -> dict[str, float]:
    """Return the time when a row of requests last arrived, by name of nginx."""
    arrived: dict[str, float] = {}
    for key, family in table.families.items():
        if family.shape.type == "requests":
            arrived[key.instance] = max(family.used, arrived.get(key.instance, -math.inf))
    return arrived


def _spool_free(newest: Sequence[LiveHeartbeat]) -> float | None:
    dicts = next((beat.heartbeat.dicts for beat in newest if beat.heartbeat.dicts is not None), ())
    return next((free / capacity for name, capacity, free in dicts if name == SPOOL and capacity > 0), None)

"""The workers that are missing: they sent heartbeats, and fell silent without an end.

Silence alone says nothing: an idle worker without lifecycle.conf never speaks, those of a reload ended before. So only
senders that this collector has heard a heartbeat from count, and these say bye when they end.

Rules:
- A worker is not missing if a younger one has its number, or if its nginx has a younger master, even one that ended.
- A worker whose datagrams are refused is not missing: it is alive, and the refusal is another trouble.
- A worker that said that it is leaving is not missing: it may live on without heartbeats.
- A death is an event, and an event ends: a worker is missing for MISSING_SECONDS at most, and no longer than its
  master runs. nginx replaces a dead worker at once, and the new one may be idle and never speak.
"""

from collections import Counter
from collections.abc import Callable, Iterable

from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.ingest.sender import Sender
from resty_metrics.wire.heartbeat import Master

MISSING_SECONDS = 600.0


def missing(
    senders: Iterable[Sender], now: float, is_gone: Callable[[Master], bool] = lambda _: False
) -> dict[str, int]:
    """Count the missing workers by the name of their nginx. ``is_gone`` returns whether a master has ended."""
    senders = list(senders)
    if not any(_is_silent(sender, now) for sender in senders):  # as nearly always
        return {}
    youngest: dict[tuple[str, Master | None, int], Sender] = {}
    births: dict[str, int] = {}
    for sender in senders:
        if sender.instance is None or sender.worker is None:
            continue
        births[sender.instance] = max(births.get(sender.instance, 0), _birth(sender))
        key = sender.instance, sender.master, sender.worker
        if key not in youngest or sender.birth_ms >= youngest[key].birth_ms:
            youngest[key] = sender
    silent = Counter(
        (instance, sender.master)
        for (instance, _, _), sender in youngest.items()
        if _birth(sender) == births[instance] and _is_silent(sender, now)
    )
    counts: Counter[str] = Counter()
    for (instance, master), workers in silent.items():
        if master is None or not is_gone(master):
            counts[instance] += workers
    return counts


def _birth(sender: Sender) -> int:
    return 0 if sender.master is None else sender.master.birth or 0


def _is_silent(sender: Sender, now: float) -> bool:
    if sender.ended is not None or sender.leaving or is_refused(sender, now):
        return False
    return GAUGES_SECONDS < now - sender.last_seen <= MISSING_SECONDS


def is_refused(sender: Sender, now: float) -> bool:
    """Return whether the datagrams of a sender are refused now."""
    return now - sender.refused <= GAUGES_SECONDS


def refused(senders: Iterable[Sender], now: float) -> dict[str, bool]:
    """Return for each nginx with known, open workers whether one of them is refused.

    Workers that were last heard of MISSING_SECONDS ago are not known any more.
    """
    by_nginx: dict[str, bool] = {}
    for sender in senders:
        known = now - max(sender.last_seen, sender.refused) <= MISSING_SECONDS
        if sender.instance is not None and sender.ended is None and known:
            by_nginx[sender.instance] = by_nginx.get(sender.instance, False) or is_refused(sender, now)
    return by_nginx

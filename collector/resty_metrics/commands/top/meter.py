"""Increases of the last seconds, kept up to date with each page.

Workers send once a second, so a rate over two seconds would jump: rates are over RATE_SECONDS. Unwanted events are
shown for EVENT_SECONDS. Whether a site's requests fail is judged over WINDOW_SECONDS, as an alert does.

Rule: sums are updated by adding the new part and subtracting the old, so that the work is that of two pages, not of a
whole window. The error that remains in fractions is too small to show.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resty_metrics.commands.top import load
from resty_metrics.commands.top.change import Change, between
from resty_metrics.commands.top.page import ACTIVE, OURS, REQUESTS, RESPONSES, Page, Series
from resty_metrics.live.site import WINDOW_SECONDS, Load

RATE_SECONDS = 10.0
EVENT_SECONDS = 60.0
_LEAST = 1e-9
_SLACK = 1.05


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A page, and the growth that led to it. ``seconds``: the time of ``change``; 0 for the first page.

    ``events``: the counts of the pipeline itself in the last EVENT_SECONDS; ``loads``: those of the servers that can be
    judged. Two views are never equal, so that results for a view can be cached.
    """

    page: Page
    seconds: float
    change: Change
    events: Change
    loads: Sequence[Load] = ()

    def per_second(self, increase: float) -> float | None:
        """Return an increase per second; None where the time is not known yet."""
        return increase / self.seconds if self.seconds else None

    @property
    def nginx_rate(self) -> float | None:
        """Return the requests per second that nginx itself counts, but only where nothing else counts them."""
        if self.page.series(RESPONSES) or not self.page.series(REQUESTS):
            return None
        return self.per_second(sum(self.grown(REQUESTS).values()))

    @property
    def connections(self) -> float | None:
        known = self.page.series(ACTIVE)
        return sum(known.values()) if known else None

    def grown(self, name: str) -> Series:
        return self.change.get(name, {})


@dataclass(slots=True)
class _Window:
    """Changes of at most ``length`` seconds together, and always the last one."""

    length: float
    seconds: float = 0.0
    total: dict[str, dict[str, float]] = field(default_factory=dict)
    _parts: deque[tuple[float, Change]] = field(default_factory=deque)

    def push(self, seconds: float, change: Change) -> None:
        self._parts.append((seconds, change))
        self._add(seconds, change, 1)
        while len(self._parts) > 1 and self.seconds > self.length * _SLACK:
            self._add(*self._parts.popleft(), -1)

    def _add(self, seconds: float, change: Change, sign: int) -> None:
        self.seconds += sign * seconds
        for name, series in change.items():
            total = self.total.setdefault(name, {})
            for text, value in series.items():
                left = total.get(text, 0.0) + sign * value
                if left > _LEAST:
                    total[text] = left
                else:
                    total.pop(text, None)


class Meter:
    """The rates and events of the last seconds. ``now`` is seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._last: tuple[float, Page] | None = None
        self._rates = _Window(RATE_SECONDS)
        self._events = _Window(EVENT_SECONDS)
        self._servers = _Window(WINDOW_SECONDS)

    def look(self, page: Page, now: float) -> View:
        """Take in a new page, and return it with its growth."""
        if self._last is not None and now > self._last[0]:
            seconds, change = now - self._last[0], between(self._last[1], page)
            self._rates.push(seconds, change)
            self._events.push(seconds, _of_the_pipeline(change))
            self._servers.push(seconds, load.by_server(change))
        self._last = (now, page)
        loads = load.loads(self._servers.total, self._servers.seconds, page)
        return View(page, self._rates.seconds, _copied(self._rates.total), _copied(self._events.total), [*loads])


def _of_the_pipeline(change: Change) -> Change:
    return {name: series for name, series in change.items() if name.startswith(OURS) and name.endswith("_total")}


def _copied(total: Mapping[str, Mapping[str, float]]) -> Change:
    return {name: dict(series) for name, series in total.items() if series}

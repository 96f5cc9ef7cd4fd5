"""The requests of each server over the last minutes, which the site's findings stand on.

Rule: sums by server are kept, not each series: five minutes of a page of 10,000 rows would take gigabytes.
"""

from collections.abc import Iterator
from functools import lru_cache

from resty_metrics.commands.top import page
from resty_metrics.commands.top.change import Change, distributions
from resty_metrics.commands.top.page import Page, Series
from resty_metrics.live.site import LEAST_RATE, Load, tail
from resty_metrics.shapes.quantile import Buckets

_REQUESTS, _ERRORS, _DURATIONS = "requests", "errors", "durations"
_BUCKETS = f"{page.DURATION}_bucket"
_BOUND = ',le="'


def by_server(change: Change) -> Change:
    """Sum up requests, errors and buckets of durations by server."""
    sums: dict[str, dict[str, float]] = {_REQUESTS: {}, _ERRORS: {}, _DURATIONS: {}}
    for text, count in change.get(page.RESPONSES, {}).items():
        labels = page.labels(text)
        server = page.joined(labels, "server")
        _add(sums[_REQUESTS], server, count)
        if labels.get("status", "").startswith("5"):
            _add(sums[_ERRORS], server, count)
    durations = sums[_DURATIONS]
    for text, count in change.get(_BUCKETS, {}).items():
        key = _bucket(text)
        durations[key] = durations.get(key, 0.0) + count
    return sums


def _add(sums: dict[str, float], key: str, count: float) -> None:
    sums[key] = sums.get(key, 0.0) + count


def _bucket(text: str) -> str:
    """Return the key of a bucket: its server and its bound, as ``change.distributions`` reads them."""
    row, _, bound = text.rpartition('le="')
    return _server(row) + _BOUND + bound


@lru_cache(maxsize=65_536)
def _server(text: str) -> str:
    return page.joined(page.labels(text), "server")


def loads(window: Change, seconds: float, now: Page) -> Iterator[Load]:
    """Yield the load of each server that is busy enough to be judged, by name.

    ``window``: the sums by server of ``seconds``; ``now``: a page with all bounds of the buckets.
    """
    requests = window.get(_REQUESTS, {})
    busy = sorted(server for server, count in requests.items() if seconds and count / seconds > LEAST_RATE)
    if not busy:
        return
    durations = _of_servers(window.get(_DURATIONS, {}), now)
    for server in busy:
        errors = window.get(_ERRORS, {}).get(server, 0.0)
        yield Load(server, requests[server], errors, seconds, tail(durations.get(server, ((), ()))))


def _of_servers(grown: Series, now: Page) -> dict[str, Buckets]:
    return distributions(grown, {_bucket(text) for text in now.series(_BUCKETS)})

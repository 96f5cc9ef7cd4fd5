"""stub_status: nginx's own counters, from its text page or from the worker that read them in memory.

Source of the format: ngx_http_stub_status_module.c, ``ngx_http_stub_status_handler``. Tengine adds a fourth column
``request_time``. Names, types and help are those of nginx-prometheus-exporter, so that its dashboards keep working.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.sources.errors import SourceError

_PAGE = re.compile(
    rb"Active connections: ([0-9]{1,20}) \n"
    rb"server accepts handled requests(?: request_time)?\n"
    rb" ([0-9]{1,20}) ([0-9]{1,20}) ([0-9]{1,20})(?: [0-9]{1,20})? \n"
    rb"Reading: ([0-9]{1,20}) Writing: ([0-9]{1,20}) Waiting: ([0-9]{1,20}) \n"
)
_MAX_UNSIGNED = 2**64 - 1

_UP, _UP_HELP = "nginx_up", "Status of the last metric scrape"
_METRICS: tuple[tuple[str, str, MetricType, str], ...] = (
    ("accepted", "nginx_connections_accepted", "counter", "Accepted client connections"),
    ("active", "nginx_connections_active", "gauge", "Active client connections"),
    ("handled", "nginx_connections_handled", "counter", "Handled client connections"),
    ("reading", "nginx_connections_reading", "gauge", "Connections where NGINX is reading the request header"),
    ("waiting", "nginx_connections_waiting", "gauge", "Idle client connections"),
    (
        "writing",
        "nginx_connections_writing",
        "gauge",
        "Connections where NGINX is writing the response back to the client",
    ),
    ("requests", "nginx_http_requests_total", "counter", "Total http requests"),
)
NAMES = frozenset({_UP, *(name for _, name, _, _ in _METRICS)})


@dataclass(frozen=True, slots=True)
class StubStatus:
    """nginx's counters and gauges, unsigned 64-bit."""

    accepted: int
    handled: int
    requests: int
    active: int
    reading: int
    writing: int
    waiting: int


def parse(body: bytes) -> StubStatus:
    """Read the page. Raises SourceError (``parse``)."""
    match = _PAGE.fullmatch(body)
    if match is None:
        raise SourceError("parse", "not a stub_status page: does the URL lead to a location with stub_status?")
    active, accepted, handled, requests, reading, writing, waiting = (int(group) for group in match.groups())
    status = StubStatus(accepted, handled, requests, active, reading, writing, waiting)
    if max(accepted, handled, requests, active, reading, writing, waiting) > _MAX_UNSIGNED:
        raise SourceError("parse", "a number of the stub_status page does not fit 64 bits")
    return status


def families(status: StubStatus | None, labels: Mapping[str, str]) -> list[MetricFamily]:
    """Return the families of a status; only ``nginx_up`` 0 for None, a status that could not be read."""
    up = MetricFamily(_UP, "gauge", _UP_HELP, [sample(_UP, labels, int(status is not None))])
    if status is None:
        return [up]
    counters = [
        MetricFamily(name, kind, text, [sample(name, labels, getattr(status, field))])
        for field, name, kind, text in _METRICS
    ]
    return [*counters, up]


def read_back(families: Iterable[MetricFamily]) -> StubStatus | None:
    """Return the status that families of ``families`` show; None if it could not be read."""
    values = {family.name: int(line.rpartition(b" ")[2]) for family in families for line in family.lines}
    names = {name: field for field, name, _, _ in _METRICS}
    fields = {names[name]: value for name, value in values.items() if name in names}
    return StubStatus(**fields) if len(fields) == len(names) else None

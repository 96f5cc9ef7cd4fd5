"""Facts of the live page, and a table to sample."""

from dataclasses import replace
from typing import Any

from resty_metrics.health.facts import Journal
from resty_metrics.live.facts import Facts, Nginx, Top
from resty_metrics.shapes.shape import DURATION_SCALE, DURATIONS, REQUEST_COLUMNS, Shape, family_batch
from resty_metrics.table.table import Table

UPGRADED = "101"
BOUNDS_MS = (100, 1000)
WELL = Facts(
    now=1000.0,
    clock="2026-01-02 03:04:05 UTC",
    version="1.2.3",
    telemetry_path="/metrics",
    doctor="sudo resty-metrics doctor",
    watch="sudo resty-metrics doctor --watch",
    uptime=1000.0,
    socket="/run/collector.sock",
    datagram_age=0.5,
    sources=[],
    journal=Journal("/var/lib/resty-metrics", None),
    workers=[],
    nginx=[Nginx("", True, workers_expected=2, workers_seen=2)],
    rows=0,
    top=Top([], None, 0, 0),
)


def facts(**changes: Any) -> Facts:
    """Facts of a moment at which all is well, but for these."""
    return replace(WELL, **changes)


def nginx(**changes: Any) -> Nginx:
    """An nginx that is well, but for these."""
    return replace(WELL.nginx[0], **changes)


Shapes = tuple[Shape, Shape]  # of requests, and of their durations


def shape(bounds: tuple[int, ...] = BOUNDS_MS, scope: str = "", instance: str = "") -> Shapes:
    scoped = ("scope",) if scope else ()
    labels, timed_labels = ("server", "method", "status", *scoped), ("server", "status_class", *scoped)
    requests = Shape("http_requests", "requests", labels, None, REQUEST_COLUMNS, 1, scope, instance=instance)
    timed = Shape(DURATIONS, "histogram", timed_labels, bounds, ("sum",), DURATION_SCALE, scope, instance=instance)
    return requests, timed


def merge(table: Table, *rows: tuple[str, str, tuple[int, ...]], of: Shapes | None = None, birth_ms: int = 1) -> None:
    """Add requests to a table: server, status, and how many fell into each bucket. Those with 101 have no duration."""
    requests, timed = of or shape()
    scope = (requests.scope,) if requests.scope else ()
    counted = [(server, "GET", status, *scope, sum(counts), 0, 0) for server, status, counts in rows]
    observed = [(server, f"{status[0]}xx", *scope, *counts, 0) for server, status, counts in rows if status != UPGRADED]
    batches = [family_batch(requests, "", False, counted), family_batch(timed, "", False, observed)]
    table.merge(batches, birth_ms, 0.0)

"""Facts of the live page, and a table to sample."""

from dataclasses import replace
from typing import Any

from resty_metrics.health.facts import Journal
from resty_metrics.live.facts import Facts, Nginx, Top
from resty_metrics.shapes.shape import REQUEST_COLUMNS, Shape, family_batch
from resty_metrics.table.table import Table

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


def shape(bounds: tuple[int, ...] = BOUNDS_MS, scope: str = "", instance: str = "") -> Shape:
    labels = ("server", "method", "status")
    return Shape("http_requests", "requests", labels, bounds, REQUEST_COLUMNS, 1000, scope, instance=instance)


def merge(table: Table, *rows: tuple[str, str, tuple[int, ...]], of: Shape | None = None, birth_ms: int = 1) -> None:
    """Add requests to a table: server, status, and how many fell into each bucket."""
    sent = [(server, "GET", status, *counts, 0, 0, 0) for server, status, counts in rows]
    table.merge([family_batch(of or shape(), "", False, sent)], birth_ms, 0.0)

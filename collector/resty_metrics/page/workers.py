"""Metric families from the workers' heartbeats, about the workers and about their nginx.

Rules:
- Workers are labelled by ``ngx.worker.id()``, never by pid. During a reload several workers, with those that are
  leaving, share an id. Their numbers are added up, or the greatest holds where a sum makes no sense; each HELP tells
  which.
- A held beat (its worker is leaving) counts for the worker's own gauges alone.
- nginx's own counters belong to a master: of two masters (a binary upgrade) the page shows the one born last.
- Several instances of nginx are told apart by their names. Every function here that takes beats, except ``families``
  and ``in_steps``, takes those of one instance.
- Values that no living heartbeat has are absent. nginx's own counters, and ``nginx_up`` with them, need a recent one.
"""

from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import instances
from resty_metrics.process.steps import Steps, finish
from resty_metrics.shapes.labels import clean
from resty_metrics.sources.stub_status import StubStatus
from resty_metrics.wire.heartbeat import Master

_STEP_SAMPLES = 1_000
Label = tuple[tuple[str, str], ...]

_Fields = tuple[tuple[str, Label], ...]
_GAUGES: tuple[tuple[str, str, _Fields], ...] = (
    (
        "resty_metrics_worker_lua_memory_bytes",
        "Memory that the worker's Lua machine holds.",
        (("lua_memory_bytes", ()),),
    ),
    (
        "resty_metrics_worker_unacked_batches",
        "Batches that wait for the collector's answer.",
        (("unacked_batches", ()),),
    ),
    (
        "resty_metrics_worker_unacked_bytes",
        "Size of the batches that wait for an answer.",
        (("unacked_bytes", ()),),
    ),
    (
        "resty_metrics_worker_timers",
        "Timers of ngx_lua by state.",
        (("timers_pending", (("state", "pending"),)), ("timers_running", (("state", "running"),))),
    ),
    ("resty_metrics_worker_rows", "Request rows that the worker holds.", (("rows", ()),)),
    ("resty_metrics_worker_uptime_seconds", "Time since the worker began.", (("uptime_seconds", ()),)),
)

# dataclasses.astuple copies deeply: it takes 30 times as long.
_COUNTERS = attrgetter("accepted", "handled", "requests", "active", "reading", "writing", "waiting")
_NOT_ADDED_UP = "uptime_seconds"


class Gauge(NamedTuple):
    """A gauge of one nginx, as yet without the name of that."""

    name: str
    help: str
    series: Mapping[Label, float]


def master_label(master: Master) -> str:
    """Return ``<pid>-<birth>``, the label of a master process, as the Lua module writes it."""
    return f"{master.pid}-{master.birth}"


def of_newest_master(beats: Iterable[LiveHeartbeat]) -> list[LiveHeartbeat]:
    """Return the beats of the master born last, newest first."""
    newest, own = -1, list[LiveHeartbeat]()
    for beat in beats:
        master = beat.heartbeat.master
        if beat.held or master is None or master.birth is None or master.birth < newest:
            continue
        if master.birth > newest:
            newest, own = master.birth, []
        own.append(beat)
    return sorted(own, key=attrgetter("last_seen"), reverse=True)


def stub_status(beats: Iterable[LiveHeartbeat]) -> StubStatus | None:
    """Return nginx's own counters, from the newest beat of the newest master; None where no recent beat has them.

    A beat that is two periods old or more is no proof that nginx runs. ``nginx_up`` is then absent, never 0: the
    workers of an nginx that was reloaded and waits for its first request are as silent as those of one that was killed.
    """
    for beat in of_newest_master(beat for beat in beats if beat.recent):
        values = None if beat.heartbeat.nginx is None else _COUNTERS(beat.heartbeat.nginx)
        if values is not None and None not in values:
            return StubStatus(*values)
    return None


def newest_master(beats: Iterable[LiveHeartbeat]) -> str | None:
    """Return the label of the master born last."""
    for beat in of_newest_master(beats):
        if beat.heartbeat.master is not None:
            return master_label(beat.heartbeat.master)
    return None


def requests_begun(beats: Iterable[LiveHeartbeat]) -> dict[str, int]:
    """Return the requests that nginx itself counted, by master, from each master's newest beat."""
    begun: dict[str, int] = {}
    for beat in sorted((beat for beat in beats if not beat.held), key=lambda beat: beat.last_seen):
        heartbeat = beat.heartbeat
        if heartbeat.master is not None and heartbeat.nginx is not None and heartbeat.nginx.requests is not None:
            begun[master_label(heartbeat.master)] = heartbeat.nginx.requests
    return begun


def families(beats: Iterable[LiveHeartbeat]) -> list[MetricFamily]:
    """Do all of ``in_steps`` at once."""
    return finish(in_steps(beats))


def in_steps(beats: Iterable[LiveHeartbeat]) -> Steps[list[MetricFamily]]:
    """Return all gauges of the workers that are alive, instance by instance."""
    metrics: list[MetricFamily] = []
    for instance, own_beats in instances.by_instance(beats).items():
        yield
        for make in (_gauges, _counts, _configuration, _dicts, _versions):
            for gauge in make(own_beats):
                metrics.append((yield from _family(instance, gauge)))
        metrics.append(_begun(instance, own_beats))
    return metrics


def _gauges(beats: list[LiveHeartbeat]) -> Iterator[Gauge]:
    reports = [
        (str(beat.heartbeat.worker), beat.heartbeat.gauges) for beat in beats if beat.heartbeat.worker is not None
    ]
    for name, text, fields in _GAUGES:
        series: dict[Label, float] = {}
        for field, more in fields:
            for worker, gauges in reports:
                value = None if gauges is None else getattr(gauges, field)
                if value is not None:
                    labels = (("worker", worker), *more)
                    series[labels] = _together(field, value, series.get(labels))
        yield Gauge(name, f"{text} {_how(name)}", series)


def _together(field: str, value: float, total: float | None) -> float:
    if total is None:
        return value
    return max(value, total) if field == _NOT_ADDED_UP else value + total


def _how(name: str) -> str:
    how = "the greatest" if name.endswith(_NOT_ADDED_UP) else "the sum"
    return f"Of several workers with this id, as during a reload: {how}."


def _family(instance: str, gauge: Gauge) -> Steps[MetricFamily]:
    own_labels = instances.labels_of(instance)
    lines: list[bytes] = []
    for labels, value in gauge.series.items():
        lines.append(sample(gauge.name, {**own_labels, **dict(labels)}, value))
        if len(lines) % _STEP_SAMPLES == 0:
            yield
    return MetricFamily(gauge.name, "gauge", gauge.help, lines, instance=instance)


def _counts(beats: list[LiveHeartbeat]) -> list[Gauge]:
    of_newest = of_newest_master(beats)
    alive = {beat.heartbeat.worker for beat in of_newest if beat.heartbeat.worker is not None}
    expected = next((beat.heartbeat.workers for beat in of_newest if beat.heartbeat.workers is not None), None)
    gauges = []
    if expected is not None:
        text = "Workers that nginx runs (worker_processes), as its newest heartbeat says."
        gauges.append(Gauge("resty_metrics_workers_expected", text, {(): expected}))
        text = "Workers of the newest master whose heartbeat is alive."
        gauges.append(Gauge("resty_metrics_workers_seen", text, {(): len(alive)}))
    return gauges


def _configuration(beats: list[LiveHeartbeat]) -> list[Gauge]:
    """Return the gauges of the newest configuration. During a reload the older workers still report the one before."""
    heartbeats = [beat.heartbeat for beat in of_newest_master(beats) if beat.heartbeat.generation is not None]
    newest = max(heartbeats, key=lambda heartbeat: heartbeat.generation or 0, default=None)
    if newest is None or newest.generation is None:
        return []
    text = "How often this nginx was configured: 1 at its start, one more at each reload after which a worker counted."
    gauges = [Gauge("resty_metrics_nginx_reload_generation", text, {(): newest.generation})]
    if newest.configured is not None:
        text = "When nginx was started or last reloaded successfully."
        name = "resty_metrics_nginx_last_reload_timestamp_seconds"
        gauges.append(Gauge(name, text, {(): newest.configured / 1000}))
    return gauges


def _dicts(beats: list[LiveHeartbeat]) -> list[Gauge]:
    """Return the gauges of shared dictionaries.

    All workers of a master share these, so its newest beat that has them suffices.
    """
    reports = (beat.heartbeat.dicts for beat in of_newest_master(beats))
    dicts = next((dicts_report for dicts_report in reports if dicts_report is not None), ())
    free: dict[Label, float] = {(("dict", clean(name)),): size for name, _, size in dicts}
    capacity: dict[Label, float] = {(("dict", clean(name)),): size for name, size, _ in dicts}
    text = "Size of the free pages of a shared dictionary of nginx."
    return [
        Gauge("resty_metrics_shared_dict_capacity_bytes", "Size of a shared dictionary of nginx.", capacity),
        Gauge("resty_metrics_shared_dict_free_bytes", text, free),
    ]


def _versions(beats: list[LiveHeartbeat]) -> list[Gauge]:
    versions = sorted({clean(beat.heartbeat.module) for beat in beats if beat.heartbeat.module is not None})
    series: dict[Label, float] = {(("version", version),): 1 for version in versions}
    return [Gauge("resty_metrics_lua_info", "Versions of the Lua module that workers run.", series)]


def _begun(instance: str, beats: list[LiveHeartbeat]) -> MetricFamily:
    name = "resty_metrics_requests_begun_total"
    text = "Requests that nginx itself counted (ngx_stat_requests), by master process (pid and start)."
    own_labels = instances.labels_of(instance)
    lines = [sample(name, {**own_labels, "master": master}, value) for master, value in requests_begun(beats).items()]
    return MetricFamily(name, "counter", text, lines, instance=instance)

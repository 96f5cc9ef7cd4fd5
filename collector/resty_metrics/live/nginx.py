"""Facts about each nginx from its workers' heartbeats."""

from collections.abc import Mapping

from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.ingest.senders import Senders
from resty_metrics.live.facts import Nginx, Worker
from resty_metrics.page import instances, workers


def nginxes(senders: Senders, coverage: Mapping[str, float], now: float, wall: float) -> list[Nginx]:
    """Return every known nginx by name; where none is known, a single one without heartbeats.

    ``wall``: Unix seconds.
    """
    beats = instances.by_instance(senders.heartbeats(now))
    known = sorted(senders.instances | beats.keys()) or [""]
    return [_nginx(name, beats.get(name, []), coverage.get(name), wall) for name in known]


def _nginx(name: str, beats: list[LiveHeartbeat], coverage: float | None, wall: float) -> Nginx:
    newest = workers.of_newest_master(beats)
    heartbeats = [beat.heartbeat for beat in newest]
    status = workers.stub_status(beats)
    last = max(heartbeats, key=lambda heartbeat: heartbeat.generation or 0, default=None)
    configured = None if last is None else last.configured
    return Nginx(
        name=name,
        alive=bool(beats),
        workers_expected=next((heartbeat.workers for heartbeat in heartbeats if heartbeat.workers is not None), None),
        workers_seen=len({heartbeat.worker for heartbeat in heartbeats if heartbeat.worker is not None}),
        active=None if status is None else status.active,
        reading=None if status is None else status.reading,
        writing=None if status is None else status.writing,
        waiting=None if status is None else status.waiting,
        coverage=coverage,
        generation=None if last is None else last.generation,
        configured_ago=None if configured is None else max(0.0, wall - configured / 1000),
    )


def workers_of(senders: Senders, now: float) -> list[Worker]:
    """Return every worker whose heartbeat is alive."""
    return [_worker(beat, now) for beat in senders.heartbeats(now)]


def _worker(beat: LiveHeartbeat, now: float) -> Worker:
    heartbeat, gauges = beat.heartbeat, beat.heartbeat.gauges
    return Worker(
        nginx=heartbeat.instance,
        id=heartbeat.worker,
        pid=heartbeat.pid,
        uptime=None if gauges is None else gauges.uptime_seconds,
        heartbeat_age=max(0.0, now - beat.last_seen),
        unacked=None if gauges is None else gauges.unacked_batches,
        memory=None if gauges is None else gauges.lua_memory_bytes,
        exiting=bool(heartbeat.exiting),
    )

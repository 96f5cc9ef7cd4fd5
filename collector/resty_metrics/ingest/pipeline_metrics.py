"""The pipeline's own metrics: datagrams and rows received, refused and lost, and the state of the socket.

Rule: a label whose values are a closed set shows all of them from the start, so that ``increase()`` sees the first
event.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from resty_metrics import __version__
from resty_metrics.endpoint.healing import FAULTS, Fault
from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.ingest.beats import Refusal
from resty_metrics.ingest.drain import INSTANCE_CAP, INTERNAL, Result
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import Reason

_OVERSIZED = "oversized"
_RESULTS = (*get_args(Result), _OVERSIZED)
_REFUSALS = (
    *(reason.name.lower() for reason in Reason if reason is not Reason.NONE),
    *("truncated", "magic", INSTANCE_CAP, _OVERSIZED, INTERNAL),
)
_REFUSING = ("held", "dropped", "unanswerable")


@dataclass(frozen=True, slots=True)
class Socket:
    """The state of the listener's socket at one moment."""

    up: bool
    contended: bool
    standing_by: bool
    rebinds: Mapping[Fault, int]
    failed_rebinds: int
    oversized: int
    without_descriptor: int
    answers_failed: int


def _family(name: str, kind: MetricType, text: str, series: Mapping[tuple[str, str] | None, float]) -> MetricFamily:
    lines = [sample(name, {} if label is None else dict([label]), value) for label, value in series.items()]
    return MetricFamily(name, kind, text, lines)


def _by(label: str, values: Mapping[str, float]) -> dict[tuple[str, str] | None, float]:
    return {(label, name): value for name, value in values.items()}


def _datagrams(intake: Intake, oversized: int) -> list[MetricFamily]:
    results: Counter[str] = Counter(dict.fromkeys(_RESULTS, 0))
    refusals: Counter[str] = Counter(dict.fromkeys(_REFUSALS, 0))
    for (result, reason), count in intake.results.items():
        results[result] += count
        if result in _REFUSING and reason is not None:
            refusals[reason] += count
    results[_OVERSIZED] += oversized
    refusals[_OVERSIZED] += oversized
    return [
        _family(
            "resty_metrics_datagrams_total",
            "counter",
            "Datagrams received, by what became of them.",
            _by("result", results),
        ),
        _family(
            "resty_metrics_refusals_total",
            "counter",
            "Datagrams that were not accepted, by reason.",
            _by("reason", refusals),
        ),
        _family("resty_metrics_datagram_bytes_total", "counter", "Bytes of datagrams received.", {None: intake.bytes}),
    ]


def _rows(intake: Intake, table: Table, lost_by_journal: int) -> list[MetricFamily]:
    return [
        _family(
            "resty_metrics_table_used_ratio",
            "gauge",
            'Part of the room for rows of all families that is taken; from 1 on new label sets are counted as "other".',
            {None: round(table.room.used, 6)},
        ),
        _family(
            "resty_metrics_rows_received_total", "counter", "Rows of accepted batches.", {None: intake.applied_rows}
        ),
        _family(
            "resty_metrics_lost_rows_total",
            "counter",
            "Rows that the collector could not count, by reason.",
            _by("reason", {**_lost_rows(intake, table), "journal": lost_by_journal}),
        ),
        _family(
            "resty_metrics_evicted_instances_total",
            "counter",
            "Nginx, idle for an hour, whose series all ended to make room for others.",
            {None: table.evicted_instances},
        ),
        _family(
            "resty_metrics_evicted_families_total",
            "counter",
            "Families, idle for an hour, whose series ended to make room for another family.",
            {None: table.evicted_families},
        ),
        _family(
            "resty_metrics_lost_state_total",
            "counter",
            "Batches whose worker had been told more than this collector remembers.",
            {None: intake.lost_states},
        ),
    ]


def _gauge_rows(intake: Intake) -> list[MetricFamily]:
    refused: Counter[str] = Counter(dict.fromkeys(get_args(Refusal), 0))
    refused.update(intake.refused_gauge_rows)
    return [
        _family(
            "resty_metrics_heartbeat_rows",
            "gauge",
            "Rows of the user's gauges that the heartbeats of all workers hold.",
            {None: intake.senders.room.held.rows},
        ),
        _family(
            "resty_metrics_heartbeat_rows_refused_total",
            "counter",
            "Rows of the user's gauges that found no room, counted at each heartbeat, by reason.",
            _by("reason", refused),
        ),
    ]


def _lost_rows(intake: Intake, table: Table) -> dict[str, float]:
    return {
        "dropped": intake.lost_rows,
        "family_cap": table.lost_rows,
        "instance_cap": table.refused_rows,
        "type": table.mistyped_rows,
        INTERNAL: table.failed_rows,
    }


def _senders(senders: Senders, now: float) -> list[MetricFamily]:
    text = "Senders of workers, by state; of departed ones, which gave way to new ones, only the marks are left."
    metrics = [_family("resty_metrics_senders", "gauge", text, _by("state", senders.states(now)))]
    if senders.last_datagram is not None:
        metrics.append(
            _family(
                "resty_metrics_last_datagram_age_seconds",
                "gauge",
                "Time since a worker last sent anything.",
                {None: max(0.0, now - senders.last_datagram)},
            )
        )
    return metrics


def _socket(state: Socket) -> list[MetricFamily]:
    return [
        _family(
            "resty_metrics_socket_up",
            "gauge",
            "1 if the file at the socket's path is the collector's, with its mode and owner, and leads to it; else 0.",
            {None: int(state.up)},
        ),
        _family(
            "resty_metrics_socket_contended",
            "gauge",
            "1 while the socket does not stay as it is put back, three times in a row or more; else 0.",
            {None: int(state.contended)},
        ),
        _family(
            "resty_metrics_socket_standby",
            "gauge",
            "1 while another collector holds the lock at the socket's path and this one stands by; else 0.",
            {None: int(state.standing_by)},
        ),
        _family(
            "resty_metrics_socket_rebinds_total",
            "counter",
            "Times the socket was put back, by what had happened to it.",
            _by("reason", {fault: state.rebinds.get(fault, 0) for fault in FAULTS}),
        ),
        _family(
            "resty_metrics_socket_failed_rebinds_total",
            "counter",
            "Times the socket could not be put back.",
            {None: state.failed_rebinds},
        ),
        _family(
            "resty_metrics_answers_failed_total",
            "counter",
            "Answers that a worker could not be given.",
            {None: state.answers_failed},
        ),
        _family(
            "resty_metrics_datagrams_without_descriptor_total",
            "counter",
            "Datagrams that came without a descriptor to answer on, or for which the collector had none left.",
            {None: state.without_descriptor},
        ),
    ]


def families(intake: Intake, socket: Socket, now: float, lost_by_journal: int = 0) -> list[MetricFamily]:
    """Return all of the pipeline's families at ``now`` (seconds of running time).

    ``lost_by_journal``: the number of rows that were missing in the journal at the start.
    """
    return [
        _family("resty_metrics_build_info", "gauge", "Version of the collector.", {("version", __version__): 1}),
        *_socket(socket),
        *_datagrams(intake, socket.oversized),
        *_rows(intake, intake.table, lost_by_journal),
        *_gauge_rows(intake),
        *_senders(intake.senders, now),
    ]

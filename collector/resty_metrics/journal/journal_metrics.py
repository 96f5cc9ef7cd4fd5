"""The journal's own metrics."""

from itertools import accumulate

from prometheus_client.utils import floatToGoString

from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.journal.errors import REASONS
from resty_metrics.journal.tally import COMMIT_BOUNDS, Tally


def _family(name: str, kind: MetricType, text: str, value: float) -> MetricFamily:
    return MetricFamily(name, kind, text, [sample(name, {}, value)])


def families(tally: Tally, now: float) -> list[MetricFamily]:
    """Return all of the journal's families at ``now``, in seconds of the tally's clock.

    The caller leaves them out if no journal is wanted.
    """
    errors = "resty_metrics_journal_errors_total"
    return [
        _family(
            "resty_metrics_journal_up",
            "gauge",
            "1 if what is counted is written to the journal; 0: it is in memory only, see /-/ready.",
            int(tally.up),
        ),
        MetricFamily(
            errors,
            "counter",
            "Times the journal could not be written, or at the start not be read, by reason.",
            [sample(errors, {"reason": reason}, tally.errors[reason]) for reason in REASONS],
        ),
        _family(
            "resty_metrics_journal_lost_records_total",
            "counter",
            "Records of the journal that the start of this process did not find, or could not apply.",
            tally.lost_records,
        ),
        _family("resty_metrics_journal_snapshots_total", "counter", "Snapshots written.", tally.snapshots),
        _family(
            "resty_metrics_journal_snapshot_bytes", "gauge", "Size of the journal's snapshot.", tally.snapshot_bytes
        ),
        _family("resty_metrics_journal_log_bytes", "gauge", "Log records since the snapshot.", tally.log_bytes),
        _family("resty_metrics_journal_pending_records", "gauge", "Records that are not written yet.", tally.pending),
        _family(
            "resty_metrics_journal_pending_seconds",
            "gauge",
            "How long the oldest record has waited that is not written yet; 0 if none does.",
            round(tally.pending_seconds(now), 6),
        ),
        _commits(tally),
    ]


def _commits(tally: Tally) -> MetricFamily:
    name = "resty_metrics_journal_commit_duration_seconds"
    counts = list(accumulate(tally.commits))
    bounds = [*map(floatToGoString, COMMIT_BOUNDS), "+Inf"]
    lines = [sample(f"{name}_bucket", {"le": bound}, count) for bound, count in zip(bounds, counts, strict=True)]
    lines += [sample(f"{name}_sum", {}, tally.commit_seconds), sample(f"{name}_count", {}, counts[-1])]
    return MetricFamily(name, "histogram", "Time to write what was accepted together, until it is safe.", lines)

"""Metric families about the sources: reachable or not, durations and errors."""

from collections.abc import Collection, Mapping, Sequence

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.sources.errors import REASONS
from resty_metrics.sources.fetch import Fetcher, Scrape
from resty_metrics.sources.source import Source


def _labels(source: Source) -> Mapping[str, str]:
    return {"source": source.kind, **source.labels}


_UP = "resty_metrics_source_up"
_UP_HELP = "1 if the source was read for this page (lua: a worker's heartbeat is alive), else 0."


def lua(known: Collection[str], alive: Collection[str]) -> MetricFamily:
    """Return ``up`` of the Lua module for each known nginx: 1 if any of its workers was heard of lately.

    Where none is known, the sample is that of an nginx without a name.
    """
    lines = []
    for instance in sorted(known) or [""]:
        named = {"nginx": instance} if instance else {}
        lines.append(sample(_UP, {"source": "lua", **named}, int(instance in alive)))
    return MetricFamily(_UP, "gauge", _UP_HELP, lines)


def families(scrapes: Sequence[Scrape], fetchers: Sequence[Fetcher]) -> list[MetricFamily]:
    """Return ``up`` and duration of the last fetch of each source, and its errors so far by reason."""
    duration = "resty_metrics_source_duration_seconds"
    errors = "resty_metrics_source_errors_total"
    return [
        MetricFamily(
            _UP,
            "gauge",
            _UP_HELP,
            [sample(_UP, _labels(scrape.source), int(scrape.up)) for scrape in scrapes],
        ),
        MetricFamily(
            duration,
            "gauge",
            "Time that fetching and reading the source took for this page.",
            [sample(duration, _labels(scrape.source), scrape.seconds) for scrape in scrapes],
        ),
        MetricFamily(
            errors,
            "counter",
            "Times that a source could not be fetched or read, by reason.",
            [
                sample(errors, {**_labels(fetcher.source), "reason": reason}, fetcher.errors[reason])
                for fetcher in fetchers
                for reason in REASONS
            ],
        ),
    ]

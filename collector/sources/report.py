"""How the sources fared, as metric families."""

from collections.abc import Mapping, Sequence

from collector.page.exposition import MetricFamily, sample
from collector.sources.errors import REASONS
from collector.sources.fetch import Fetcher, Scrape, Source


def _labels(source: Source) -> Mapping[str, str]:
    return {"source": source.kind, **source.labels}


def families(scrapes: Sequence[Scrape], fetchers: Sequence[Fetcher]) -> list[MetricFamily]:
    """``up`` and duration of the last fetch of each source, and its errors so far by reason."""
    up, duration = "resty_metrics_source_up", "resty_metrics_source_duration_seconds"
    errors = "resty_metrics_source_errors_total"
    return [
        MetricFamily(
            up,
            "gauge",
            "1 if the source was fetched and read for this page, else 0.",
            [sample(up, _labels(scrape.source), int(scrape.up)) for scrape in scrapes],
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

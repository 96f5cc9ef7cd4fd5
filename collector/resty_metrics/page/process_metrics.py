"""Metrics that prometheus-client measures: the collector's process, its log, and the duration of a page."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from resty_metrics.exposition.text import MetricFamily, MetricType, sample

_TYPES: dict[str, MetricType] = {"counter": "counter", "gauge": "gauge", "histogram": "histogram"}


class _DroppedLines(Collector):
    """The counter that a function gives."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        text = "Log lines that were not written, because stderr did not take them."
        yield CounterMetricFamily("resty_metrics_log_dropped_lines", text, value=self._read())


class ProcessMetrics:
    """The metrics of the process.

    Observe ``render_seconds`` for each page. ``dropped_lines`` returns the log's count.
    """

    def __init__(self, dropped_lines: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_DroppedLines(dropped_lines))
        self.render_seconds = Histogram(
            "resty_metrics_render_duration_seconds",
            "Time to put a page together, sources not counted.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
            registry=self._registry,
        )

    def families(self) -> list[MetricFamily]:
        metrics = []
        for metric in self._registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            lines = [sample(point.name, point.labels, _plain(point.value)) for point in metric.samples]
            metrics.append(MetricFamily(name, _TYPES.get(metric.type, "unknown"), metric.documentation, lines))
        return metrics


def _plain(value: float) -> float:
    return int(value) if value == int(value) and abs(value) < 2**53 else value

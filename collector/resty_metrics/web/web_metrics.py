"""The server's own metrics: clients it turned away, and whether the configuration read last is in force."""

from collections.abc import Callable, Mapping
from typing import get_args

from resty_metrics.exposition.text import MetricFamily, MetricType, sample
from resty_metrics.web.tally import Closed, Refused, Tally


def families(tally: Tally, count_scrapers: Callable[[], tuple[int, int]]) -> list[MetricFamily]:
    """Return all families. Every reason is shown from the start, so that ``increase()`` sees its first count.

    ``count_scrapers`` returns how many scrapers are remembered: regular ones, and newcomers.
    """
    return [
        _family("resty_metrics_web_connections", "gauge", "Connections to the page that are open.", tally.connections),
        _by_reason(
            "resty_metrics_web_closed_connections_total",
            "Connections that the server closed before their time, by reason.",
            {reason: tally.closed[reason] for reason in get_args(Closed)},
        ),
        _by_reason(
            "resty_metrics_web_refused_requests_total",
            "Requests that the server did not serve, by reason.",
            {reason: tally.refused[reason] for reason in get_args(Refused)},
        ),
        _family(
            "resty_metrics_config_last_reload_successful",
            "gauge",
            "1 if the configuration that was read last is in force; 0: it was refused, and the one before goes on.",
            int(not tally.wrong),
        ),
        _family(
            "resty_metrics_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When a configuration last came into force.",
            tally.loaded_at,
        ),
        _scrapers(*count_scrapers()),
    ]


def _scrapers(regular: int, newcomers: int) -> MetricFamily:
    name = "resty_metrics_scrapers"
    text = (
        "Prometheus servers of which the collector knows the rows that they have seen: regular ones, which keep coming "
        "back, and newcomers."
    )
    counts = {"regular": regular, "newcomer": newcomers}
    return MetricFamily(name, "gauge", text, [sample(name, {"kind": kind}, count) for kind, count in counts.items()])


def _family(name: str, kind: MetricType, text: str, value: float) -> MetricFamily:
    return MetricFamily(name, kind, text, [sample(name, {}, value)])


def _by_reason(name: str, text: str, counts: Mapping[str, int]) -> MetricFamily:
    return MetricFamily(
        name, "counter", text, [sample(name, {"reason": reason}, count) for reason, count in counts.items()]
    )

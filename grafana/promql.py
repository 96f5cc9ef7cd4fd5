"""Selectors, and the expressions in the panels.

``$job`` is never ``.*``, so that other nginx exporters in the same Prometheus are not counted. ``$nginx`` is ``.*`` at
first, which also matches an nginx without a name: its series have no such label.
"""

from grafana.model import Choice, Mark

HERE = 'job=~"$job", instance=~"$instance"'  # selects all metrics of the chosen collectors
NGINX = f'{HERE}, nginx=~"$nginx"'
REQUESTS = f'{NGINX}, server=~"$server"'
RESPONSES = "nginx_http_responses_total"
DURATION = "nginx_http_request_duration_seconds"
ERRORS = f'{REQUESTS}, status=~"5.."'
MEDIAN = 0.5
PERCENTILES = (MEDIAN, 0.9, 0.99)
TOO_FEW = "fewer than 100 requests in the interval"

INSTANCE_CHOICES = (
    Choice("job", "job", "label_values(resty_metrics_build_info, job)", everything=None),
    Choice("instance", "collector", 'label_values(resty_metrics_build_info{job=~"$job"}, instance)'),
    Choice("nginx", "nginx", f"label_values(resty_metrics_source_up{{{HERE}}}, nginx)"),
)
SERVER_CHOICE = Choice("server", "server", f"label_values({RESPONSES}{{{NGINX}}}, server)")

MARKS = (
    Mark(
        "Reloads",
        f"1000 * max by (instance, nginx) (resty_metrics_nginx_last_reload_timestamp_seconds{{{NGINX}}})",
        "nginx {{nginx}} was started or reloaded ({{instance}})",
        "blue",
        is_time=True,
    ),
    Mark(
        "Rebinds",
        f"sum by (instance, reason) (increase(resty_metrics_socket_rebinds_total{{{HERE}}}[2m])) > 0",
        "the socket of {{instance}} was put back: {{reason}}",
        "red",
    ),
)


def rate(metric: str, labels: str = REQUESTS) -> str:
    """Return the rate of a counter per second."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def total(metric: str, by: str = "", labels: str = REQUESTS) -> str:
    """Return the rate of a counter per second, summed by labels (``a, b``), or over all series."""
    return f"{_sum(by)} ({rate(metric, labels)})"


def grown(metric: str, by: str = "", labels: str = REQUESTS, over: str = "$__range") -> str:
    """Return the increase of a counter in the selected time, summed by labels, or over all series."""
    return f"{_sum(by)} (increase({metric}{{{labels}}}[{over}]))"


def ratio(part: str, whole: str) -> str:
    """Return ``part`` divided by ``whole``: 0 if there is no such part, absent if there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def error_ratio(by: str = "") -> str:
    return ratio(total(RESPONSES, by, ERRORS), total(RESPONSES, by))


def quantile(of: float, histogram: str, by: str = "", labels: str = REQUESTS) -> str:
    """Return a quantile from the summed buckets of all series, by labels."""
    return f"histogram_quantile({of}, {total(f'{histogram}_bucket', f'{by}, le' if by else 'le', labels)})"


def quantile_of_requests(of: float, histogram: str, by: str = "", labels: str = REQUESTS) -> str:
    """Return a quantile as ``quantile`` does, where the interval has enough requests.

    Of fewer than 100 requests a p99 is only the slowest one, of fewer than 10 a p90; a median is shown of any number.
    """
    every = f'{labels}, le="+Inf"'
    count = grown(f"{histogram}_bucket", by, every, over="$__rate_interval")
    enough = f" and {count} >= {round(1 / (1 - of))}" if of > MEDIAN else ""
    return f"{quantile(of, histogram, by, labels)}{enough}"


def mean(histogram: str, by: str = "", labels: str = REQUESTS) -> str:
    return f"{total(f'{histogram}_sum', by, labels)} / ({total(f'{histogram}_count', by, labels)} > 0)"


def buckets(histogram: str, labels: str = REQUESTS) -> str:
    """Return the requests per second in each bucket, for a heatmap."""
    return total(f"{histogram}_bucket", "le", labels)


def top(expression: str) -> str:
    """Return the ten largest values above 0, in descending order."""
    return f"sort_desc(topk(10, {expression} > 0))"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"

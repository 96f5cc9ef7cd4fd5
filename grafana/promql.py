"""Selectors, and the expressions that panels are made of.

``$job`` is never ``.*``, so other exporters of nginx in the same Prometheus are not counted in. ``$nginx`` is at first,
since an nginx without a name has no such label, and ``.*`` matches that too.
"""

from grafana.model import Choice, Mark

HERE = 'job=~"$job", instance=~"$instance"'  # what a collector says of itself
NGINX = f'{HERE}, nginx=~"$nginx"'
REQUESTS = f'{NGINX}, server=~"$server"'
RESPONSES = "nginx_http_responses_total"
DURATION = "nginx_http_request_duration_seconds"
ERRORS = f'{REQUESTS}, status=~"5.."'
PERCENTILES = (0.5, 0.9, 0.99)

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
    """Per second."""
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def total(metric: str, by: str = "", labels: str = REQUESTS) -> str:
    """Per second, added up by labels (``a, b``), or altogether."""
    return f"{_sum(by)} ({rate(metric, labels)})"


def grown(metric: str, by: str = "", labels: str = REQUESTS, over: str = "$__range") -> str:
    """How much was added in the time that is looked at."""
    return f"{_sum(by)} (increase({metric}{{{labels}}}[{over}]))"


def ratio(part: str, whole: str) -> str:
    """``part`` of ``whole``: 0 where there is no such part, absent where there is no whole."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def error_ratio(by: str = "") -> str:
    return ratio(total(RESPONSES, by, ERRORS), total(RESPONSES, by))


def quantile(of: float, histogram: str, by: str = "", labels: str = REQUESTS) -> str:
    """From the buckets of all series together, by labels."""
    return f"histogram_quantile({of}, {total(f'{histogram}_bucket', f'{by}, le' if by else 'le', labels)})"


def mean(histogram: str, by: str = "", labels: str = REQUESTS) -> str:
    return f"{total(f'{histogram}_sum', by, labels)} / ({total(f'{histogram}_count', by, labels)} > 0)"


def buckets(histogram: str, labels: str = REQUESTS) -> str:
    """For a heatmap: requests per second in each."""
    return total(f"{histogram}_bucket", "le", labels)


def top(expression: str) -> str:
    """The ten largest."""
    return f"sort_desc(topk(10, {expression} > 0))"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"

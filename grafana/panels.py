"""What the overview dashboard shows: rows of panels, each with its queries, as plain data.

Rules:
- Every metric is one that the page has; every rate is over ``$__rate_interval``.
- A description says what to do, or how to read the panel, when it looks wrong.
- Units are Grafana's names (``reqps``, ``s``, ``Bps``, ``percentunit``, ``short``).
"""

from dataclasses import dataclass
from typing import Literal

INSTANCE = 'job=~"$job", instance=~"$instance"'
REQUESTS = f'{INSTANCE}, server=~"$server"'
_RESPONSES = "nginx_http_responses_total"
_BUCKETS = "nginx_http_request_duration_seconds_bucket"


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. ``bad``: the value from which on it turns red; ``below``: red below that value instead."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "heatmap"] = "timeseries"
    bad: float | None = None
    below: float | None = None
    width: int = 8  # of 24


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the dashboard; a collapsed one is not queried until it is opened."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


def _rate(metric: str, labels: str = REQUESTS) -> str:
    return f"rate({metric}{{{labels}}}[$__rate_interval])"


def _quantile(quantile: float) -> Query:
    buckets = f"sum by (le) ({_rate(_BUCKETS)})"
    return Query(f"histogram_quantile({quantile}, {buckets})", f"p{quantile * 100:g}")


_ERRORS = f'{REQUESTS}, status=~"5.."'
_CLASS = f'label_replace({_rate(_RESPONSES)}, "class", "${{1}}xx", "status", "(.).*")'

AT_A_GLANCE = Row(
    "At a glance",
    (
        Panel(
            "Requests",
            "Requests that ended, per second. Nothing here while users are served: look at the row Pipeline.",
            "reqps",
            (Query(f"sum({_rate(_RESPONSES)})", "requests"),),
            "stat",
            width=6,
        ),
        Panel(
            "Errors",
            "Of the requests, the part that ended with a status of 500 or above.",
            "percentunit",
            (
                Query(
                    f"(sum({_rate(_RESPONSES, _ERRORS)}) or vector(0)) / sum({_rate(_RESPONSES)})",
                    "5xx",
                ),
            ),
            "stat",
            bad=0.01,
            width=6,
        ),
        Panel(
            "p99",
            "99 of 100 requests took at most this long, upgraded connections and slow clients included.",
            "s",
            (_quantile(0.99),),
            "stat",
            width=6,
        ),
        Panel(
            "Sources up",
            "The least of what the page is made from: 0 if the workers are not heard, or stub_status or vts cannot be "
            "read. Which one, and why, is in the row Pipeline.",
            "short",
            (Query(f"min(resty_metrics_source_up{{{INSTANCE}}})", "sources"),),
            "stat",
            below=1,
            width=6,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Requests by status class",
            "A step to 4xx or 5xx at one moment is a deployment or a peer; compare with the time of reloads.",
            "reqps",
            (Query(f"sum by (class) ({_CLASS})", "{{class}}"),),
        ),
        Panel(
            "Requests by server",
            "By nginx's server_name. `_` is a server without a name: usually the default one, and strangers.",
            "reqps",
            (Query(f"sum by (server) ({_rate(_RESPONSES)})", "{{server}}"),),
        ),
        Panel(
            "Requests by method",
            "`other` is a method that nginx does not know by name.",
            "reqps",
            (Query(f"sum by (method) ({_rate(_RESPONSES)})", "{{method}}"),),
        ),
        Panel(
            "Errors by server and status",
            "Requests that ended with 500 or above. 499 is a client that went away, and is not here.",
            "reqps",
            (Query(f"sum by (server, status) ({_rate(_RESPONSES, _ERRORS)})", "{{server}} {{status}}"),),
        ),
        Panel(
            "Bytes received",
            "Request lines, headers and bodies.",
            "Bps",
            (Query(f"sum by (server) ({_rate('nginx_http_request_bytes_total')})", "{{server}}"),),
        ),
        Panel(
            "Bytes sent",
            "Headers and bodies, as they left for the client.",
            "Bps",
            (Query(f"sum by (server) ({_rate('nginx_http_response_bytes_total')})", "{{server}}"),),
        ),
    ),
)

LATENCY = Row(
    "Latency",
    (
        Panel(
            "Percentiles",
            "From the histogram's buckets: a percentile is only as exact as the bucket it falls into.",
            "s",
            tuple(_quantile(quantile) for quantile in (0.5, 0.9, 0.99)),
        ),
        Panel(
            "Mean by server",
            "Sum of durations by number of requests. Far above the median: a few requests are very slow.",
            "s",
            (
                Query(
                    f"sum by (server) ({_rate('nginx_http_request_duration_seconds_sum')})"
                    f" / sum by (server) ({_rate('nginx_http_request_duration_seconds_count')})",
                    "{{server}}",
                ),
            ),
        ),
        Panel(
            "Distribution",
            "How many requests took how long. Two bands are two kinds of request, such as cached and not.",
            "s",
            (Query(f"sum by (le) (increase({_BUCKETS}{{{REQUESTS}}}[$__rate_interval]))", "{{le}}"),),
            "heatmap",
        ),
    ),
)

CONNECTIONS = Row(
    "Connections",
    (
        Panel(
            "By state",
            "Many writing and few requests: slow clients or upgraded connections. Waiting is keepalive.",
            "short",
            tuple(
                Query(f"sum(nginx_connections_{state}{{{INSTANCE}}})", state)
                for state in ("reading", "writing", "waiting")
            ),
        ),
        Panel(
            "Accepted",
            "New connections per second. Near the rate of requests: clients do not reuse connections.",
            "cps",
            (Query(f"sum({_rate('nginx_connections_accepted', INSTANCE)})", "accepted"),),
        ),
        Panel(
            "Dropped",
            "Accepted and not handled, per second. Above 0: raise worker_connections.",
            "cps",
            (
                Query(
                    f"sum({_rate('nginx_connections_accepted', INSTANCE)})"
                    f" - sum({_rate('nginx_connections_handled', INSTANCE)})",
                    "dropped",
                ),
            ),
            bad=1,
        ),
    ),
)

PIPELINE = Row(
    "Pipeline",
    (
        Panel(
            "Socket",
            "0: the file at the socket's path is not the collector's, or not with its mode and owner. The collector's "
            "log and /-/ready say which.",
            "short",
            (Query(f"min(resty_metrics_socket_up{{{INSTANCE}}})", "socket"),),
            "stat",
            below=1,
            width=4,
        ),
        Panel(
            "Coverage",
            "Of the requests that nginx finished, the part that was counted. Below 1: a log_by_lua of a server or "
            "location replaces the hook; see the README, Hooks of your own.",
            "percentunit",
            (Query(f"min(resty_metrics_coverage_ratio{{{INSTANCE}}})", "coverage"),),
            "stat",
            below=0.99,
            width=4,
        ),
        Panel(
            "Workers not heard",
            "Workers that nginx runs and that send no heartbeat. Without lifecycle.conf, a worker that has served "
            "nothing is one of them.",
            "short",
            (
                Query(
                    f"sum(resty_metrics_workers_expected{{{INSTANCE}}})"
                    f" - sum(resty_metrics_workers_seen{{{INSTANCE}}})",
                    "workers",
                ),
            ),
            "stat",
            bad=1,
            width=4,
        ),
        Panel(
            "Last datagram",
            "Time since any worker sent anything. With lifecycle.conf it stays below 5 s.",
            "s",
            (Query(f"max(resty_metrics_last_datagram_age_seconds{{{INSTANCE}}})", "age"),),
            "stat",
            bad=15,
            width=4,
        ),
        Panel(
            "Lost rows",
            "Rows lost in the last hour, on either side. Each reason is explained in the HELP of its metric.",
            "short",
            (
                Query(
                    f"(sum(increase(resty_metrics_lost_rows_total{{{INSTANCE}}}[1h])) or vector(0))"
                    f" + (sum(increase(resty_metrics_worker_lost_rows_total{{{INSTANCE}}}[1h])) or vector(0))",
                    "rows",
                ),
            ),
            "stat",
            bad=1,
            width=4,
        ),
        Panel(
            "Rows",
            "Label sets in the collector's table, by family. Growth without end is a label with too many values.",
            "short",
            (Query(f"sum by (family) (resty_metrics_rows{{{INSTANCE}}})", "{{family}}"),),
            "stat",
            width=4,
        ),
        Panel(
            "Sources",
            "1 where the source is read. lua: a worker's heartbeat is alive.",
            "short",
            (Query(f"resty_metrics_source_up{{{INSTANCE}}}", "{{instance}} {{source}}"),),
        ),
        Panel(
            "Errors of sources",
            "Why a source could not be read. timeout and refused: its server; parse: its document.",
            "short",
            (
                Query(
                    f"sum by (source, reason) ({_rate('resty_metrics_source_errors_total', INSTANCE)}) > 0",
                    "{{source}} {{reason}}",
                ),
            ),
        ),
        Panel(
            "Errors of sending",
            "Failures of workers to reach the collector, by errno. ECONNREFUSED or ENOENT: it does not run, or another "
            "took its socket; EACCES: see --socket.mode; EAGAIN: it reads too slowly.",
            "short",
            (Query(f"sum by (reason) ({_rate('resty_metrics_worker_send_errors_total', INSTANCE)})", "{{reason}}"),),
        ),
        Panel(
            "Refused datagrams",
            "uid: start the collector with --socket.allow-uid; version: update it; invalid: please report it.",
            "short",
            (Query(f"sum by (reason) ({_rate('resty_metrics_refusals_total', INSTANCE)}) > 0", "{{reason}}"),),
        ),
        Panel(
            "Unacknowledged",
            "Batches that wait in the workers. It grows while the collector is away, up to 4 MiB a worker; nothing is "
            "lost meanwhile.",
            "short",
            (Query(f"sum by (worker) (resty_metrics_worker_unacked_batches{{{INSTANCE}}})", "worker {{worker}}"),),
        ),
        Panel(
            "Counted under other",
            "Label sets beyond the cap, by family: a label has too many values.",
            "short",
            (Query(f"sum by (family) ({_rate('resty_metrics_overflow_rows_total', INSTANCE)})", "{{family}}"),),
        ),
    ),
)

VTS = Row(
    "vts",
    (
        Panel(
            "Requests by host and code",
            "The vts module's own count, for those who have it.",
            "reqps",
            (
                Query(
                    f"sum by (host, code) ({_rate('nginx_vts_server_requests_total', INSTANCE)})", "{{host}} {{code}}"
                ),
            ),
        ),
        Panel(
            "Upstream response time",
            "Mean by peer, as vts has it.",
            "s",
            (Query(f"nginx_vts_upstream_response_seconds{{{INSTANCE}}}", "{{upstream}} {{backend}}"),),
        ),
        Panel(
            "Cache",
            "Requests by cache status.",
            "reqps",
            (
                Query(
                    f"sum by (host, status) ({_rate('nginx_vts_server_cache_total', INSTANCE)})", "{{host}} {{status}}"
                ),
            ),
        ),
    ),
    collapsed=True,
)

ROWS = (AT_A_GLANCE, TRAFFIC, LATENCY, CONNECTIONS, PIPELINE, VTS)

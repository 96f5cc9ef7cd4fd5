"""Rate, errors and duration by server; nginx's connections and workers."""

from grafana.model import Dashboard, Panel, Query, Row
from grafana.promql import (
    DURATION,
    ERRORS,
    HERE,
    INSTANCE_CHOICES,
    NGINX,
    RESPONSES,
    SERVER_CHOICE,
    TOO_FEW,
    error_ratio,
    quantile,
    quantile_of_requests,
    rate,
    total,
)

_DETAIL = "resty-metrics-requests"
_SERVER = "{{server}} {{nginx}}"
_CLASS = f'label_replace({rate(RESPONSES)}, "class", "${{1}}xx", "status", "(.).*")'
_WELL = " * ".join(f"min(resty_metrics_{what}{{{HERE}}})" for what in ("socket_up", "journal_up", "source_up"))
_ACCEPTED = total("nginx_connections_accepted", labels=NGINX)
_HANDLED = total("nginx_connections_handled", labels=NGINX)

AT_A_GLANCE = Row(
    "At a glance",
    (
        Panel(
            "Requests",
            "Requests that ended, per second. Nothing here while users are served: open Pipeline health.",
            "reqps",
            (Query(total(RESPONSES), "requests"),),
            "stat",
            width=4,
        ),
        Panel(
            "Errors",
            "Of the requests, the part that ended with a status of 500 or above. Red from 5 % on, as the alert "
            "NginxErrorRatioHigh: look below at which server, then at Upstreams for 502, 503 and 504, at the "
            "application's log for 500.",
            "percentunit",
            (Query(error_ratio(), "5xx"),),
            "stat",
            width=4,
            bad=0.05,
        ),
        Panel(
            "p50",
            "Half of the requests took at most this long. Where it rises with the p99, all is slow, not some: look "
            "at the event loop below, then at Upstreams.",
            "s",
            (Query(quantile_of_requests(0.5, DURATION), "p50"),),
            "stat",
            width=4,
        ),
        Panel(
            "p99",
            "99 of 100 requests took at most this long, slow clients included. If it rises: Upstreams shows whether "
            "they are slow, the lag of the event loop below whether nginx is.",
            "s",
            (Query(quantile_of_requests(0.99, DURATION), "p99"),),
            "stat",
            width=4,
            none=TOO_FEW,
        ),
        Panel(
            "Active connections",
            "Open connections of clients, idle ones included. Near worker_processes x worker_connections nginx "
            "refuses more: raise worker_connections.",
            "short",
            (Query(f"sum(nginx_connections_active{{{NGINX}}})", "connections"),),
            "stat",
            width=4,
        ),
        Panel(
            "Pipeline",
            "1: every collector answers, has its socket and its journal, and reads its sources. 0: one does not; "
            "Pipeline health says which, and `resty-metrics doctor` on the host of nginx why.",
            "short",
            (Query(f"min(up{{{HERE}}}) * ({_WELL}) or min(up{{{HERE}}})", "pipeline"),),
            "stat",
            width=4,
            below=1,
            opens="resty-metrics-pipeline",
        ),
    ),
)

BY_SERVER = Row(
    "By server",
    (
        Panel(
            "Servers",
            "By nginx's server_name, as of now. `_` is a server without a name: usually the default one, and "
            "strangers. A click opens Request detail for that server.",
            "short",
            (
                Query(total(RESPONSES, "server, nginx"), "requests", "reqps"),
                Query(error_ratio("server, nginx"), "errors", "percentunit"),
                Query(quantile_of_requests(0.5, DURATION, "server, nginx"), "p50", "s"),
                Query(quantile_of_requests(0.99, DURATION, "server, nginx"), "p99", "s"),
            ),
            "table",
            width=24,
            opens=_DETAIL,
        ),
        Panel(
            "Requests by server",
            "A fall to nothing of one server alone: its name, DNS or certificate. Of all: the network before nginx, "
            "or the pipeline (Pipeline health compares nginx's own count).",
            "reqps",
            (Query(total(RESPONSES, "server, nginx"), _SERVER),),
            opens=_DETAIL,
        ),
        Panel(
            "Error ratio by server",
            "5xx among the requests of each server. A step at a reload's mark: take the change back.",
            "percentunit",
            (Query(error_ratio("server, nginx"), _SERVER),),
            opens=_DETAIL,
        ),
        Panel(
            "p99 by server",
            "Long polls and downloads belong into a scope of their own (docs/labels.md), else they are the p99.",
            "s",
            (Query(quantile_of_requests(0.99, DURATION, "server, nginx"), _SERVER),),
            none=TOO_FEW,
            opens=_DETAIL,
        ),
    ),
)

TRAFFIC = Row(
    "Traffic",
    (
        Panel(
            "Requests by status class",
            "A step to 4xx or 5xx at one moment is a deployment or a peer; compare with the marks of reloads.",
            "reqps",
            (Query(f"sum by (class) ({_CLASS})", "{{class}}"),),
            stacked=True,
        ),
        Panel(
            "Errors by server and status",
            "502, 503, 504: see Upstreams. 500 with few attempts there: nginx's own error log. 499 is a client that "
            "went away, and is not here.",
            "reqps",
            (Query(total(RESPONSES, "server, nginx, status", ERRORS), "{{server}} {{status}} {{nginx}}"),),
            none="no 5xx",
            opens=_DETAIL,
        ),
        Panel(
            "Bytes",
            "Request lines, headers and bodies, as they came and went. Flat at the top: the link is full.",
            "Bps",
            (
                Query(total("nginx_http_response_bytes_total"), "sent"),
                Query(total("nginx_http_request_bytes_total"), "received"),
            ),
        ),
    ),
)

NGINX_ITSELF = Row(
    "nginx itself",
    (
        Panel(
            "Connections by state",
            "Many writing and few requests: slow clients or upgraded connections. Waiting is keepalive; much of it "
            "is memory: shorten keepalive_timeout.",
            "short",
            tuple(
                Query(f"sum(nginx_connections_{state}{{{NGINX}}})", state)
                for state in ("reading", "writing", "waiting")
            ),
        ),
        Panel(
            "Connections accepted and dropped",
            "Accepted near the rate of requests: clients do not reuse connections. Dropped above 0: raise "
            "worker_connections, or the limit of open files.",
            "cps",
            (Query(_ACCEPTED, "accepted"), Query(f"{_ACCEPTED} - {_HANDLED}", "dropped")),
        ),
        Panel(
            "Workers",
            "Workers that nginx runs, and those that are heard. Without lifecycle.conf a worker that has served "
            "nothing is not heard; else its error log says why.",
            "short",
            (
                Query(f"sum by (nginx) (resty_metrics_workers_expected{{{NGINX}}})", "expected {{nginx}}"),
                Query(f"sum by (nginx) (resty_metrics_workers_seen{{{NGINX}}})", "heard {{nginx}}"),
            ),
        ),
        Panel(
            "Lag of the event loop, p99",
            "How late a worker's timer runs. Above 0.1 s something blocks it, and all its connections wait: Lua that "
            "reads files, a slow disk, no CPU to spare.",
            "s",
            (
                Query(
                    quantile(0.99, "resty_metrics_worker_event_loop_lag_seconds", "instance, nginx, worker", NGINX),
                    "{{nginx}} {{worker}} ({{instance}})",
                ),
            ),
        ),
        Panel(
            "Uptime of workers",
            "Falls to 0 at a reload, which has a mark. A fall without one is a worker that died: see nginx's error "
            "log for `exited on signal`.",
            "s",
            (
                Query(
                    f"min by (instance, nginx, worker) (resty_metrics_worker_uptime_seconds{{{NGINX}}})",
                    "{{nginx}} {{worker}} ({{instance}})",
                ),
            ),
        ),
        Panel(
            "Since the last reload",
            "Time since nginx was started or last reloaded successfully. Longer than since your last deployment: "
            "the reload failed; run `nginx -t`.",
            "s",
            (
                Query(
                    f"time() - max by (instance, nginx) (resty_metrics_nginx_last_reload_timestamp_seconds{{{NGINX}}})",
                    "{{nginx}} ({{instance}})",
                ),
            ),
        ),
    ),
)

OVERVIEW = Dashboard(
    "overview",
    "Overview",
    "Rate, errors and duration by server; nginx's connections and workers.",
    (AT_A_GLANCE, BY_SERVER, TRAFFIC, NGINX_ITSELF),
    (*INSTANCE_CHOICES, SERVER_CHOICE),
)

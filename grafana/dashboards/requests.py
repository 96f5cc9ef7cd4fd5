"""Requests in detail: duration, status, method, a label of the user's, sizes, the largest.

The label is typed into the variable ``by`` (``route`` at first). Where no request has it, its panels say so.
"""

from grafana.model import Choice, Dashboard, Panel, Query, Row
from grafana.promql import (
    DURATION,
    ERRORS,
    INSTANCE_CHOICES,
    PERCENTILES,
    REQUESTS,
    RESPONSES,
    SERVER_CHOICE,
    TOO_FEW,
    buckets,
    grown,
    mean,
    quantile_of_requests,
    rate,
    ratio,
    top,
    total,
)

_SERVER = "{{server}} {{nginx}}"
_UPGRADED = "nginx_http_upgraded_connection_duration_seconds"
_CLASS = f'label_replace({rate(RESPONSES)}, "class", "${{1}}xx", "status", "(.).*")'
_LABELLED = f'{REQUESTS}, $by!=""'
_LABELLED_ERRORS = f'{ERRORS}, $by!=""'
_VALUE = "{{server}} {{$by}}"
_NO_LABEL = "no request has this label: see docs/labels.md"
_RECEIVED, _SENT = "nginx_http_request_bytes_total", "nginx_http_response_bytes_total"

DURATIONS = Row(
    "Duration",
    (
        Panel(
            "Distribution",
            "How many requests a second took how long. Two bands are two kinds of request, such as cached and not; "
            "a band that climbs is a queue that fills.",
            "s",
            (Query(buckets(DURATION), "{{le}}"),),
            "heatmap",
            width=12,
        ),
        Panel(
            "Percentiles",
            "From the histogram's buckets: a percentile is only as exact as the bucket it falls into. Buckets of "
            "your own: docs/labels.md.",
            "s",
            tuple(Query(quantile_of_requests(of, DURATION), f"p{of * 100:g}") for of in PERCENTILES),
            width=12,
        ),
        Panel(
            "Mean by server",
            "Sum of durations by number of requests. Far above the median: a few requests are very slow; the "
            "heatmap has them.",
            "s",
            (Query(mean(DURATION, "server, nginx"), _SERVER),),
        ),
        Panel(
            "p99 by method",
            "Slow POST and PUT with fast GET: uploads, or what writes behind nginx. Durations have the label `method` "
            "where $resty_metrics_duration_labels has it: docs/labels.md.",
            "s",
            (Query(quantile_of_requests(0.99, DURATION, "method", f'{REQUESTS}, method!=""'), "{{method}}"),),
            none=f"durations have no label method (docs/labels.md); or {TOO_FEW}",
        ),
        Panel(
            "p99 by status",
            "By class of the status, and by status where durations have that label (docs/labels.md). 5xx at a round "
            "number is a timeout of nginx (proxy_read_timeout); 4xx near it may be clients with a shorter one (499).",
            "s",
            (Query(quantile_of_requests(0.99, DURATION, "status_class, status"), "{{status_class}} {{status}}"),),
            none=TOO_FEW,
        ),
    ),
)

STATUS = Row(
    "Status and method",
    (
        Panel(
            "By status",
            "499: the client went away before the answer. 400 and 408 in numbers: scanners, or a balancer that opens "
            "connections and sends nothing.",
            "reqps",
            (Query(total(RESPONSES, "status"), "{{status}}"),),
            stacked=True,
        ),
        Panel(
            "Share by class",
            "Of the requests, the part of each class. It does not move with traffic; a step is a change.",
            "percentunit",
            (Query(f"sum by (class) ({_CLASS}) / on () group_left () ({total(RESPONSES)} > 0)", "{{class}}"),),
        ),
        Panel(
            "By method",
            "`other` is a method that nginx does not know by name: usually strangers.",
            "reqps",
            (Query(total(RESPONSES, "method"), "{{method}}"),),
        ),
    ),
)

LABELLED = Row(
    "By a label of yours ($by)",
    (
        Panel(
            "Requests by $by",
            "By the label that is typed above: `route` if you made it as in docs/labels.md, or tenant, country. "
            "`other`: beyond the cap of 10,000 rows, or your map's own.",
            "reqps",
            (Query(total(RESPONSES, "server, $by", _LABELLED), _VALUE),),
            none=_NO_LABEL,
        ),
        Panel(
            "Error ratio by $by",
            "One value alone: what stands behind it. All together: a peer, or nginx.",
            "percentunit",
            (
                Query(
                    ratio(
                        total(RESPONSES, "server, $by", _LABELLED_ERRORS), total(RESPONSES, "server, $by", _LABELLED)
                    ),
                    _VALUE,
                ),
            ),
            none=_NO_LABEL,
        ),
        Panel(
            "p99 by $by",
            "The slowest of your values. A value with fewer than 100 requests in the interval has no p99. Durations "
            "have all labels of yours where $resty_metrics_duration_labels does not choose others.",
            "s",
            (Query(quantile_of_requests(0.99, DURATION, "server, $by", _LABELLED), _VALUE),),
            none=f"{_NO_LABEL}; or {TOO_FEW}",
        ),
    ),
)

SIZES = Row(
    "Sizes",
    (
        Panel(
            "Bytes sent",
            "Headers and bodies, as they left for the client. More bytes with as many requests: see the mean.",
            "Bps",
            (Query(total(_SENT, "server, nginx"), _SERVER),),
            width=6,
        ),
        Panel(
            "Bytes received",
            "Request lines, headers and bodies. A burst is uploads: client_max_body_size and limit_req bound them.",
            "Bps",
            (Query(total(_RECEIVED, "server, nginx"), _SERVER),),
            width=6,
        ),
        Panel(
            "Mean response",
            "Bytes sent for each request. A step upwards: compression was lost, or a page has grown.",
            "bytes",
            (
                Query(
                    f"{total(_SENT, 'server, nginx')} / ({total(RESPONSES, 'server, nginx')} > 0)",
                    _SERVER,
                ),
            ),
            width=6,
        ),
        Panel(
            "Mean request",
            "Bytes received for each request. Growth without uploads: cookies.",
            "bytes",
            (
                Query(
                    f"{total(_RECEIVED, 'server, nginx')} / ({total(RESPONSES, 'server, nginx')} > 0)",
                    _SERVER,
                ),
            ),
            width=6,
        ),
    ),
)

LARGEST = Row(
    "The largest, over the time that is shown",
    (
        Panel(
            "Most requests",
            "Where a cache or a limit would save most.",
            "short",
            (
                Query(
                    top(grown(RESPONSES, "server, nginx, method, status")), "{{server}} {{method}} {{status}} {{nginx}}"
                ),
            ),
            "top",
            width=6,
        ),
        Panel(
            "Most errors",
            "Begin here after an incident: which server failed most, and how.",
            "short",
            (
                Query(
                    top(grown(RESPONSES, "server, nginx, method, status", ERRORS)),
                    "{{server}} {{method}} {{status}} {{nginx}}",
                ),
            ),
            "top",
            width=6,
            none="no 5xx",
        ),
        Panel(
            "Most time",
            "Sum of durations: what keeps connections busy. Worth making faster first. By class of the status: a 5xx "
            "here is a timeout that clients wait for.",
            "s",
            (
                Query(
                    top(grown(f"{DURATION}_sum", "server, nginx, status_class")),
                    "{{server}} {{status_class}} {{nginx}}",
                ),
            ),
            "top",
            width=6,
        ),
        Panel(
            "Most bytes sent",
            "What fills the link. Worth compressing or caching outside first.",
            "bytes",
            (Query(top(grown(_SENT, "server, nginx, method")), "{{server}} {{method}} {{nginx}}"),),
            "top",
            width=6,
        ),
    ),
)

UPGRADED = Row(
    "Upgraded connections (101)",
    (
        Panel(
            "Ended",
            "Upgraded connections (WebSocket and others) that ended, per second. A burst at a reload is "
            "worker_shutdown_timeout.",
            "cps",
            (Query(total(f"{_UPGRADED}_count", "server, nginx"), _SERVER),),
            width=12,
            none="no upgraded connection",
        ),
        Panel(
            "Lifetime",
            "How long they lived. All near one value: a timeout (proxy_read_timeout) ends them; have the client send "
            "pings.",
            "s",
            tuple(Query(quantile_of_requests(of, _UPGRADED), f"p{of * 100:g}") for of in PERCENTILES),
            width=12,
            none="no upgraded connection",
        ),
    ),
)

REQUEST_DETAIL = Dashboard(
    "requests",
    "Request detail",
    "Duration, status, method, a label of yours, sizes, and the largest.",
    (DURATIONS, STATUS, LABELLED, SIZES, LARGEST, UPGRADED),
    (*INSTANCE_CHOICES, SERVER_CHOICE, Choice("by", "label of yours", text="route")),
)

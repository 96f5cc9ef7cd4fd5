"""Upstreams: every attempt, retries, latency by phase, peers; and the cache.

Its metrics are there with ``nginx.conf.d/upstreams.conf``.
"""

from grafana.model import Choice, Dashboard, Panel, Query, Row
from grafana.promql import (
    INSTANCE_CHOICES,
    NGINX,
    PERCENTILES,
    REQUESTS,
    SERVER_CHOICE,
    TOO_FEW,
    buckets,
    mean,
    quantile_of_requests,
    ratio,
    total,
)

_UPSTREAM = f'{NGINX}, upstream=~"$upstream"'
_FAILED = f'{_UPSTREAM}, status=~"5..|-"'
_ATTEMPTS = "nginx_http_upstream_attempts_total"
_RETRIES = "nginx_http_upstream_retries_total"
_CACHE = "nginx_http_cache_requests_total"
_PHASES = ("connect", "header", "response")
_NAME = "{{upstream}} {{nginx}}"
_PEER = "{{upstream}} {{peer}} {{nginx}}"
_NO_UPSTREAM = "no attempts: include upstreams.conf, see docs/labels.md"
_OF_PEER = "upstream, peer, nginx"


def _histogram(phase: str) -> str:
    return f"nginx_http_upstream_{phase}_duration_seconds"


def _failures(by: str = "") -> str:
    return ratio(total(_ATTEMPTS, by, _FAILED), total(_ATTEMPTS, by, _UPSTREAM))


def _retried(by: str = "") -> str:
    return ratio(total(_RETRIES, by, _UPSTREAM), total(_ATTEMPTS, by, _UPSTREAM))


AT_A_GLANCE = Row(
    "At a glance",
    (
        Panel(
            "Attempts",
            "Attempts at peers, per second: a request that is retried makes several, one from the cache none.",
            "reqps",
            (Query(total(_ATTEMPTS, labels=_UPSTREAM), "attempts"),),
            "stat",
            width=6,
            none=_NO_UPSTREAM,
        ),
        Panel(
            "Failed attempts",
            "5xx, or no status at all (refused, reset, timed out). Clients see less of it while nginx finds another "
            "peer. Which peer it is: below.",
            "percentunit",
            (Query(_failures(), "failed"),),
            "stat",
            width=6,
            bad=0.01,
        ),
        Panel(
            "Retries",
            "Of the attempts, the part that was not the first of its request. Each makes a client wait longer.",
            "percentunit",
            (Query(_retried(), "retries"),),
            "stat",
            width=6,
            bad=0.01,
        ),
        Panel(
            "p99 of the answer",
            "99 of 100 attempts had their whole answer after this time. If it rises: the phases below say which part.",
            "s",
            (Query(quantile_of_requests(0.99, _histogram("response"), labels=_UPSTREAM), "p99"),),
            "stat",
            width=6,
            none=TOO_FEW,
        ),
    ),
)

ATTEMPTS = Row(
    "Attempts",
    (
        Panel(
            "By upstream",
            "`_`: a name that nginx does not tell. docs/labels.md has how to give it.",
            "reqps",
            (Query(total(_ATTEMPTS, "upstream, nginx", _UPSTREAM), _NAME),),
            none=_NO_UPSTREAM,
        ),
        Panel(
            "By status",
            "`-` is an attempt without an answer: refused, reset or timed out. nginx's error log names each.",
            "reqps",
            (Query(total(_ATTEMPTS, "upstream, status", _UPSTREAM), "{{upstream}} {{status}}"),),
            stacked=True,
        ),
        Panel(
            "Retries by upstream",
            "nginx went on to another peer (proxy_next_upstream). As many as attempts at one peer: take that one out.",
            "reqps",
            (Query(total(_RETRIES, "upstream, nginx", _UPSTREAM), _NAME),),
        ),
    ),
)

PEERS = Row(
    "Peers",
    (
        Panel(
            "Peers",
            "As of now. A peer with failures among good ones: its own log and load, or the network to it. No "
            "attempts at all: nginx leaves it alone for fail_timeout after max_fails.",
            "short",
            (
                Query(total(_ATTEMPTS, _OF_PEER, _UPSTREAM), "attempts", "reqps"),
                Query(_failures(_OF_PEER), "failed", "percentunit"),
            ),
            "table",
            width=8,
        ),
        Panel(
            "Attempts by peer",
            "Uneven where it should be even: a peer is marked as down, or keepalive and hashing bind clients to it.",
            "reqps",
            (Query(total(_ATTEMPTS, _OF_PEER, _UPSTREAM), _PEER),),
        ),
        Panel(
            "Failed attempts by peer",
            "Above a fifth NginxUpstreamPeerFailing fires: docs/runbook.md. 100 % of one peer: it is down; take it "
            "out.",
            "percentunit",
            (Query(_failures(_OF_PEER), _PEER),),
        ),
    ),
)

LATENCY = Row(
    "Latency by phase",
    (
        Panel(
            "p50 by phase",
            "connect: the network, or a full backlog. From connect to header: the application. From header to "
            "response: the size of the answer.",
            "s",
            tuple(Query(quantile_of_requests(0.5, _histogram(phase), labels=_UPSTREAM), phase) for phase in _PHASES),
        ),
        Panel(
            "p99 by phase",
            "connect near 1 or 3 s are lost SYNs: raise the backlog of the peer, or look for a firewall's table "
            "that is full.",
            "s",
            tuple(Query(quantile_of_requests(0.99, _histogram(phase), labels=_UPSTREAM), phase) for phase in _PHASES),
            none=TOO_FEW,
        ),
        Panel(
            "Mean of connect by upstream",
            "0 where connections are reused. Above it: set keepalive in the upstream.",
            "s",
            (Query(mean(_histogram("connect"), "upstream, nginx", _UPSTREAM), _NAME),),
        ),
        Panel(
            "Distribution of the answer",
            "How many attempts a second took how long until the answer was complete. A band at proxy_read_timeout "
            "are peers that hang.",
            "s",
            (Query(buckets(_histogram("response"), _UPSTREAM), "{{le}}"),),
            "heatmap",
        ),
        Panel(
            "Percentiles of the answer",
            "Time until the whole answer of an attempt had come. Far below the request's own (Request detail): "
            "clients are slow, or retries add up.",
            "s",
            tuple(
                Query(quantile_of_requests(of, _histogram("response"), labels=_UPSTREAM), f"p{of * 100:g}")
                for of in PERCENTILES
            ),
        ),
        Panel(
            "p99 of the answer by upstream",
            "One upstream alone: what stands behind it. All: what they share, such as a database or the network.",
            "s",
            (Query(quantile_of_requests(0.99, _histogram("response"), "upstream, nginx", _UPSTREAM), _NAME),),
            none=TOO_FEW,
        ),
    ),
)

CACHE = Row(
    "Cache",
    (
        Panel(
            "Requests by what the cache did",
            "MISS and EXPIRED in numbers: raise proxy_cache_valid, or the size of the cache. BYPASS is your "
            "configuration's.",
            "reqps",
            (Query(total(_CACHE, "cache_status"), "{{cache_status}}"),),
            width=12,
            none="no location has a cache",
            stacked=True,
        ),
        Panel(
            "Answered from the cache, by server",
            "Of the requests to locations with a cache, those whose body came from it: HIT, STALE, UPDATING and "
            "REVALIDATED. A fall after a reload: the zone or the key changed.",
            "percentunit",
            (
                Query(
                    ratio(
                        total(_CACHE, "server, nginx", f'{REQUESTS}, cache_status=~"HIT|STALE|UPDATING|REVALIDATED"'),
                        total(_CACHE, "server, nginx"),
                    ),
                    "{{server}} {{nginx}}",
                ),
            ),
            width=12,
            none="no location has a cache",
        ),
    ),
)

UPSTREAMS = Dashboard(
    "upstreams",
    "Upstreams",
    "Attempts, retries, latency by phase, peers, and the cache.",
    (AT_A_GLANCE, ATTEMPTS, PEERS, LATENCY, CACHE),
    (
        *INSTANCE_CHOICES,
        SERVER_CHOICE,
        Choice("upstream", "upstream", f"label_values({_ATTEMPTS}{{{NGINX}}}, upstream)"),
    ),
)

"""The counts of the vts module, under its own names: servers, filters, upstreams, cache zones, shared memory.

The zone ``*``, the sum of all, is left out. Averages are of sums: vts's gauges are over the last requests only.
"""

from grafana.model import Choice, Dashboard, Panel, Query, Row
from grafana.promql import INSTANCE_CHOICES, NGINX, TOO_FEW, quantile_of_requests, ratio, total

_NO_VTS = "no vts: see docs/configuration.md, sources"
_HOST = f'{NGINX}, host!="*", host=~"$host"'
_CACHED = 'status=~"hit|stale|updating|revalidated"'
_SHM = "nginx_vts_main_shm_usage_bytes"
_ZONE = "nginx_vts_cache_usage_bytes"
_ZONE_REQUESTS = "nginx_vts_cache_requests_total"
_SERVER = "nginx_vts_server"
_FILTER, _UPSTREAM = "nginx_vts_filter", "nginx_vts_upstream"
_OF_BACKEND = "upstream, backend, nginx"
_BACKEND = "{{upstream}} {{backend}} {{nginx}}"
_OF_FILTER = "filter, filter_name, nginx"
_FILTER_NAME = "{{filter}} {{filter_name}} {{nginx}}"


def _mean(seconds: str, requests: str, by: str, labels: str) -> str:
    return f"{total(seconds, by, labels)} / ({total(requests, by, labels)} > 0)"


def _shared(what: str) -> str:
    return f'sum by (instance, nginx) ({_SHM}{{{NGINX}, shared="{what}"}})'


def _zone(what: str) -> str:
    return f'sum by (cache_zone, instance, nginx) ({_ZONE}{{{NGINX}, cache_size="{what}"}})'


SERVERS = Row(
    "Servers",
    (
        Panel(
            "Requests by host",
            "vts's own count, which sees what Lua does not: locations whose hook is replaced. Far above the "
            "Overview's: see the coverage in Pipeline health.",
            "reqps",
            (Query(total(f"{_SERVER}_requests_total", "host, nginx", _HOST), "{{host}} {{nginx}}"),),
            none=_NO_VTS,
        ),
        Panel(
            "Requests by class",
            "A step to 4xx or 5xx at one moment is a deployment or a peer.",
            "reqps",
            (Query(total(f"{_SERVER}_requests_total", "code", _HOST), "{{code}}"),),
            stacked=True,
        ),
        Panel(
            "Requests by status",
            "By status code, where vts is told to count them (vhost_traffic_status_measure_status_codes); `other` "
            "are the ones it is not told of.",
            "reqps",
            (Query(total("nginx_vts_status_code_requests_total", "code", _HOST), "{{code}}"),),
            none="vts counts no status codes",
        ),
        Panel(
            "Bytes by host",
            "in: from clients, out: to them. Flat at the top: the link is full.",
            "Bps",
            (Query(total(f"{_SERVER}_bytes_total", "host, direction", _HOST), "{{host}} {{direction}}"),),
        ),
        Panel(
            "Mean duration",
            "Sum of durations by number of requests. A rise: see the upstreams below.",
            "s",
            (
                Query(
                    _mean(f"{_SERVER}_request_seconds_total", f"{_SERVER}_requests_total", "host, nginx", _HOST),
                    "{{host}} {{nginx}}",
                ),
            ),
        ),
        Panel(
            "p99 by host",
            "From vts's histogram, where it has one (vhost_traffic_status_histogram_buckets); Request detail has it "
            "without.",
            "s",
            (
                Query(
                    quantile_of_requests(0.99, f"{_SERVER}_request_duration_seconds", "host, nginx", _HOST),
                    "{{host}} {{nginx}}",
                ),
            ),
            none=f"vts has no histogram, or {TOO_FEW}",
        ),
    ),
)

UPSTREAMS = Row(
    "Upstreams",
    (
        Panel(
            "Requests by peer",
            "Uneven where it should be even: a peer is marked as down.",
            "reqps",
            (Query(total(f"{_UPSTREAM}_requests_total", _OF_BACKEND, NGINX), _BACKEND),),
        ),
        Panel(
            "5xx by peer",
            "Of its requests, the part answered with 5xx. One peer alone: its own log.",
            "percentunit",
            (
                Query(
                    ratio(
                        total(f"{_UPSTREAM}_requests_total", _OF_BACKEND, f'{NGINX}, code="5xx"'),
                        total(f"{_UPSTREAM}_requests_total", _OF_BACKEND, NGINX),
                    ),
                    _BACKEND,
                ),
            ),
        ),
        Panel(
            "Mean answer by peer",
            "The peer's own time for an answer. Of one peer alone: its load; of all: what they share.",
            "s",
            (
                Query(
                    _mean(f"{_UPSTREAM}_response_seconds_total", f"{_UPSTREAM}_requests_total", _OF_BACKEND, NGINX),
                    _BACKEND,
                ),
            ),
        ),
        Panel(
            "Bytes by peer",
            "in: from clients towards the peer, out: its answers.",
            "Bps",
            (
                Query(
                    total(f"{_UPSTREAM}_bytes_total", "upstream, backend, direction", NGINX),
                    "{{upstream}} {{backend}} {{direction}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "p99 of the answer by peer",
            "From vts's histogram, where it has one. Upstreams has it by phase.",
            "s",
            (
                Query(
                    quantile_of_requests(0.99, f"{_UPSTREAM}_response_duration_seconds", _OF_BACKEND, NGINX), _BACKEND
                ),
            ),
            width=12,
            none=f"vts has no histogram, or {TOO_FEW}",
        ),
    ),
)

CACHE = Row(
    "Cache",
    (
        Panel(
            "Answered from the cache, by zone",
            "Of the zone's requests, those whose body came from it. A fall: the zone is full (beside), or its key "
            "changed.",
            "percentunit",
            (
                Query(
                    ratio(
                        total(_ZONE_REQUESTS, "cache_zone, nginx", f"{NGINX}, {_CACHED}"),
                        total(_ZONE_REQUESTS, "cache_zone, nginx", NGINX),
                    ),
                    "{{cache_zone}} {{nginx}}",
                ),
            ),
            none="no cache zone",
        ),
        Panel(
            "By what the cache did",
            "miss and expired in numbers: raise proxy_cache_valid, or max_size.",
            "reqps",
            (Query(total(_ZONE_REQUESTS, "cache_zone, status", NGINX), "{{cache_zone}} {{status}}"),),
            stacked=True,
        ),
        Panel(
            "Full",
            "Of max_size, the part in use; near nothing where there is no max_size. At 100 % nginx removes what was "
            "asked for least lately: with many misses, raise it.",
            "percentunit",
            (Query(f"{_zone('used')} / ({_zone('max')} > 0)", "{{cache_zone}} {{nginx}}"),),
        ),
        Panel(
            "Bytes by zone",
            "out: to clients from this zone, in: from clients.",
            "Bps",
            (
                Query(
                    total("nginx_vts_cache_bytes_total", "cache_zone, direction", NGINX),
                    "{{cache_zone}} {{direction}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Answered from the cache, by host",
            "The same by server. One alone has fallen: its headers (Set-Cookie, Cache-Control) forbid to keep its "
            "answers.",
            "percentunit",
            (
                Query(
                    ratio(
                        total(f"{_SERVER}_cache_total", "host, nginx", f"{_HOST}, {_CACHED}"),
                        total(f"{_SERVER}_cache_total", "host, nginx", _HOST),
                    ),
                    "{{host}} {{nginx}}",
                ),
            ),
            width=12,
            none="no location has a cache",
        ),
    ),
)

FILTERS = Row(
    "Filters",
    (
        Panel(
            "Requests by filter",
            "What vhost_traffic_status_filter_by_set_key tells apart. More values than you thought of: see Names "
            "below.",
            "reqps",
            (Query(total(f"{_FILTER}_requests_total", _OF_FILTER, NGINX), _FILTER_NAME),),
            none="vts has no filters",
        ),
        Panel(
            "Mean duration by filter",
            "Sum of durations by number of requests. The slowest value first; few requests make it jump.",
            "s",
            (
                Query(
                    _mean(f"{_FILTER}_request_seconds_total", f"{_FILTER}_requests_total", _OF_FILTER, NGINX),
                    _FILTER_NAME,
                ),
            ),
            none="vts has no filters",
        ),
        Panel(
            "Bytes by filter",
            "in: from clients, out: to them. The largest is what fills the link.",
            "Bps",
            (
                Query(
                    total(f"{_FILTER}_bytes_total", "filter, filter_name, direction", NGINX),
                    "{{filter}} {{filter_name}} {{direction}}",
                ),
            ),
            none="vts has no filters",
        ),
    ),
)

MEMORY = Row(
    "Shared memory and connections",
    (
        Panel(
            "Shared memory",
            "Of vhost_traffic_status_zone, the part in use. From 90 % on NginxVtsZoneFull fires: when it is full "
            "vts counts no new names. A larger zone, or filters with fewer names.",
            "percentunit",
            (Query(f"{_shared('used_size')} / ({_shared('max_size')} > 0)", "{{nginx}} ({{instance}})"),),
            bad=0.9,
        ),
        Panel(
            "Names",
            "Nodes in the shared memory: one for each server, filter value and peer. Growth without end is a filter "
            "with something of each request in it.",
            "short",
            (Query(_shared("used_node"), "{{nginx}} ({{instance}})"),),
        ),
        Panel(
            "Connections",
            "As vts has them. Many writing and few requests: slow clients. The Overview has the same from stub_status.",
            "short",
            (
                Query(
                    "sum by (status, nginx) (nginx_vts_main_connections"
                    f'{{{NGINX}, status=~"active|reading|writing|waiting"}})',
                    "{{status}} {{nginx}}",
                ),
            ),
        ),
    ),
)

VTS = Dashboard(
    "vts",
    "vts",
    "What the vts module counts: servers, upstreams, cache zones, filters, shared memory.",
    (SERVERS, UPSTREAMS, CACHE, FILTERS, MEMORY),
    (
        *INSTANCE_CHOICES,
        Choice("host", "host", f'label_values(nginx_vts_server_requests_total{{{NGINX}, host!="*"}}, host)'),
    ),
)

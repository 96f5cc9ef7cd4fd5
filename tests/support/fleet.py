"""What the dashboards look at: an nginx without a name, another called ``edge``, a collector for each, one Prometheus.

Durations of ``edge`` have the labels method and status; those of the other one the labels they have by default.

Each kind of traffic has a number that is known, and whatever can go wrong went wrong once.
"""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.client import get, upgrade
from support.collector import Collector
from support.nginx import ROOT, Nginx, shared_directory
from support.prometheus import Prometheus
from support.wait import free_port, wait_until

EDGE = "edge"
GOOD, BROKEN, OF_EDGE = 160, 40, 100  # requests to a.example
USERS, ORDERS = 20, 10  # by route, besides
SLOW, SLOW_SECONDS = 20, 1.2
PASSED = 120  # with the others to b.example enough for a p99
ONCE = 4  # each kind besides
CACHED = 20  # the first is a miss
VTS_REQUESTS, VTS_ERRORS, VTS_HITS, VTS_SECONDS = 500, 50, 400, 0.2  # what its zones grow by
INTERVAL, SCRAPES = "500ms", 12
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
_CAPTURE = Path(__file__).parents[1] / "data" / "vts" / "13-everything.vts.json"

_SITE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    include {{share}}/nginx.conf.d/upstreams.conf;
    map $uri $route {{ ~^/users/ /users/:id; ~^/orders/ /orders/:id; default other; }}
    geo $resty_metrics_labels {{ default "route=route"; }}
    lua_package_path "{{share}}/lua/?.lua;;";
    proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
    upstream pool {{ server 127.0.0.1:{down} max_fails=0; server 127.0.0.1:{behind} max_fails=0; }}
    init_by_lua_block {{
        local metrics = require "resty.metrics"
        many = metrics.counter("shop_paths_total", "More rows than a family may have.", {{"path"}})
        mine = metrics.counter("nginx_http_cache_requests_total", "A name of ours.", {{"page"}})
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /broken {{ return 500; }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name b.example;
        location /slow {{ echo_sleep {slow}; echo slow; }}
        location /passed {{ proxy_pass http://pool; }}
        location /cached {{ proxy_cache pages; proxy_pass http://127.0.0.1:{behind}; }}
        location /upgraded {{ content_by_lua_block {{ ngx.status = 101; ngx.send_headers() }} }}
        location /many {{ content_by_lua_block {{ for n = 1, 10010 do many:inc(1, {{n}}) end }} }}
        location /wrong {{ content_by_lua_block {{ many:inc(-1, {{"x"}}) mine:inc(1, {{"x"}}) }} }}
    }}
    server {{
        listen 127.0.0.1:{behind};
        log_by_lua_file {{share}}/lua/resty/metrics/off.lua;
        location / {{ add_header Cache-Control max-age=600; return 200 "behind\\n"; }}
        location /vts/ {{ alias {{prefix}}/vts/; }}
    }}
"""
_SITE_OF_EDGE = """
    include {{share}}/nginx.conf.d/lifecycle.conf;
    include {{share}}/nginx.conf.d/upstreams.conf;
    geo $resty_metrics_duration_labels {{ default "server method status"; }}
    proxy_cache_path {{prefix}}/cache keys_zone=pages:1m;
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200 "ok\\n"; }}
        location /cached {{ proxy_cache pages; proxy_cache_lock on; proxy_pass http://127.0.0.1:{behind}; }}
    }}
"""


@dataclass(frozen=True)
class Fleet:
    """``nginx`` has no name and its ``collector`` reads vts too; ``edge`` has a collector of its own."""

    nginx: Nginx
    collector: Collector
    edge: Nginx
    edge_collector: Collector
    prometheus: Prometheus

    def instance(self, collector: Collector) -> str:
        return f"127.0.0.1:{collector.port}"


@contextmanager
def fleet() -> Iterator[Fleet]:
    """When all its traffic has been scraped."""
    directory, edge_directory = shared_directory(), shared_directory()
    port, behind, down, of_edge = (free_port() for _ in range(4))
    site = _SITE.format(port=port, behind=behind, down=down, slow=SLOW_SECONDS)
    nginx = Nginx(directory / "collector.sock", site, workers=1)
    edge = Nginx(edge_directory / "collector.sock", _SITE_OF_EDGE.format(port=of_edge, behind=behind))
    edge.call(EDGE)
    vts = nginx.prefix / "vts"
    vts.mkdir(mode=0o755)
    _put(vts, 0)
    sources = (
        f"--source.vts=http://127.0.0.1:{behind}/vts/page.json",
        f"--source.stub-status=gone=http://127.0.0.1:{down}/stub_status",
    )
    collector = Collector(directory / "collector.sock", *sources)
    edge_collector = Collector(edge_directory / "collector.sock")
    with (
        nginx,
        edge,
        edge_collector,
        Prometheus(directory, collector.port, edge_collector.port, rules=RULES, interval=INTERVAL) as prometheus,
    ):
        wait_until(lambda: "resty-metrics" in nginx.log(), message="that nobody is there is said")
        with collector:
            made = Fleet(nginx, collector, edge, edge_collector, prometheus)
            _disturb(made)
            wait_until(lambda: prometheus.value("nginx_vts_start_time_seconds"), message="vts before it grows")
            _put(vts, 1)
            _send(port, of_edge)
            _wait_until_scraped(made)
            yield made
    shutil.rmtree(directory, ignore_errors=True)
    shutil.rmtree(edge_directory, ignore_errors=True)


def _put(directory: Path, times: int) -> None:
    """vts's page, in which each zone has had ``times`` the traffic that is known."""
    page = json.loads(_CAPTURE.read_text())
    for zone in _zones(page):
        for name, by in _growth(zone).items():
            zone[name] += by * times
        for name, by in {"2xx": VTS_REQUESTS - VTS_ERRORS, "5xx": VTS_ERRORS}.items():
            if name in zone["responses"]:
                zone["responses"][name] += by * times
        for name, by in {"hit": VTS_HITS, "miss": VTS_REQUESTS - VTS_HITS}.items():
            if name in zone["responses"]:
                zone["responses"][name] += by * times
        for name in ("requestBuckets", "responseBuckets"):  # of 5, 50 and 500 ms
            counters = zone.get(name, {}).get("counters", [])
            if counters:
                counters[-1] += VTS_REQUESTS * times
    whole = directory / "page.new"
    whole.write_text(json.dumps(page))
    whole.chmod(0o644)
    whole.rename(directory / "page.json")


def _zones(page: Any) -> Iterator[dict[str, Any]]:
    if isinstance(page, list):
        for each in page:
            yield from _zones(each)
    elif isinstance(page, dict):
        if "responses" in page:
            yield page
        else:
            for each in page.values():
                yield from _zones(each)


def _growth(zone: dict[str, Any]) -> dict[str, int]:
    milliseconds = round(VTS_REQUESTS * VTS_SECONDS * 1000)
    grown = {"requestCounter": VTS_REQUESTS, "inBytes": 10_000, "outBytes": 90_000}
    grown |= {"requestMsecCounter": milliseconds, "responseMsecCounter": milliseconds}
    return {name: by for name, by in grown.items() if name in zone}


def _disturb(made: Fleet) -> None:
    """The collector is killed and starts again; somebody takes the socket away."""
    collector = made.collector
    wait_until(lambda: collector.value("resty_metrics_workers_seen") == 1, message="the worker")
    collector.kill()
    collector.start()
    began = collector.value("process_start_time_seconds")
    seen = f'process_start_time_seconds{{instance="{made.instance(collector)}"}}'
    wait_until(lambda: made.prometheus.value(seen) == began, message="a scrape after that")
    collector.socket_path.unlink()
    wait_until(
        lambda: collector.value("resty_metrics_socket_rebinds_total", reason="missing") == 1, message="the rebind"
    )


def _send(port: int, of_edge: int) -> None:
    with ThreadPoolExecutor(SLOW) as pool:
        slow = [pool.submit(get, port, "/slow", {"Host": "b.example"}) for _ in range(SLOW)]
        for path, times in {"/": GOOD, "/broken": BROKEN, "/users/7": USERS, "/orders/7": ORDERS}.items():
            get(port, path, {"Host": "a.example"}, times, kept=True)
        get(port, "/passed", {"Host": "b.example"}, PASSED, kept=True)
        for path in ("/cached", "/wrong", "/many"):
            get(port, path, {"Host": "b.example"}, 1, kept=True)
        get(of_edge, "/", {"Host": "a.example"}, OF_EDGE, kept=True)
        get(of_edge, "/cached", {"Host": "a.example"}, CACHED, kept=True)
        upgrade(port, "/upgraded", "b.example")
        for each in slow:
            each.result()


def _wait_until_scraped(made: Fleet) -> None:
    """All requests, what the worker said of itself, and vts's growth; and each row often enough to extrapolate from."""
    wanted = {
        'sum(nginx_http_responses_total{server="a.example", nginx=""})': GOOD + BROKEN + USERS + ORDERS,
        f'sum(nginx_http_responses_total{{nginx="{EDGE}"}})': OF_EDGE + CACHED,
        'sum(nginx_http_responses_total{server="b.example"})': SLOW + PASSED + ONCE,
        'nginx_vts_server_requests_total{host="a.example", code="5xx"}': VTS_ERRORS + 3,
        "resty_metrics_family_conflict": 1,
    }
    wait_until(
        lambda: [name for name, value in wanted.items() if made.prometheus.value(name) != value] == [],
        message=f"all of {wanted}",
    )
    least = 'min(count_over_time({__name__=~"nginx_(http_responses_total|vts_server_requests_total)"}[10m]))'
    wait_until(lambda: (made.prometheus.value(least) or 0) >= SCRAPES, message="that many scrapes")

"""An nginx and a collector whose page has every family that can be had at once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.client import get, upgrade
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

_VTS = Path(__file__).parents[1] / "data" / "vts"
_CAPTURE = "13-everything"

# Requests of each kind: answered here, denied, passed on (where the first peer is down), cached, upgraded, of a scope;
# and Lua code that counts rightly, wrongly, more rows than a family may have, and under a name of ours.
_SITE = """
    include {share}/nginx.conf.d/lifecycle.conf;
    include {share}/nginx.conf.d/upstreams.conf;
    include {share}/nginx.conf.d/stub-status.conf;
    geo $resty_metrics_labels { default "tenant=http_x_tenant"; }
    lua_package_path "{share}/lua/?.lua;;";
    proxy_cache_path {prefix}/cache keys_zone=pages:1m;
    upstream pool { server 127.0.0.1:DOWN max_fails=0; server 127.0.0.1:BEHIND max_fails=0; }
    init_by_lua_block {
        local metrics = require "resty.metrics"
        logins = metrics.counter("shop_logins_total", "Logins by result,\\nand \\"more\\" and a \\\\.", {"result"})
        jobs = metrics.gauge("shop_open_jobs", "Jobs.", {"queue"})
        items = metrics.histogram("shop_basket_items", "Items in a basket.", {"shop"}, {buckets = {1, 5}})
        many = metrics.counter("shop_paths_total", "A family at its cap.", {"path"})
        mine = metrics.counter("nginx_http_cache_requests_total", "The user's own under a name of ours.", {"page"})
    }
    server {
        listen 127.0.0.1:PORT;
        server_name a.example;
        location / { return 200 "ok\\n"; }
        location /passed { proxy_pass http://pool; }
        location /cached { proxy_cache pages; proxy_pass http://127.0.0.1:BEHIND; }
        location /scoped {
            set $resty_metrics_scope api;
            log_by_lua_file {share}/lua/resty/metrics/scope.lua;
            return 200;
        }
        location /failed { return 403; }
        location /upgraded { content_by_lua_block { ngx.status = 101; ngx.send_headers() } }
        location /own {
            content_by_lua_block {
                logins:inc(1, {'quote " backslash \\\\ newline \\n percent %'})
                jobs:set(2, {"mail"})
                items:observe(3, {"books"})
                logins:inc(-1, {"wrong"})
            }
        }
        location /many { content_by_lua_block { for n = 1, 10010 do many:inc(1, {n}) end } }
        location /claim { content_by_lua_block { mine:inc(1, {"start"}) } }
    }
    server {
        listen 127.0.0.1:BEHIND;
        log_by_lua_file {share}/lua/resty/metrics/off.lua;
        location / { return 200 "behind\\n"; }
        location /vts/ { alias {prefix}/vts/; }
    }
"""
_PATHS = ("/", "/passed", "/passed", "/cached", "/scoped", "/own", "/many", "/failed")


@dataclass(frozen=True)
class Everything:
    """The collector, when all of it is counted."""

    collector: Collector
    _port: int

    def claim(self) -> None:
        """Lua code counts under the name of ``nginx_http_cache_requests_total``, so that ours is withheld."""
        get(self._port, "/claim")
        wait_until(
            lambda: (
                self.collector.value("resty_metrics_family_conflict", family="nginx_http_cache_requests_total") == 1
            ),
            message="the conflict",
        )


@contextmanager
def everything(socket_path: Path) -> Iterator[Everything]:
    """Workers that found nobody at first, and a collector that was killed once."""
    ports = {name: free_port() for name in ("PORT", "BEHIND", "DOWN")}
    site = _SITE
    for name, number in ports.items():
        site = site.replace(name, str(number))
    port = ports["PORT"]
    nginx = Nginx(socket_path, site, workers=1)
    shutil.copytree(_VTS, nginx.prefix / "vts")
    vts = f"--source.vts=fetched=http://127.0.0.1:{ports['BEHIND']}/vts/{_CAPTURE}.vts.json"
    stub_status = f"--source.stub-status=fetched=http://{nginx.stub_status}/stub_status"
    with nginx:
        wait_until(lambda: "resty-metrics" in nginx.log(), message="that nobody is there is said")
        with Collector(socket_path, stub_status, vts) as collector:
            wait_until(lambda: collector.value("resty_metrics_workers_seen") == 1, message="the worker")
            collector.kill()
            collector.start()
            for path in _PATHS:
                get(port, path)
            upgrade(port, "/upgraded", "a.example")
            counted = len(_PATHS) + 1
            wait_until(lambda: collector.request_counts().total() >= counted, message="the requests on the page")
            yield Everything(collector, port)

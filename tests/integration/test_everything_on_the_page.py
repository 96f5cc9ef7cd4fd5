"""A page with every family that the README names, from a real nginx: clean to promtool, valid OpenMetrics."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.collector import Collector
from support.labels import get
from support.nginx import ROOT, Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SITE = """
include {share}/nginx.conf.d/lifecycle.conf;
include {share}/nginx.conf.d/upstreams.conf;
include {share}/nginx.conf.d/stub-status.conf;
map "" $resty_metrics_labels { default "tenant=http_x_tenant"; }
lua_package_path "{share}/lua/?.lua;;";
proxy_cache_path {prefix}/cache keys_zone=pages:1m;
upstream app { server 127.0.0.1:DOWN max_fails=0; server 127.0.0.1:GOOD max_fails=0; }
init_by_lua_block {
    local metrics = require "resty.metrics"
    logins = metrics.counter("shop_logins_total", "Logins by result,\\nand \\"more\\" with a \\\\ in it.", {"result"})
    jobs = metrics.gauge("shop_open_jobs", "Jobs.", {"queue"})
    items = metrics.histogram("shop_basket_items", "Items in a basket.", {"shop"}, {buckets = {1, 5}})
    many = metrics.counter("shop_paths_total", "A family at its cap.", {"path"})
    mine = metrics.counter("nginx_http_cache_requests_total", "The user's own under a name of ours.", {"page"})
}
server {
    listen 127.0.0.1:PORT;
    server_name a.example;
    location / { return 200; }
    location /app { proxy_pass http://app; proxy_cache pages; proxy_cache_valid 200 60s; }
    location /scoped {
        set $resty_metrics_scope api;
        log_by_lua_file {share}/lua/resty/metrics/scope.lua;
        return 200;
    }
    location /up { content_by_lua_block { ngx.status = 101; ngx.send_headers() } }
    location /own {
        content_by_lua_block {
            logins:inc(1, {'quote " backslash \\\\ newline \\n percent %'})
            jobs:set(2, {"mail"})
            items:observe(3, {"books"})
            mine:inc(1, {"start"})
            logins:inc(-1, {"wrong"})
        }
    }
    location /many { content_by_lua_block { for n = 1, 10010 do many:inc(1, {n}) end } }
}
server { listen 127.0.0.1:GOOD; log_by_lua_file {share}/lua/resty/metrics/off.lua; location / { return 200 good; } }
"""
# Named by the README and not to be had here, with why.
ABSENT = {
    "nginx_vts_*": "Debian has no vts module",
    "nginx_http_cache_requests_total": "the user's own has its name",
    "resty_metrics_coverage_ratio": "needs 100 requests in five minutes",
    "resty_metrics_source_errors_total": "no source failed",
    "resty_metrics_worker_refused_batches_total": "nothing was refused",
    "resty_metrics_worker_lost_rows_total": "nothing was lost",
    "process_*": "prometheus-client's own",
}


def expanded(name: str) -> Iterator[str]:
    """``a_{b,c}_d``, as a shell has it."""
    parts = re.split(r"\{(.*?)\}", name)
    yield from map("".join, product(*([part] if n % 2 == 0 else part.split(",") for n, part in enumerate(parts))))


def named() -> set[str]:
    """The metrics of the README's table."""
    table = (ROOT / "README.md").read_text().split("## Metrics\n\n")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    return {one for cell in cells for name in re.findall(r"`(.*?)`", cell) for one in expanded(name)}


def test_every_family_is_on_the_page_and_clean(socket_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("PORT", "GOOD", "DOWN")}
    site = SITE
    for name, number in ports.items():
        site = site.replace(name, number)
    port = int(ports["PORT"])
    nginx = Nginx(socket_path, site, workers=1)
    stub_status = f"--source.stub-status=http://{nginx.stub_status}/stub_status"
    with nginx:
        wait_until(lambda: "resty-metrics" in nginx.log(), message="that nobody is there is said")
        with Collector(socket_path, stub_status) as collector:
            wait_until(lambda: collector.value("resty_metrics_workers_seen") == 1, message="the worker")
            collector.kill()
            collector.start()
            for path in ("/", "/app", "/app", "/scoped", "/own", "/many"):
                get(port, path)
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(b"GET /up HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
                with suppress(ConnectionError):
                    while connection.recv(4096):
                        pass
            wanted = named() - ABSENT.keys() | {"shop_logins_total", "shop_open_jobs", "shop_basket_items"}
            wait_until(lambda: wanted <= families(collector), 60, "every family")
            assert said(collector) == {
                f'nginx_connections_{name} counter metrics should have "_total" suffix'
                for name in ("accepted", "handled")
            }
            list(parse_openmetrics(collector.page(Accept=OPENMETRICS)))  # type: ignore[no-untyped-call]


def families(collector: Collector) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+) ", collector.page(), re.MULTILINE))


def said(collector: Collector) -> set[str]:
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=collector.page(), text=True, capture_output=True, check=False
    )
    return set((checked.stdout + checked.stderr).splitlines())

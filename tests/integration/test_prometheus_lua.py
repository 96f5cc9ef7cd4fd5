"""Applications of nginx-lua-prometheus, on lua/compat/prometheus.lua: four workers, ten reloads, all sums.

The first is the quick start of that library's README, word for word but for its path. The second uses all its calls.
"""

import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.client import ask
from support.collector import Collector, Samples, samples_of
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

QUICK_START = """
lua_shared_dict prometheus_metrics 10M;
lua_package_path "{share}/lua/compat/?.lua;;";

init_worker_by_lua_block {
  prometheus = require("prometheus").init("prometheus_metrics")

  metric_requests = prometheus:counter(
    "nginx_http_requests_total", "Number of HTTP requests", {"host", "status"})
  metric_latency = prometheus:histogram(
    "nginx_http_request_duration_seconds", "HTTP request latency", {"host"})
  metric_connections = prometheus:gauge(
    "nginx_http_connections", "Number of HTTP connections", {"state"})
}

log_by_lua_block {
  metric_requests:inc(1, {ngx.var.server_name, ngx.var.status})
  metric_latency:observe(tonumber(ngx.var.request_time), {ngx.var.server_name})
}

server {
  listen 127.0.0.1:PORT reuseport;
  server_name quick.example;
  location / { return 200; }
  location /missing { return 404; }
  location /metrics {
    set $resty_metrics_page PAGE;
    content_by_lua_block {
      metric_connections:set(ngx.var.connections_reading, {"reading"})
      metric_connections:set(ngx.var.connections_waiting, {"waiting"})
      metric_connections:set(ngx.var.connections_writing, {"writing"})
      prometheus:collect()
    }
  }
}
"""

ALL_CALLS = """
lua_shared_dict metrics_of_mine 10M;
lua_package_path "{share}/lua/compat/?.lua;;";

init_by_lua_block {
  prometheus = require("prometheus").init("metrics_of_mine",
    {prefix = "app_", error_metric_name = "my_errors_total", sync_interval = 2})
  jobs = prometheus:counter("jobs_total", "Jobs", {"queue", "ok"})
  plain = prometheus:counter("plain_total", "Without labels")
  bytes = prometheus:histogram("bytes", "Sizes", {"queue"}, {10, 100, 1000})
  waits = prometheus:histogram("wait_seconds")
  depth = prometheus:gauge("depth", "Jobs that wait", {"queue"})
  mode = prometheus:gauge("mode", "The mode that was set last")
}
init_worker_by_lua_block {
  prometheus:init_worker(2)
}

server {
  listen 127.0.0.1:PORT reuseport;
  location /job {
    content_by_lua_block {
      local args = ngx.req.get_uri_args()
      jobs:inc(nil, {args.queue, true})
      jobs:inc(tonumber(args.n), {args.queue, false})
      plain:inc()
      bytes:observe(tonumber(args.n), {args.queue})
      waits:observe(tonumber(args.n) / 1000)
      depth:inc(tonumber(args.n), {args.queue})
      depth:inc(-1, {args.queue})
      ngx.print("done")
    }
  }
  location /mode { content_by_lua_block { mode:set(tonumber(ngx.var.arg_to)) } }
  location /wrong {
    content_by_lua_block {
      jobs:inc(-1, {"q", true})
      jobs:inc(1, {"q"})
      depth:set(nil, {"q"})
      bytes:observe(nil, {"q"})
      local none = prometheus:counter("no name")
      none:inc(1)
      ngx.print("still here")
    }
  }
  location /del { content_by_lua_block { jobs:del({ngx.var.arg_queue, true}) depth:del({ngx.var.arg_queue}) } }
  location /reset { content_by_lua_block { jobs:reset() bytes:reset() depth:reset() } }
  location /metrics {
    set $resty_metrics_page PAGE;
    content_by_lua_block { prometheus:collect() }
  }
  location /data {
    set $resty_metrics_page PAGE;
    content_by_lua_block { ngx.print(table.concat(prometheus:metric_data(), "")) }
  }
}
"""


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        text: str = response.read().decode()
        return text


class OnUnix(Collector):
    """A collector whose page is on a unix socket beside its own."""

    def ready(self) -> bool:
        return self.socket_path.with_name("web.sock").exists()


class Application:
    """One of them, with its workers and a collector. ``page`` is what nginx serves of it."""

    def __init__(self, socket_path: Path, site: str, page: str, workers: int) -> None:
        self.port, self.collector = free_port(), Collector(socket_path)
        site = site.replace("PORT", str(self.port)).replace("PAGE", page or f"{self.collector.url}/metrics")
        self.nginx = Nginx(socket_path, site, workers=workers, include="resty-metrics-own-hook.conf")

    def samples(self) -> Samples:
        return samples_of(get(self.port, "/metrics"))

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, frozenset(labels.items())))


@contextmanager
def running(socket_path: Path, site: str, page: str = "", workers: int = 4) -> Iterator[Application]:
    application = Application(socket_path, site, page, workers)
    with application.collector, application.nginx:
        yield application


def send(port: int, paths: list[str], done: Counter[str]) -> None:
    """Requests on one connection after another; what was answered is counted."""
    for path in paths:
        ask(port, path)
        done[path] += 1


def over_reloads(application: Application, paths: list[str], reloads: int) -> Counter[str]:
    """Sends all the paths by four threads while nginx is reloaded so often, the last time before the last of them.
    Returns what was answered."""
    counts = [Counter[str]() for _ in range(4)]
    threads = [threading.Thread(target=send, args=(application.port, paths[i::4], counts[i])) for i in range(4)]
    for thread in threads:
        thread.start()
    for number in range(reloads):
        share = len(paths) * number // reloads
        wait_until(lambda share=share: sum(count.total() for count in counts) >= share, 60, "a share of the requests")  # type: ignore[misc]
        application.nginx.reload()
    for thread in threads:
        thread.join()
    return sum(counts, Counter())


def test_the_quick_start(socket_path: Path) -> None:
    with running(socket_path, QUICK_START) as app:
        done = over_reloads(app, ["/", "/missing", "/"] * 1000, 10)
        host = {"host": "quick.example"}
        wait_until(
            lambda: (
                app.collector.value("nginx_http_requests_total", **host, status="404") == done["/missing"]
                and app.collector.value("nginx_http_requests_total", **host, status="200") == done["/"]
            ),
            message="requests by status",
        )
        assert done.total() == 3000
        assert app.collector.value("nginx_http_request_duration_seconds_count", **host) == 3000
        assert app.value("nginx_http_connections", state="writing") is not None
        assert app.value("nginx_metric_errors_total") == 0
        assert app.nginx.errors() == []


def test_all_the_calls(socket_path: Path) -> None:
    source = random.Random(4)
    paths = [f"/job?queue={source.choice('ab')}&n={source.randrange(1, 2000)}" for _ in range(2000)]
    with running(socket_path, ALL_CALLS) as app:
        done = over_reloads(app, paths, 10)
        assert done == Counter(paths)
        sizes = {queue: [int(path.split("n=")[1]) for path in paths if f"queue={queue}" in path] for queue in "ab"}
        wait_until(lambda: app.value("app_plain_total") == len(paths), message="all jobs")
        samples = app.samples()
        for queue, numbers in sizes.items():
            of_queue = {
                ("app_jobs_total", "true"): len(numbers),
                ("app_jobs_total", "false"): sum(numbers),
            }
            for (name, ok), wanted in of_queue.items():
                assert samples[name, frozenset({("queue", queue), ("ok", ok)})] == wanted
            assert samples["app_bytes_sum", frozenset({("queue", queue)})] == sum(numbers)
            below = sum(number <= 100 for number in numbers)
            assert samples["app_bytes_bucket", frozenset({("queue", queue), ("le", "100.0")})] == below
            assert samples["app_depth", frozenset({("queue", queue)})] == sum(numbers) - len(numbers)
        assert samples["app_wait_seconds_count", frozenset()] == len(paths)
        assert samples["app_my_errors_total", frozenset()] == 0
        assert samples_of(get(app.port, "/data")).keys() >= {("app_plain_total", frozenset())}
        assert app.nginx.errors() == []


def test_gauges_stand_for_all_workers(socket_path: Path) -> None:
    """Whoever sets one that another has incremented: the last one holds, and it outlives a reload."""
    with running(socket_path, ALL_CALLS) as app:
        for to in range(20):
            get(app.port, f"/mode?to={to}")
        wait_until(lambda: app.collector.value("app_mode") == 19, message="the last mode")
        app.nginx.reload()
        wait_until(lambda: len(app.nginx.worker_pids()) == 4, message="the old workers gone")
        get(app.port, "/job?queue=a&n=1")
        assert app.value("app_mode") == 19


def test_deleting_and_wrong_use(socket_path: Path) -> None:
    with running(socket_path, ALL_CALLS) as app:
        for queue in "ab":
            for _ in range(8):
                get(app.port, f"/job?queue={queue}&n=5")
        get(app.port, "/del?queue=a")
        wait_until(lambda: app.value("app_jobs_total", queue="a", ok="true") is None, message="the deleted row gone")
        wait_until(lambda: app.value("app_depth", queue="a") is None, message="the deleted gauge gone")
        assert app.value("app_jobs_total", queue="a", ok="false") == 40
        assert app.value("app_depth", queue="b") == 32
        get(app.port, "/reset")
        wait_until(lambda: app.value("app_jobs_total", queue="b", ok="true") is None, message="all rows gone")
        wait_until(lambda: app.value("app_depth", queue="b") is None, message="all gauges gone")
        assert app.value("app_plain_total") == 16
        assert get(app.port, "/wrong") == "still here"
        wait_until(lambda: app.value("app_my_errors_total") == 5, message="five errors")


def scrape(port: int, agent: str) -> Samples:
    """The page of nginx, as a Prometheus asks for it."""
    headers = {"User-Agent": agent, "X-Prometheus-Scrape-Timeout-Seconds": "10"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return samples_of(response.read().decode())


def test_each_scraper_behind_nginx_sees_a_new_row_at_0_first(socket_path: Path) -> None:
    with running(socket_path, ALL_CALLS) as app:
        new = ("app_jobs_total", frozenset({("queue", "new"), ("ok", "true")}))
        for agent in ("one", "other"):
            scrape(app.port, agent)
        get(app.port, "/job?queue=new&n=3")
        wait_until(lambda: app.collector.value(new[0], queue="new", ok="true"), message="the row")
        shown = [scrape(app.port, agent)[new] for agent in ("one", "other", "one", "other")]
        assert shown[:2] == [0, 0]
        assert shown[2] == shown[3] > 0


MANY_GAUGES = """
    lua_shared_dict prometheus_metrics 10M;
    lua_package_path "{share}/lua/compat/?.lua;;";
    init_worker_by_lua_block {
        prometheus = require("prometheus").init("prometheus_metrics")
        jobs = prometheus:gauge("app_jobs", "Jobs", {"id"})
    }
    server {
        listen 127.0.0.1:PORT reuseport;
        location = /metrics { set $resty_metrics_page PAGE; content_by_lua_block { prometheus:collect() } }
        location /set {
            content_by_lua_block {
                local first, refused = tonumber(ngx.var.arg_first), 0
                for id = first, first + 9999 do
                    if not jobs:set(1, {id}) then refused = refused + 1 end
                end
                ngx.say(refused)
            }
        }
        location /others { content_by_lua_block { ngx.shared.prometheus_metrics:flush_all() } }
    }
"""


def test_gauges_that_other_workers_deleted_take_no_room(socket_path: Path) -> None:
    with running(socket_path, MANY_GAUGES, workers=1) as app:
        assert get(app.port, "/set?first=0") == "0\n"
        assert get(app.port, "/set?first=10000") == "10000\n"
        get(app.port, "/others")  # to this worker it is as if another had
        wait_until(lambda: get(app.port, "/set?first=20000") == "0\n", message="room")


def test_a_unix_socket_and_a_collector_that_is_away(socket_path: Path) -> None:
    web = socket_path.with_name("web.sock")
    with running(socket_path, ALL_CALLS, f"unix:{web}:/metrics") as app:
        with pytest.raises(urllib.error.HTTPError) as away:
            get(app.port, "/metrics")
        assert away.value.code == 503
        away.value.close()
        assert get(app.port, "/data") == ""
        app.collector.terminate()
        with OnUnix(socket_path, f"--web.listen-address=unix:{web}"):
            wait_until(lambda: "app_my_errors_total 0" in get(app.port, "/data"), message="the page")

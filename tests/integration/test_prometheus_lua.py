"""Applications of nginx-lua-prometheus, on lua/compat/prometheus.lua: four workers, ten reloads, all sums.

The first is the quick start of that library's README, word for word but for its path. The second uses all its calls.
"""

import random
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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


SEVERAL_WORKERS = """
    lua_shared_dict prometheus_metrics 10M;
    lua_package_path "{share}/lua/compat/?.lua;;";
    init_worker_by_lua_block {
        prometheus = require("prometheus").init("prometheus_metrics", {sync_interval = 0.1})
        gauge = prometheus:gauge("app_gauge", "A gauge.", {"label"})
        health = prometheus:gauge("app_health", "Targets that are healthy.", {"target"})
        counter = prometheus:counter("app_counted_total", "A counter.", {"label"})
        histogram = prometheus:histogram("app_histogram", "A histogram.", {"label"}, {1, 10})
    }
    server {
        listen 127.0.0.1:PORT reuseport;
        location = /set { content_by_lua_block { gauge:set(ngx.var.arg_value, {ngx.var.arg_label}) } }
        location = /inc { content_by_lua_block { gauge:inc(1, {ngx.var.arg_label}) } }
        location = /del { content_by_lua_block { gauge:del({ngx.var.arg_label}) } }
        location = /reset { content_by_lua_block { gauge:reset() } }
        location = /count {
            content_by_lua_block { counter:inc(1, {ngx.var.arg_label}) histogram:observe(5, {ngx.var.arg_label}) }
        }
        location = /del-count {
            content_by_lua_block { counter:del({ngx.var.arg_label}) histogram:del({ngx.var.arg_label}) }
        }
        location = /reset-count { content_by_lua_block { counter:reset() histogram:reset() } }
        location = /empty { content_by_lua_block { ngx.shared.prometheus_metrics:flush_all() } }
        location = /metrics { set $resty_metrics_page PAGE; content_by_lua_block { prometheus:collect() } }
        location = /scrape {
            set $resty_metrics_page PAGE;
            content_by_lua_block {
                health:reset()
                for target = 1, 50 do health:set(1, {target}) end
                prometheus:collect()
            }
        }
    }
"""


class Turns:
    """Many clients that change a value of their own at a time, or one that resets all."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                self._condition.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: self._inside == 0, 60)
            yield


def set_and_reset(app: Application, turns: Turns, client: int, rounds: int, bad: list[str]) -> None:
    """As the reset test of nginx-lua-prometheus does. What a page lacks, or should not have, is added to ``bad``."""
    source = random.Random(client)
    for number in range(rounds):
        value = source.randrange(1, 9000)
        with turns.shared():
            get(app.port, f"/set?label={client}&value={value}")
            shown = app.value("app_gauge", label=str(client))
        if shown != value:
            bad.append(f"client {client}, round {number}: {shown} is shown, not {value}")
        if source.randrange(10) == 0:
            with turns.alone():
                get(app.port, "/reset")
                left = [labels for name, labels in app.samples() if name == "app_gauge"]
            if left:
                bad.append(f"client {client}, round {number}: {left} after a reset")


def at_once(count: int, action: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(action, range(count)))


def test_whichever_worker_sets_or_resets_a_gauge_each_page_shows_it_at_once(socket_path: Path) -> None:
    bad: list[str] = []
    with running(socket_path, SEVERAL_WORKERS) as app:
        turns = Turns()
        at_once(6, lambda client: set_and_reset(app, turns, client, 40, bad))
        assert bad == []
        assert app.value("nginx_metric_errors_total") == 0
        assert app.nginx.errors() == []


def test_a_gauge_that_one_worker_deletes_and_another_increments(socket_path: Path) -> None:
    """What was deleted begins at nothing again, in whichever worker knew it."""
    with running(socket_path, SEVERAL_WORKERS) as app:
        for round_number in range(30):
            for _ in range(5):
                get(app.port, "/inc?label=a")
            get(app.port, "/inc?label=b")
            assert app.value("app_gauge", label="a") == 5
            get(app.port, "/del?label=a")
            assert app.value("app_gauge", label="a") is None
            assert app.value("app_gauge", label="b") == round_number + 1
        get(app.port, "/empty")
        assert not [name for name, _ in app.samples() if name == "app_gauge"]
        get(app.port, "/inc?label=c")
        assert {app.value("app_gauge", label="c") for _ in range(8)} == {1}


def test_a_gauge_that_is_reset_and_set_at_each_scrape_is_always_there(socket_path: Path) -> None:
    """As Kong does it, each time in whichever worker is asked."""
    with running(socket_path, SEVERAL_WORKERS) as app:
        pages = [samples_of(get(app.port, "/scrape")) for _ in range(60)]
        assert [sum(name == "app_health" for name, _ in page) for page in pages] == [50] * 60
        wait_until(
            lambda: sum(name == "app_health" for name, _ in app.collector.samples()) == 50,
            message="the collector's own page",
        )


@pytest.mark.parametrize("path", ["/del-count?label=a", "/reset-count"])
def test_a_counter_that_one_worker_deletes_is_gone_from_the_page_of_each(socket_path: Path, path: str) -> None:
    with running(socket_path, SEVERAL_WORKERS) as app:
        for round_number in range(1, 4):
            for _ in range(12):
                get(app.port, "/count?label=a")
            get(app.port, "/count?label=b")
            wait_until(lambda: app.value("app_counted_total", label="a") == 12, message="all of them")
            get(app.port, path)
            pages = [app.samples() for _ in range(8)]
            left = {(name, labels) for page in pages for name, labels in page if ("label", "a") in labels}
            assert left == set()
            if path.startswith("/del"):
                kept = {page["app_counted_total", frozenset({("label", "b")})] for page in pages}
                assert kept == {round_number}
        get(app.port, "/count?label=a")
        wait_until(lambda: app.value("app_histogram_count", label="a") == 1, message="it begins anew")
        assert app.nginx.errors() == []


def test_the_gauges_of_a_reload_are_those_of_the_new_workers(socket_path: Path) -> None:
    """A label more, while a worker of before still lives with what it knew."""
    with running(socket_path, SEVERAL_WORKERS, workers=2) as app:
        get(app.port, "/set?label=a&value=1")
        assert app.value("app_gauge", label="a") == 1
        text = app.nginx.conf.read_text()
        text = text.replace('"A gauge.", {"label"}', '"A gauge.", {"label", "zone"}')
        app.nginx.conf.write_text(text.replace("{ngx.var.arg_label}) } }", '{ngx.var.arg_label, "z"}) } }'))
        app.nginx.reload()

        def is_shown() -> bool:
            get(app.port, "/set?label=a&value=2")  # a worker of before may have taken the one before
            return app.value("app_gauge", label="a", zone="z") == 2

        wait_until(is_shown, message="the new labels")
        of_gauge = {labels: value for (name, labels), value in app.samples().items() if name == "app_gauge"}
        assert of_gauge == {frozenset({("label", "a"), ("zone", "z")}): 2}


DIFFERENT = """
    lua_shared_dict prometheus_metrics 10M;
    lua_shared_dict small 32k;
    lua_package_path "{share}/lua/compat/?.lua;;";
    init_worker_by_lua_block {
        local library = require "prometheus"
        prometheus = library.init("prometheus_metrics", {prefix = "app_", sync_interval = 3})
        gauge = prometheus:gauge("gauge", nil, {"label"})
        counter = prometheus:counter("counted_total", nil, {"label"})
        histogram = prometheus:histogram("histogram", "Sizes.", {"label"}, {1, 10})
        reserved = prometheus:counter("reserved", "Labels of Prometheus's own.", {"__label"})
        second = library.init("prometheus_metrics", {prefix = "app_"})
        again = second:counter("counted_total", nil, {"label"})
        other = second:counter("counted_total", nil, {"label", "more"})
        prometheus:init_worker(4)
        prometheus:init_worker(4)
        cramped = library.init("small", {prefix = "small_"}):gauge("gauge", "In a small dictionary.", {"label"})
    }
    server {
        listen 127.0.0.1:PORT;
        location = /values {
            content_by_lua_block {
                local values = {0/0, 1/0, -1/0}
                for i = 1, 3 do
                    ngx.say(tostring(gauge:set(values[i], {i})), " ", tostring(counter:inc(values[i], {i})), " ",
                        tostring(histogram:observe(values[i], {i})))
                end
            }
        }
        location = /twice {
            content_by_lua_block {
                ngx.say(tostring(counter:inc(1, {"one"})), " ", tostring(again:inc(1, {"one"})))
                ngx.say(select(2, other:inc(1, {"one", "two"})))
                ngx.say(select(2, reserved:inc(1, {"x"})))
            }
        }
        location = /odd {
            content_by_lua_block {
                prometheus:counter("numbered_total", 5):inc()
                prometheus:counter("bare_total", "Bare.", {}):inc()
                prometheus:histogram("endless", "Endless.", nil, {1, 5, math.huge}):observe(2)
                ngx.print(select(2, prometheus:histogram("empty", "Empty.", nil, {}):observe(2)))
            }
        }
        location = /filtered {
            return 200;
            header_filter_by_lua_block {
                local list, why = prometheus:metric_data()
                ngx.header.x_found = #list .. " " .. why
                ngx.header.x_deleted = tostring(counter:del({"one"}))
            }
        }
        location = /fields {
            content_by_lua_block {
                local json = {}
                local function say(...) json[#json + 1] = table.concat({...}, " ") end
                say(prometheus.dict_name, prometheus.prefix, prometheus.error_metric_name, prometheus.sync_interval)
                say(gauge.name, gauge.typ, gauge.label_names[1], gauge.label_count, gauge.parent.dict_name)
                say(histogram.help, histogram.typ, histogram.bucket_count, histogram.buckets[2], counter.typ)
                prometheus:log_error("mine ", 1)
                prometheus:log_error_kv("key", nil, "why")
                ngx.say(table.concat(json, "\\n"))
            }
        }
        location = /fill {
            content_by_lua_block {
                local first, why = cramped:set(7, {"first"})
                local kept = 0
                for i = 1, 1000 do
                    local ok, err = cramped:set(i, {i .. ("x"):rep(100)})
                    if ok then kept = kept + 1 else why = err end
                end
                ngx.say(kept, " ", why)
            }
        }
        location = /metrics { set $resty_metrics_page PAGE; content_by_lua_block { prometheus:collect() } }
    }
"""


def test_what_docs_migration_says_of_values_and_of_init_twice(socket_path: Path) -> None:
    with running(socket_path, DIFFERENT, workers=1) as app:
        errors = app.value("app_nginx_metric_errors_total")
        assert errors == 2  # `reserved` and `other` were refused
        assert get(app.port, "/values") == "true nil nil\n" * 3
        page = get(app.port, "/metrics")
        for line in ('app_gauge{label="1"} NaN', 'app_gauge{label="2"} +Inf', 'app_gauge{label="3"} -Inf'):
            assert line in page.splitlines()
        assert app.value("app_nginx_metric_errors_total") == errors + 6
        both, other, reserved = get(app.port, "/twice").splitlines()
        assert both == "true true"
        assert "it has other labels already" in other
        assert "labels that begin with __" in reserved
        assert app.value("app_counted_total", label="one") == 2
        assert app.value("app_nginx_metric_errors_total") == errors + 6  # a refused metric counts once
        assert "# HELP app_gauge Gauge app_gauge of the nginx configuration." in get(app.port, "/metrics")


def test_what_docs_migration_says_of_definitions(socket_path: Path) -> None:
    with running(socket_path, DIFFERENT, workers=1) as app:
        assert "bucket" in get(app.port, "/odd")
        page = get(app.port, "/metrics").splitlines()
        for line in (
            "# HELP app_numbered_total 5",
            "app_bare_total 1",
            'app_endless_bucket{le="1.0"} 0',
            'app_endless_bucket{le="5.0"} 1',
            'app_endless_bucket{le="+Inf"} 1',
            "app_endless_sum 2.0",
        ):
            assert line in page
        assert not [line for line in page if "app_empty" in line]


def test_the_page_cannot_be_had_where_nginx_lets_nobody_wait_and_that_is_no_error_of_ours(socket_path: Path) -> None:
    with running(socket_path, DIFFERENT, workers=1) as app:
        headers = {name.lower(): value for name, value in ask(app.port, "/filtered").headers.items()}
        assert headers["x-found"].startswith("0 nothing can be fetched in header_filter")
        assert headers["x-deleted"] == "true"
        assert [line for line in app.nginx.errors() if "an error in the module" in line] == []


def test_the_fields_and_functions_of_the_library(socket_path: Path) -> None:
    with running(socket_path, DIFFERENT, workers=1) as app:
        errors = app.value("app_nginx_metric_errors_total") or 0
        assert get(app.port, "/fields").splitlines() == [
            "prometheus_metrics app_ nginx_metric_errors_total 4",
            "gauge 2 label 1 prometheus_metrics",
            "Sizes. 4 2 10 1",
        ]
        assert app.value("app_nginx_metric_errors_total") == errors + 2
        said = [line for line in app.nginx.errors() if "mine 1" in line or "setting 'key' to 'nil': 'why'" in line]
        assert len(said) == 2


def test_a_dictionary_that_is_full_refuses_what_is_new_and_keeps_what_it_has(socket_path: Path) -> None:
    with running(socket_path, DIFFERENT, workers=1) as app:
        kept, why = get(app.port, "/fill").split(maxsplit=1)
        assert 0 < int(kept) < 1000
        assert why == "the shared dictionary is full: give lua_shared_dict small more room\n"
        assert app.value("small_gauge", label="first") == 7
        wait_until(lambda: app.value("small_nginx_metric_errors_total") == 1000 - int(kept), message="the errors")
        assert any("give lua_shared_dict small more room" in line for line in app.nginx.errors())


def test_without_its_dictionary_a_gauge_is_what_was_set_last(socket_path: Path) -> None:
    with running(socket_path, SEVERAL_WORKERS.replace("lua_shared_dict prometheus_metrics 10M;", "")) as app:
        for value in range(1, 13):
            get(app.port, f"/set?label=a&value={value}")
        wait_until(lambda: app.collector.value("app_gauge", label="a") == 12, message="the last value")
        said = [line for line in app.nginx.log().splitlines() if "prometheus_metrics is not declared" in line]
        assert said
        assert not [line for line in said if "[lua]" in line]
        assert app.nginx.errors() == []

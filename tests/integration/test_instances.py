"""Several nginx on one collector, told apart by the names in their configuration."""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.client import get
from support.collector import Collector, Samples, counts_of
from support.nginx import Counts, Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    include {share}/nginx.conf.d/lifecycle.conf;
    server {
        listen 127.0.0.1:@port@;
        server_name a.example;
        location / { return 200; }
        location /missing { return 404; }
        location /mine { content_by_lua_block {
            local metrics = require("resty.metrics")
            metrics.counter("mine_total", "Mine.", {"nginx"}):inc(1, {"my own"})
            metrics.gauge("mine_now", "Mine.", {}, {combine = "max"}):set(7)
        } }
    }
"""
PATH = 'lua_package_path "{share}/lua/?.lua;;";'
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Site:
    """An nginx with a name, and its port."""

    def __init__(self, socket_path: Path, name: str, more: str = "") -> None:
        self.name, self.port = name, free_port()
        self.nginx = Nginx(socket_path, PATH + more + SITE.replace("@port@", str(self.port)))
        self.nginx.call(name)

    def get(self, path: str, times: int) -> None:
        get(self.port, path, times=times)


@contextmanager
def running(socket_path: Path, *names: str) -> Iterator[list[Site]]:
    with ExitStack() as stack:
        sites = [Site(socket_path, name) for name in names]
        for site in sites:
            stack.enter_context(site.nginx)
        yield sites


def of(samples: Samples, name: str) -> Samples:
    """The samples of the nginx of this name; "": those of none, without what the collector says of itself."""
    return {key: value for key, value in samples.items() if dict(key[1]).get("nginx", "") == name}


def counts(collector: Collector, name: str) -> Counts:
    return counts_of(of(collector.samples(), name))


def wait_counted(collector: Collector, *sites: Site) -> None:
    def counted() -> bool:
        return all(counts(collector, site.name) == site.nginx.access_counts() for site in sites)

    wait_until(counted, message="each page == access_log")


def gauges(collector: Collector, name: str) -> dict[str, float | None]:
    named = {"nginx": name} if name else {}
    metrics = ("nginx_up", "resty_metrics_workers_expected", "resty_metrics_workers_seen", "mine_now")
    return {metric: collector.value(metric, **named) for metric in metrics}


ALIVE = {"nginx_up": 1, "resty_metrics_workers_expected": 2, "resty_metrics_workers_seen": 2, "mine_now": 7}
GONE = dict.fromkeys(ALIVE)


def is_valid(collector: Collector) -> None:
    """Each family contiguous, no series twice."""
    list(parse_openmetrics(collector.page(Accept=OPENMETRICS)))  # type: ignore[no-untyped-call]
    page = collector.page()
    checked = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert "error" not in checked.stderr, checked.stderr
    series = Counter(line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#"))
    assert [one for one, times in series.items() if times > 1] == []


@pytest.mark.parametrize(("first", "second"), [("", "edge-2"), ("edge-1", "edge-2")], ids=["one unnamed", "both named"])
def test_two_on_one_collector(socket_path: Path, first: str, second: str) -> None:
    """Each counted exactly; what joins, or is killed, changes nothing of the other."""
    with Collector(socket_path) as collector, ExitStack() as stack:
        one, two = Site(socket_path, first), Site(socket_path, second)
        stack.enter_context(one.nginx)
        one.get("/", 5)
        one.get("/mine", 20)
        wait_counted(collector, one)
        wait_until(lambda: gauges(collector, first) == ALIVE, message="the first one's workers")
        before = set(of(collector.samples(), first))

        stack.enter_context(two.nginx)
        two.get("/", 7)
        two.get("/missing", 3)
        two.get("/mine", 20)
        wait_counted(collector, one, two)
        wait_until(lambda: gauges(collector, second) == ALIVE, message="the second one's workers")
        assert before <= set(of(collector.samples(), first))
        assert gauges(collector, first) == ALIVE
        is_valid(collector)
        check_own_labels(collector, first, second)

        two.nginx.kill()
        wait_until(lambda: gauges(collector, second) == GONE, 40, "the end of the second one's gauges")
        ups = {
            name: collector.value("resty_metrics_source_up", source="lua", **named(name)) for name in (first, second)
        }
        assert ups == {first: 1, second: 0}
        assert gauges(collector, first) == ALIVE
        one.get("/missing", 4)
        wait_counted(collector, one, two)
        assert before <= set(of(collector.samples(), first))
        assert one.nginx.errors() == two.nginx.errors() == []

        collector.kill()
        collector.start()
        wait_counted(collector, one, two)
        wait_until(lambda: gauges(collector, first) == ALIVE, message="the first one's workers after a restart")
        assert collector.value("resty_metrics_source_up", source="lua", **named(second)) == 0


@pytest.mark.parametrize("name", ["", "edge"], ids=["no name", "one name"])
def test_two_of_one_name_are_one(socket_path: Path, name: str) -> None:
    """Their requests add up; what nginx says of itself is that of the master which began last, as long as it lives."""
    with Collector(socket_path) as collector, ExitStack() as stack:
        one, two = Site(socket_path, name), Site(socket_path, name)
        for site, times in ((one, 5), (two, 7)):
            stack.enter_context(site.nginx)
            site.get("/", times)

        def all_counts() -> Counts:
            return one.nginx.access_counts() + two.nginx.access_counts()

        def begun() -> float | None:
            return collector.value("nginx_http_requests_total", **named(name))

        wait_until(lambda: counts(collector, name) == all_counts(), message="the page == both access_logs")
        wait_until(lambda: begun() == 7, message="nginx's own counter of the second")
        is_valid(collector)
        two.nginx.kill()
        wait_until(lambda: begun() == 5, 40, "that of the first")
        assert collector.value("nginx_up", **named(name)) == 1
        assert counts(collector, name) == all_counts()


def named(name: str) -> dict[str, str]:
    return {"nginx": name} if name else {}


def check_own_labels(collector: Collector, *names: str) -> None:
    """A label ``nginx`` of the user's own goes on as it was where the instance has no name."""
    for name in names:
        label = "exported_nginx" if name else "nginx"
        assert collector.value("mine_total", **named(name), **{label: "my own"}) == 20


def rename(site: Site, name: str) -> None:
    """By a reload; the workers of the old name have ended then."""
    site.nginx.call(name)
    old = site.nginx.worker_pids()
    site.nginx.reload()
    for pid in old:
        site.nginx.wait_gone(pid)


def test_a_new_name_at_a_reload_begins_new_series(socket_path: Path) -> None:
    with Collector(socket_path) as collector, running(socket_path, "old") as (site,):
        site.get("/", 11)
        wait_counted(collector, site)
        rename(site, "new")
        site.get("/", 4)
        total: Counts = Counter({("a.example", "GET", "200"): 4})
        wait_until(lambda: counts(collector, "new") == total, message="the new name")
        assert counts(collector, "old") == Counter({("a.example", "GET", "200"): 11})
        wait_until(lambda: collector.value("nginx_up", nginx="old") is None, 40, "the end of the old name's gauges")
        assert collector.value("nginx_up", nginx="new") == 1
        sources = {key: value for key, value in collector.samples().items() if key[0] == "resty_metrics_source_up"}
        assert sources == {("resty_metrics_source_up", frozenset({("source", "lua"), ("nginx", "new")})): 1}
        assert site.nginx.errors() == []


def test_what_waits_while_the_name_changes_is_counted_once(socket_path: Path) -> None:
    """Sent batches keep the old name, rows that were never sent join the heir's; nothing is lost or double."""
    collector = Collector(socket_path)
    with running(socket_path, "old") as (site,), collector:
        site.get("/", 5)
        wait_counted(collector, site)
        collector.kill()
        site.get("/", 20)
        rename(site, "new")
        site.get("/", 3)
        collector.start()

        def by_name() -> Counts:
            return counts(collector, "old") + counts(collector, "new")

        wait_until(lambda: by_name() == site.nginx.access_counts(), message="page == access_log")
        assert counts(collector, "old").total() >= 5
        assert counts(collector, "new").total() >= 3


BAD_NAMES = ["two words", "a/b", "x" * 65, "n\u00e4me"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=["blank", "slash", "long", "not ASCII"])
def test_a_name_that_cannot_be_one_is_said_and_counting_goes_on(socket_path: Path, name: str) -> None:
    with Collector(socket_path) as collector, running(socket_path, name) as (site,):
        site.get("/", 6)
        wait_until(lambda: counts(collector, "") == site.nginx.access_counts(), message="page == access_log")
        wait_until(
            lambda: collector.value("resty_metrics_worker_errors_total", worker="0", reason="name"),
            message="the error as a metric",
        )
        said = [line for line in site.nginx.errors() if "$resty_metrics_nginx" in line]
        assert len(said) == len(site.nginx.errors()) == 2  # of each worker
        assert "A-Z a-z 0-9 _ . -" in said[0]
        assert said[0].isascii()


def test_two_places_that_state_two_names(socket_path: Path) -> None:
    """As with the socket: that of init_worker holds, and it is said."""
    site = Site(socket_path, "variable")
    lifecycle = site.nginx.share / "nginx.conf.d" / "lifecycle.conf"
    lifecycle.write_text(lifecycle.read_text().replace('nginx = "variable"', 'nginx = "argument"'))
    with Collector(socket_path) as collector, site.nginx as nginx:
        site.get("/", 6)
        wait_until(lambda: counts(collector, "argument") == nginx.access_counts(), message="page == access_log")
        said = [line for line in nginx.errors() if "the name argument" in line and "the name variable" in line]
        assert len(said) == len(nginx.errors()) >= 1
        assert "Make them equal" in said[0]
        assert of(collector.samples(), "variable") == {}


def test_what_is_fetched_replaces_what_the_workers_say_of_that_nginx_alone(socket_path: Path) -> None:
    sites = [Site(socket_path, name, "include {share}/nginx.conf.d/stub-status.conf;") for name in ("a", "b")]
    missing = f"http://127.0.0.1:{free_port()}/"
    flags = [f"--source.stub-status=a={missing}", f"--source.stub-status=c={missing}"]
    with Collector(socket_path, *flags) as collector, sites[0].nginx, sites[1].nginx:
        wait_until(lambda: collector.value("nginx_up", nginx="b") == 1, message="the workers of b")
        assert collector.value("nginx_connections_active", nginx="b") is not None
        for fetched in ("a", "c"):
            assert collector.value("nginx_up", nginx=fetched) == 0
            assert collector.value("nginx_connections_active", nginx=fetched) is None
        is_valid(collector)


def test_without_lifecycle_the_name_is_that_of_the_variable(socket_path: Path) -> None:
    site = Site(socket_path, "plain")
    lifecycle = site.nginx.share / "nginx.conf.d" / "lifecycle.conf"
    lifecycle.write_text("")
    with Collector(socket_path) as collector, site.nginx:
        site.get("/", 9)
        wait_counted(collector, site)
        wait_until(lambda: collector.value("nginx_up", nginx="plain") == 1, message="a heartbeat")
        assert {dict(labels).get("nginx") for name, labels in collector.samples() if name.startswith("nginx_")} == {
            "plain"
        }
        assert site.nginx.errors() == []


def test_a_worker_that_begins_before_it_is_told_the_name_waits_for_it(socket_path: Path) -> None:
    """Lua code counts in init_worker, and no lifecycle.conf says the name: a request tells one worker, and that the
    other.
    """
    site = Site(
        socket_path,
        "late",
        """init_worker_by_lua_block { require("resty.metrics").counter("began_total", "Began.", {}):inc(1) }""",
    )
    (site.nginx.share / "nginx.conf.d" / "lifecycle.conf").write_text("")
    with Collector(socket_path) as collector, site.nginx:
        site.get("/", 1)
        wait_until(lambda: collector.value("began_total", nginx="late") == 2, message="both workers")
        assert collector.value("began_total") is None
        assert collector.value("resty_metrics_source_up", source="lua") is None
        assert collector.value("resty_metrics_workers_seen", nginx="late") == 2
        assert site.nginx.errors() == []


def test_a_worker_that_nobody_tells_the_name_goes_on_without_one(socket_path: Path) -> None:
    """After ten seconds, to the default path, here the collector's. Once a request tells the name, that holds."""
    site = Site(
        socket_path,
        "late",
        """init_worker_by_lua_block { require("resty.metrics").counter("began_total", "Began.", {}):inc(1) }""",
    )
    (site.nginx.share / "nginx.conf.d" / "lifecycle.conf").write_text("")
    settings = site.nginx.share / "lua/resty/metrics/settings.lua"
    default = 'DEFAULT_SOCKET = "/run/resty-metrics/collector.sock"'
    assert default in settings.read_text()
    settings.write_text(settings.read_text().replace(default, f'DEFAULT_SOCKET = "{socket_path}"'))
    with Collector(socket_path) as collector, site.nginx:
        wait_until(lambda: collector.value("began_total") == 2, 30, "both workers, without a name")
        site.get("/mine", 20)
        wait_counted(collector, site)
        assert collector.value("mine_total", nginx="late", exported_nginx="my own") == 20
        assert (collector.value("began_total"), collector.value("began_total", nginx="late")) == (2, None)

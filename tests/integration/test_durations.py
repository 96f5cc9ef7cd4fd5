"""Durations of requests: a family of their own, whose labels are chosen, beside the requests that they belong to."""

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.client import get, upgrade
from support.collector import Collector, Samples
from support.labels import by_labels
from support.load import Load
from support.nginx import UPGRADED, Nginx, set_include
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

RESPONSES = "nginx_http_responses_total"
COUNT = "nginx_http_request_duration_seconds_count"
DEFAULT = "server status_class"
LABELS = ("server", "method", "status", "status_class", "scheme", "tenant", "route")
SITE = """
    map $uri $route {{ ~^/users/ /users/:id; default other; }}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /missing {{ return 404; }}
    }}
    server {{ listen 127.0.0.1:{port}; server_name b.example; location / {{ return 503; }} }}
"""
# Requests of the site: host, path, tenant, and how many.
ASKED = [
    ("a.example", "/", "one", 3),
    ("a.example", "/users/7", "one", 2),
    ("a.example", "/missing", "two", 4),
    ("b.example", "/", "two", 5),
]
# The labels of each of them.
VALUES = [
    ("a.example", "GET", "200", "2xx", "http", "one", "other"),
    ("a.example", "GET", "200", "2xx", "http", "one", "/users/:id"),
    ("a.example", "GET", "404", "4xx", "http", "two", "other"),
    ("b.example", "GET", "503", "5xx", "http", "two", "other"),
]


def durations(samples: Samples) -> Counter[tuple[tuple[str, str], ...]]:
    """Durations by all labels, in the order of the alphabet: no label is overlooked."""
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for (name, labels), value in samples.items():
        if name == COUNT:
            found[tuple(sorted(labels))] = int(value)
    return found


def expected(*names: str) -> Counter[tuple[tuple[str, str], ...]]:
    """Durations of ASKED by these labels."""
    found: Counter[tuple[tuple[str, str], ...]] = Counter()
    for values, (_, _, _, times) in zip(VALUES, ASKED, strict=True):
        by_name = dict(zip(LABELS, values, strict=True))
        found[tuple(sorted((name, by_name[name]) for name in names))] += times
    return found


def ask_all(port: int) -> None:
    for host, path, tenant, times in ASKED:
        get(port, path, {"Host": host, "X-Tenant": tenant}, times, kept=True)


def include_of(nginx: Nginx) -> Path:
    return nginx.share / "nginx.conf.d" / "resty-metrics.conf"


@contextmanager
def site(socket_path: Path, labels: str, choice: str) -> Iterator[tuple[Collector, Nginx, int]]:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port))
    set_include(include_of(nginx), "labels", labels)
    if choice:
        set_include(include_of(nginx), "duration_labels", choice)
    with Collector(socket_path) as collector, nginx:
        yield collector, nginx, port


def wait_for(collector: Collector, wanted: Counter[tuple[tuple[str, str], ...]]) -> None:
    try:
        wait_until(lambda: durations(collector.samples()) == wanted, 15, "the durations")
    except AssertionError:
        assert durations(collector.samples()) == wanted


USERS = "tenant=http_x_tenant route=route"
# What is stated, the user's labels, and the labels of durations.
CHOICES = [
    ("", "", ("server", "status_class")),
    ("", USERS, ("server", "status_class", "tenant", "route")),
    (" \t", USERS, ("server", "status_class", "tenant", "route")),
    ("*", USERS, LABELS),
    ("*", "", ("server", "method", "status", "status_class", "scheme")),
    ("otel", USERS, ("server", "method", "status", "scheme")),
    ("otel route", USERS, ("server", "method", "status", "scheme", "route")),
    ("server method", USERS, ("server", "method")),
    ("status", "", ("status",)),
    ("scheme server", "", ("server", "scheme")),
    ("tenant", USERS, ("tenant",)),
    ("  route  tenant\tserver ", USERS, ("server", "tenant", "route")),
]


@pytest.mark.parametrize(("choice", "labels", "names"), CHOICES)
def test_durations_have_the_labels_that_are_chosen(
    socket_path: Path, choice: str, labels: str, names: tuple[str, ...]
) -> None:
    """Whatever durations have, requests have all of theirs."""
    with site(socket_path, labels, choice) as (collector, nginx, port):
        ask_all(port)
        wait_for(collector, expected(*names))
        users = [name for name in ("tenant", "route") if f"{name}=" in labels]
        requests = by_labels(collector.samples(), RESPONSES, "server", "method", "status", *users, "scheme")
        wanted: Counter[tuple[str, ...]] = Counter()
        for values, (_, _, _, times) in zip(VALUES, ASKED, strict=True):
            by_name = dict(zip(LABELS, values, strict=True))
            wanted[(*values[:3], *(by_name[name] for name in users), "absent")] += times
        assert requests == wanted
        assert nginx.errors() == []


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("", ("server", "status_class", "scheme")),
        ("scheme", ("scheme",)),
        ("otel", ("server", "method", "status", "scheme")),
        ("*", ("server", "method", "status", "status_class", "scheme")),
        ("server", ("server",)),
    ],
)
def test_a_label_of_the_users_that_is_called_scheme(socket_path: Path, choice: str, names: tuple[str, ...]) -> None:
    """It is his, and what nginx has under that name is not counted."""
    with site(socket_path, "scheme=http_x_tenant", choice) as (collector, nginx, port):
        ask_all(port)
        wanted: Counter[tuple[tuple[str, str], ...]] = Counter()
        for values, (_, _, _, times) in zip(VALUES, ASKED, strict=True):
            by_name = {**dict(zip(LABELS, values, strict=True)), "scheme": values[5]}
            wanted[tuple(sorted((name, by_name[name]) for name in names))] += times
        wait_for(collector, wanted)
        assert by_labels(collector.samples(), RESPONSES, "status", "scheme") == {
            ("200", "one"): 5,
            ("404", "two"): 4,
            ("503", "two"): 5,
        }
        assert nginx.errors() == []


@pytest.mark.parametrize("choice", ["sever", "server,status", "server tenant_id", "scope", "le", "OTEL", "server *x"])
def test_a_word_that_is_no_label_is_said_once_and_the_default_holds(socket_path: Path, choice: str) -> None:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port), workers=1)
    set_include(include_of(nginx), "labels", USERS)
    set_include(include_of(nginx), "duration_labels", choice)
    with Collector(socket_path) as collector, nginx:
        ask_all(port)
        wait_for(collector, expected("server", "status_class", "tenant", "route"))
        wrong = next(word for word in choice.split() if word != "server")
        (line,) = nginx.errors()
        assert line.split("resty-metrics: ")[1].split(" while ")[0] == (
            f'there is no label "{wrong}" of durations: use server, method, status, status_class, scheme, a label of '
            "yours, otel or *; durations have the default labels"
        )
        errors = by_labels(collector.samples(), "resty_metrics_worker_errors_total", "reason")
        assert errors == {("duration_labels",): 1}


SCOPES = """
    lua_package_path "{{share}}/lua/?.lua;;";
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /own {{
            set $resty_metrics_scope own;
            set $resty_metrics_scope_labels "version=http_x_version";
            set $resty_metrics_scope_duration_labels "status version";
            log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
            return 201;
        }}
        location /included {{
            set $resty_metrics_scope included;
            set $resty_metrics_scope_labels "tenant=http_x_tenant version=http_x_version";
            log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
            return 202;
        }}
        location /bare {{
            set $resty_metrics_scope bare;
            log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
            return 203;
        }}
        location /lua {{
            log_by_lua_block {{
                require("resty.metrics").log {{
                    scope = "lua", labels = {{ zone = "http_x_zone" }}, duration_labels = "otel zone",
                }}
            }}
            return 204;
        }}
    }}
"""
HEADERS = {"X-Tenant": "t", "X-Version": "v", "X-Zone": "z"}


@pytest.mark.parametrize("first", ["/", "/own", "/included", "/bare", "/lua"])
def test_a_scope_has_its_own_choice_or_that_of_the_include(socket_path: Path, first: str) -> None:
    """What the include chooses and a scope has not is left out there; whichever request comes first."""
    port = free_port()
    nginx = Nginx(socket_path, SCOPES.format(port=port), workers=1)
    set_include(include_of(nginx), "labels", "tenant=http_x_tenant")
    set_include(include_of(nginx), "duration_labels", "server method tenant")
    paths = {"/": 1, "/own": 2, "/included": 3, "/bare": 4, "/lua": 5}
    with Collector(socket_path) as collector, nginx:
        get(port, first, HEADERS)
        for path, times in paths.items():
            get(port, path, HEADERS, times - (path == first), kept=True)
        rows = {
            "/": {"server": "a.example", "method": "GET", "tenant": "t"},
            "/own": {"status": "201", "scope": "own", "version": "v"},
            "/included": {"server": "a.example", "method": "GET", "scope": "included", "tenant": "t"},
            "/bare": {"server": "a.example", "method": "GET", "scope": "bare"},
            "/lua": {
                "server": "a.example",
                "method": "GET",
                "status": "204",
                "scheme": "http",
                "scope": "lua",
                "zone": "z",
            },
        }
        wait_for(collector, Counter({tuple(sorted(labels.items())): paths[path] for path, labels in rows.items()}))
        assert by_labels(collector.samples(), RESPONSES, "scope", "status") == {
            ("absent", "200"): 1,
            ("own", "201"): 2,
            ("included", "202"): 3,
            ("bare", "203"): 4,
            ("lua", "204"): 5,
        }
        assert nginx.errors() == []


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (("/own", "/lua"), 'there is no label "verison" of durations: '),
        (("/lua", "/own"), "duration_labels must be a text; durations have the default labels"),
    ],
)
def test_a_wrong_choice_of_a_scope_leaves_the_default_there(
    socket_path: Path, paths: tuple[str, str], words: str
) -> None:
    port = free_port()
    body = SCOPES.format(port=port).replace('"status version"', '"status verison"').replace('"otel zone"', "7")
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        for path in (*paths, "/", *paths):
            get(port, path, HEADERS)
        rows = (
            ({"server": "a.example", "status_class": "2xx"}, 1),
            ({"server": "a.example", "status_class": "2xx", "scope": "own", "version": "v"}, 2),
            ({"server": "a.example", "status_class": "2xx", "scope": "lua", "zone": "z"}, 2),
        )
        wait_for(collector, Counter({tuple(sorted(labels.items())): times for labels, times in rows}))
        (line,) = nginx.errors()  # once for each reason
        assert words in line
        errors = by_labels(collector.samples(), "resty_metrics_worker_errors_total", "reason")
        assert errors == {("duration_labels",): 2}


STATUSES = """
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ content_by_lua_block {{ ngx.status = tonumber(ngx.var.arg_status); ngx.print("x") }} }}
        location /exit {{ content_by_lua_block {{ ngx.exit(tonumber(ngx.var.arg_status)) }} }}
        location /up {{ content_by_lua_block {{ ngx.status = 101; ngx.send_headers() }} }}
    }}
"""


def test_the_class_of_every_status_that_nginx_lets_through(socket_path: Path) -> None:
    """Of what is no status of HTTP it is "other". The access_log says which statuses nginx has let through."""
    port = free_port()
    with Collector(socket_path) as collector, Nginx(socket_path, STATUSES.format(port=port), workers=1) as nginx:
        for status in (1, 9, 99, 100, 102, 199, 200, 299, 301, 399, 404, 499, 500, 599, 600, 777, 999, 1000):
            raw_get(port, f"/?status={status}")
            raw_get(port, f"/exit?status={status}")
        bad_request(port)
        upgrade(port, "/up", "a.example")

        def by_class() -> Counter[tuple[str, ...]]:
            wanted: Counter[tuple[str, ...]] = Counter()
            for line in nginx.access_lines():
                status = int(line[2])
                if status != int(UPGRADED):
                    wanted[line[0], f"{status // 100}xx" if 100 <= status <= 599 else "other"] += 1
            return wanted

        def agree() -> bool:
            samples = collector.samples()
            counted = by_labels(samples, RESPONSES, "status").total()
            return (
                counted == len(nginx.access_lines())
                and by_labels(samples, COUNT, "server", "status_class") == by_class()
            )

        wait_until(agree, message="a duration of each request")
        assert {name for _, name in by_class()} == {"1xx", "2xx", "3xx", "4xx", "5xx", "other"}
        assert by_labels(collector.samples(), RESPONSES, "status")[UPGRADED,] == 1
        upgraded = "nginx_http_upgraded_connection_duration_seconds_count"
        assert by_labels(collector.samples(), upgraded, "server") == {("a.example",): 1}


def raw_get(port: int, path: str) -> None:
    """A client that understands no status: it reads until nginx has closed the connection."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: a.example\r\n\r\n".encode())
        while connection.recv(4096):
            pass


def bad_request(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"BAD\0 / \r\n\r\n")
        while connection.recv(4096):
            pass


LOADED = """
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        server_name a.example;
        location / {{ return 200; }}
        location /missing {{ return 404; }}
        location /upgraded {{ content_by_lua_block {{ ngx.status = 101; ngx.send_headers() }} }}
    }}
    server {{
        listen 127.0.0.1:{port};
        server_name b.example;
        location / {{ return 500; }}
        location /up {{ proxy_pass http://127.0.0.1:{port}/; }}
    }}
"""
SCRIPT = """
local paths = { "/", "/missing", "/", "/up" }
local hosts = { "a.example", "b.example" }
local n = 0
request = function()
    n = n + 1
    local headers = { Host = hosts[n % #hosts + 1], ["X-Tenant"] = "tenant-" .. n % 7 }
    return wrk.format(nil, paths[n % #paths + 1], headers)
end
"""
RELOADED = (DEFAULT, "*", "server", "otel tenant", "status", "server status_class tenant", "server")


def milliseconds(value: float) -> int:
    return round(value * 1000)


def sums_by_server(nginx: Nginx) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]], int]:
    """Requests and durations by server as the access_log has them, and all of its milliseconds, without 101."""
    lines = nginx.access_lines()
    timed = [line for line in lines if line[2] != UPGRADED]
    return (
        Counter((line[0],) for line in lines),
        Counter((line[0],) for line in timed),
        sum(milliseconds(float(line[5])) for line in timed),
    )


def sums_of_page(samples: Samples) -> tuple[Counter[tuple[str, ...]], Counter[tuple[str, ...]], int]:
    taken = sum(value for (name, _), value in samples.items() if name == "nginx_http_request_duration_seconds_sum")
    return by_labels(samples, RESPONSES, "server"), by_labels(samples, COUNT, "server"), milliseconds(taken)


def assert_conserved(nginx: Nginx, collector: Collector) -> None:
    try:
        wait_until(lambda: sums_of_page(collector.samples()) == sums_by_server(nginx), 30, "page == access_log")
    except AssertionError:
        assert sums_of_page(collector.samples()) == sums_by_server(nginx)


def test_a_histogram_counts_the_requests_of_its_server(socket_path: Path, shared: Path) -> None:
    """Under load, with several workers; upgraded connections are requests only."""
    port, script = free_port(), shared / "mixed.lua"
    script.write_text(SCRIPT)
    with Collector(socket_path) as collector, Nginx(socket_path, LOADED.format(port=port), workers=3) as nginx:
        with Load(f"http://127.0.0.1:{port}/", 4, script=str(script)) as load:
            while load.running():
                upgrade(port, "/upgraded", "a.example")
        assert_conserved(nginx, collector)
        requests, timed, _ = sums_of_page(collector.samples())
        upgraded = by_labels(collector.samples(), RESPONSES, "server", "status")["a.example", UPGRADED]
        assert upgraded > 1
        assert requests - timed == {("a.example",): upgraded}
        assert timed.total() > 1000
        assert nginx.errors() == []


def test_a_reload_that_changes_the_labels_of_durations_loses_nothing(socket_path: Path, shared: Path) -> None:
    """Back and forth under load: workers of two choices send side by side, and heirs send what the old ones left."""
    port, script = free_port(), shared / "mixed.lua"
    script.write_text(SCRIPT)
    nginx = Nginx(socket_path, LOADED.format(port=port))
    set_include(include_of(nginx), "labels", "tenant=http_x_tenant")
    with Collector(socket_path) as collector, nginx:
        with Load(f"http://127.0.0.1:{port}/", 12, script=str(script)) as load:
            for choice in RELOADED:
                time.sleep(1.2)  # each choice lives long enough to send something
                set_include(include_of(nginx), "duration_labels", choice)
                nginx.reload()
                upgrade(port, "/upgraded", "a.example")
            assert load.running(), "the load ended before the reloads did"
        requests, timed, taken = sums_by_server(nginx)

        def agree() -> bool:
            nonlocal requests, timed, taken
            requests, timed, taken = sums_by_server(nginx)
            shown_requests, shown_timed, shown_taken = sums_of_page(collector.samples())
            # What was counted without the label server has none any more.
            return (shown_requests, shown_timed.total(), shown_taken) == (requests, timed.total(), taken)

        wait_until(agree, 30, "page == access_log")
        samples = collector.samples()
        assert {tuple(name for name, _ in key) for key in durations(samples)} == {("server",)}
        assert by_labels(samples, RESPONSES, "tenant").total() == requests.total()
        assert requests.total() - timed.total() == len(RELOADED)
        assert nginx.errors() == []


FLOOD = 25_000


def test_more_label_sets_than_a_family_may_have_keep_both_sums(socket_path: Path, shared: Path) -> None:
    """The rows of requests and those of durations are full at different times: each request is in both all the same."""
    port, script = free_port(), shared / "flood.lua"
    script.write_text("""
        local n = 0
        request = function()
            n = n + 1
            return wrk.format(nil, n % 3 == 0 and "/missing" or "/", { ["X-Tenant"] = "t" .. n, Host = "a.example" })
        end
    """)
    nginx = Nginx(socket_path, LOADED.format(port=port))
    set_include(include_of(nginx), "labels", "tenant=http_x_tenant")
    set_include(include_of(nginx), "duration_labels", "tenant status method server")
    with Collector(socket_path) as collector, nginx:
        while len(nginx.access_lines()) < FLOOD:
            with Load(f"http://127.0.0.1:{port}/", 3, script=str(script)):
                pass
        for host in ("a.example", "b.example"):
            get(port, "/missing", {"Host": host, "X-Tenant": "late"}, 50)
        assert_conserved(nginx, collector)
        samples = collector.samples()
        for name in (RESPONSES, COUNT):
            tenants = by_labels(samples, name, "tenant")
            assert 10_000 <= len(tenants) <= 11_000
            assert tenants["other",] > 0
            by_status = by_labels(samples, name, "server", "status")
            assert by_status == Counter((line[0], line[2]) for line in nginx.access_lines())
        assert nginx.errors() == []

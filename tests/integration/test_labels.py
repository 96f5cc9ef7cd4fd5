"""Labels, scopes and what is left out, from nginx's configuration alone and from Lua."""

import socket
from collections import Counter
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.labels import by_labels
from support.nginx import Nginx, set_include
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

RESPONSES = "nginx_http_responses_total"


def set_labels(nginx: Nginx, labels: str) -> None:
    set_include(nginx.share / "nginx.conf.d" / "resty-metrics.conf", "labels", labels)


def wait_for(collector: Collector, wanted: Counter[tuple[str, ...]], *labels: str, name: str = RESPONSES) -> None:
    try:
        wait_until(lambda: by_labels(collector.samples(), name, *labels) == wanted, 15, name)
    except AssertionError:
        assert by_labels(collector.samples(), name, *labels) == wanted


SITE = """
map $uri $route {{ ~^/users/ /users/:id; / /; default other; }}
server {{
    listen 127.0.0.1:{port} default_server;
    server_name a.example;
    location / {{ return 200; }}
    location /quiet {{ log_by_lua_file {{share}}/lua/resty/metrics/off.lua; return 200; }}
    location /api {{
        set $resty_metrics_scope api;
        set $resty_metrics_scope_labels "version=http_x_version";
        set $resty_metrics_scope_buckets "1 2";
        log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
        return 200;
    }}
    location /lua {{
        log_by_lua_block {{
            (package.loaded["resty.metrics"] or dofile("{{share}}/lua/resty/metrics/load.lua")).log {{
                scope = "lua", labels = {{ zone = "http_x_zone", area = "http_x_area" }}, buckets = "3",
            }}
        }}
        return 200;
    }}
}}
"""


def site(port: int) -> str:
    return SITE.format(port=port).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("first", ["/", "/api", "/lua", "/quiet"])
def test_labels_scopes_and_what_is_left_out(socket_path: Path, first: str) -> None:
    """Whichever request comes first: what a location states for its scope does not become everybody's."""
    port = free_port()
    nginx = Nginx(socket_path, site(port), workers=1)
    set_labels(nginx, "tenant=http_x_tenant route=route")
    with Collector(socket_path) as collector, nginx:
        get(port, first)
        get(port, "/users/7", {"X-Tenant": "one"}, 3)
        get(port, "/users/8", {"X-Tenant": "two\x1f=,"}, 2)
        get(port, "/api/x", {"X-Version": "v1"}, 4)
        get(port, "/api/x", {}, 1)
        get(port, "/lua", {"X-Zone": "z", "X-Area": "a"}, 5)
        get(port, "/quiet", {}, 6)
        with socket.create_connection(("127.0.0.1", port)) as bad:
            bad.sendall(b"BAD\0 / \r\n\r\n")
            bad.recv(4096)
        labels = ("scope", "status", "tenant", "route", "version", "zone", "area")
        no = "absent"
        wanted: Counter[tuple[str, ...]] = Counter(
            {
                (no, "200", "one", "/users/:id", no, no, no): 3,
                (no, "200", r"two\x1f=,", "/users/:id", no, no, no): 2,
                (no, "400", "_", "other", no, no, no): 1,
                ("api", "200", no, no, "v1", no, no): 4,
                ("api", "200", no, no, "_", no, no): 1,
                ("lua", "200", no, no, no, "z", "a"): 5,
            }
        )
        if first == "/":
            wanted[no, "200", "_", "/", no, no, no] += 1
        elif first == "/api":
            wanted["api", "200", no, no, "_", no, no] += 1
        elif first == "/lua":
            wanted["lua", "200", no, no, no, "_", "_"] += 1
        wait_for(collector, wanted, *labels)
        timed: Counter[tuple[str, ...]] = Counter()
        for (scope, status, *users), count in wanted.items():
            timed[scope, f"{status[0]}xx", *users] += count
        names = ("scope", "status_class", *labels[2:], "method", "status")
        everything = Counter({(*key, no, no): count for key, count in timed.items()})
        wait_for(collector, everything, *names, name="nginx_http_request_duration_seconds_count")
        buckets = by_labels(collector.samples(), "nginx_http_request_duration_seconds_bucket", "scope", "le")
        assert {le for scope, le in buckets if scope == "api"} == {"1.0", "2.0", "+Inf"}
        assert {le for scope, le in buckets if scope == "lua"} == {"3.0", "+Inf"}
        assert len({le for scope, le in buckets if scope == no}) == 17
        ended = by_labels(collector.samples(), "resty_metrics_requests_ended_total")
        assert ended[()] == wanted.total() + 6 + (first == "/quiet")
        assert nginx.errors() == []
        assert "using uninitialized" not in nginx.log()


def test_labels_that_cannot_be_used_are_said_once_and_requests_still_count(socket_path: Path) -> None:
    port = free_port()
    nginx = Nginx(socket_path, site(port), workers=1)
    set_labels(nginx, "status=http_x_tenant")
    with Collector(socket_path) as collector, nginx:
        get(port, "/", {}, 5)
        wait_for(collector, Counter({("200",): 5}), "status")
        assert [line.split("resty-metrics: ")[1].split(" while ")[0] for line in nginx.errors()] == [
            'the label name "status" is reserved: use another one; requests are counted without your labels'
        ]
        assert by_labels(collector.samples(), "resty_metrics_worker_errors_total", "reason") == {("labels",): 1}


SETTINGS = [
    ("labels of one server", 'set $resty_metrics_labels "tenant=http_x_tenant";', "", "resty_metrics_labels"),
    ("buckets of one server", 'set $resty_metrics_buckets "1 2";', "", "resty_metrics_buckets"),
    ("a name by the host", "", 'map $host $resty_metrics_nginx { b.example b; default ""; }', "resty_metrics_nginx"),
    (
        "duration labels of one server",
        'set $resty_metrics_duration_labels "server";',
        "",
        "resty_metrics_duration_labels",
    ),
    ("labels by the host", "", 'map $host $resty_metrics_labels { b.example "a=b"; }', "resty_metrics_labels"),
]


@pytest.mark.parametrize("first", ["a.example", "b.example"])
@pytest.mark.parametrize(
    ("statement", "in_http", "setting"), [one[1:] for one in SETTINGS], ids=[one[0] for one in SETTINGS]
)
def test_a_setting_that_some_requests_state_is_said_once_and_counted(
    socket_path: Path, statement: str, in_http: str, setting: str, first: str
) -> None:
    port = free_port()
    body = f"""{in_http}
        server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}
        server {{ listen 127.0.0.1:{port}; server_name b.example; {statement} location / {{ return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        for host in (first, "a.example", "b.example", "a.example", "b.example"):
            get(port, "/", {"Host": host, "X-Tenant": "acme"})
        errors = "resty_metrics_worker_errors_total"
        wanted = {("settings_per_request",): 1}
        wait_until(lambda: by_labels(collector.samples(), errors, "reason") == wanted, message="its count")
        (line,) = nginx.errors()
        assert f"${setting} is " in line
        assert f'server "{"b" if first == "a.example" else "a"}.example"' in line
        assert "Set it once in http{}" in line


def test_all_settings_that_a_request_states_otherwise_are_said_together(socket_path: Path) -> None:
    port = free_port()
    body = f"""server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}
        server {{ listen 127.0.0.1:{port}; server_name b.example; set $resty_metrics_labels "tenant=arg_tenant";
            set $resty_metrics_buckets "1 2"; set $resty_metrics_nginx "b"; location / {{ return 200; }} }}"""
    with Collector(socket_path), Nginx(socket_path, body, workers=1) as nginx:
        for host in ("a.example", "b.example", "a.example", "b.example"):
            get(port, "/", {"Host": host})
        (line,) = nginx.errors()
        assert '$resty_metrics_nginx is "b", but was ""' in line
        assert '$resty_metrics_buckets is "1 2", but was ""' in line
        assert '$resty_metrics_labels is "tenant=arg_tenant", but was ""' in line
        assert "_socket" not in line


ONE_SCOPE = """
    lua_package_path "{{share}}/lua/?.lua;;";
    server {{
        listen 127.0.0.1:{port};
        location /set/ {{
            set $resty_metrics_scope set;
            set $resty_metrics_scope_labels "{labels}";
            set $resty_metrics_scope_buckets "{buckets}";
            log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
            return 200;
        }}
        location /set {{
            set $resty_metrics_scope set;
            set $resty_metrics_scope_labels " a=arg_a ";
            set $resty_metrics_scope_buckets "1 2";
            log_by_lua_file {{share}}/lua/resty/metrics/scope.lua;
            return 200;
        }}
        location /lua {{
            log_by_lua_block {{
                require("resty.metrics").log {{ scope = "set", labels = {{ a = "arg_a" }}, buckets = "1.0 2" }}
            }}
            return 200;
        }}
    }}
"""


@pytest.mark.parametrize(
    ("labels", "buckets", "differs"),
    [("a=arg_a", "1 2.000", False), ("b=arg_a", "1 2", True), ("a=arg_b", "1 2", True), ("a=arg_a", "1 3", True)],
)
@pytest.mark.parametrize("other", ["/set", "/lua"])
def test_a_scope_that_two_places_state_in_two_ways_is_said_once(
    socket_path: Path, other: str, labels: str, buckets: str, differs: bool
) -> None:
    port = free_port()
    body = ONE_SCOPE.format(port=port, labels=labels, buckets=buckets)
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        errors = "resty_metrics_worker_errors_total"
        get(port, other)

        def is_counted() -> bool:
            get(port, "/set/")
            return by_labels(collector.samples(), errors, "reason") == {("scope_settings",): 1}

        if differs:
            wait_until(is_counted, message="its count")
            (line,) = nginx.errors()
            first = 'labels "a=arg_a", duration labels "server status_class a" and buckets "1000 2000"'
            assert f'scope "set" keeps {first}' in line
        else:
            begun = collector.value("resty_metrics_worker_uptime_seconds", worker="0") or 0
            wait_until(
                lambda: (
                    bool(get(port, "/set/"))
                    and (collector.value("resty_metrics_worker_uptime_seconds", worker="0") or 0) > begun + 2
                ),
                message="two more ticks",
            )
            assert nginx.errors() == []


def test_a_setting_that_differs_within_one_label_set_is_found_within_a_minute(socket_path: Path) -> None:
    """No label set is new then, so one request a minute is looked at."""
    port = free_port()
    body = f"""map $arg_labels $resty_metrics_labels {{ "" ""; default "a=arg_a"; }}
        server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        get(port, "/")

        def is_counted() -> bool:
            get(port, "/?labels=1")
            return by_labels(collector.samples(), "resty_metrics_worker_errors_total").total() == 1

        wait_until(is_counted, 90, "its count")
        assert len(nginx.errors()) == 1


def test_a_scope_that_clients_name_does_not_fill_the_worker(socket_path: Path) -> None:
    port = free_port()
    block = "location / { set $resty_metrics_scope $arg_scope; log_by_lua_file {share}/lua/resty/metrics/scope.lua; "
    body = f"server {{ listen 127.0.0.1:{port}; server_name a.example; {block} return 200; }} }}"
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        for number in range(100):
            get(port, f"/?scope=s{number}")
        get(port, "/")
        wanted: Counter[tuple[str, ...]] = Counter({(f"s{number}",): 1 for number in range(64)})
        wanted["absent",] = 37
        wait_for(collector, wanted, "scope")
        assert len(nginx.errors()) == 1


def test_upgraded_connections_have_their_own_duration(socket_path: Path) -> None:
    port = free_port()
    body = f"""server {{ listen 127.0.0.1:{port}; server_name a.example;
        location / {{ return 200; }}
        location /up {{ content_by_lua_block {{ ngx.status = 101; ngx.send_headers(); ngx.sleep(0.2) }} }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, body, workers=1) as nginx:
        get(port, "/", {}, 2)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"GET /up HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            while connection.recv(4096):
                pass
        wait_for(collector, Counter({("200",): 2, ("101",): 1}), "status")
        samples = collector.samples()
        count = "nginx_http_request_duration_seconds_count"
        assert by_labels(samples, count, "server", "status_class") == {("a.example", "2xx"): 2}
        upgraded = "nginx_http_upgraded_connection_duration_seconds"
        assert by_labels(samples, upgraded + "_count", "server") == {("a.example",): 1}
        assert by_labels(samples, upgraded + "_bucket", "le")["1.0",] == 1
        seconds = collector.value(upgraded + "_sum", server="a.example")
        (line,) = [line for line in nginx.access_lines() if line[2] == "101"]
        assert seconds is not None
        assert round(seconds * 1000) == round(float(line[5]) * 1000)
        assert nginx.errors() == []

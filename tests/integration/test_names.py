"""Other names resolve as they do without our hook, and ours are found whatever Lua code did before."""

import re
import shutil
import signal
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.nginx import ROOT, Nginx, set_include
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    lua_package_path "{{prefix}}/own/?.lua;;";
    {more}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /path {{ content_by_lua_block {{ ngx.print(package.path) }} }}
        location /require {{ content_by_lua_block {{
            local ok, found = pcall(require, ngx.var.arg_name)
            local whose = type(found) == "table" and found.whose or "somebody's"
            ngx.print(ok and whose or "none")
        }} }}
        location /same {{ content_by_lua_block {{
            ngx.print(tostring(require("resty.metrics") == package.loaded.kept))
        }} }}
    }}
"""
OURS = ["hook", "scope", "off"]


def own_module(nginx: Nginx, name: str, text: str = 'return { whose = "the user\'s" }\n') -> None:
    path = nginx.prefix / "own" / f"{name.replace('.', '/')}.lua"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for one in [path, *path.parents]:
        if nginx.prefix in one.parents:
            one.chmod(0o755)


def assert_counted(collector: Collector, nginx: Nginx) -> None:
    wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")


@pytest.mark.parametrize("name", ["prometheus", "resty.metricsx", "resty.other", "load", "compat.prometheus"])
def test_a_name_that_is_not_ours_resolves_as_without_us(socket_path: Path, name: str) -> None:
    port = free_port()
    with Collector(socket_path) as collector, Nginx(socket_path, SITE.format(port=port, more=""), workers=1) as nginx:
        before = get(port, "/path")[0].body  # the first request: its hook has not run yet
        assert get(port, f"/require?name={name}")[0].body == b"none"
        own_module(nginx, name)
        assert get(port, f"/require?name={name}")[0].body == b"the user's"
        assert get(port, "/path")[0].body == before
        assert_counted(collector, nginx)
        assert nginx.errors() == []


def test_a_module_below_ours_that_we_do_not_have_is_the_users(socket_path: Path) -> None:
    port = free_port()
    with Nginx(socket_path, SITE.format(port=port, more=""), workers=1) as nginx:
        get(port)
        own_module(nginx, "resty.metrics.of_mine")
        assert get(port, "/require?name=resty.metrics.of_mine")[0].body == b"the user's"
        assert get(port, "/require?name=resty.metrics.gauges")[0].body == b"somebody's"


# What Lua code of the user's does before our first request.
HARSH = {
    "no dofile": "dofile = nil",
    "no debug": "debug = nil",
    "no debug at all": "debug = nil package.loaded.debug = nil",
    "no loadfile, loadstring, load": "loadfile, loadstring, load = nil, nil, nil",
    "no io": "io = nil package.loaded.io = nil",
    "no path": "package.path = nil",
    "no newproxy, no collectgarbage": "newproxy, collectgarbage = nil, nil",
    "another path": 'package.path = "/nowhere/?.lua;/usr/share/lua/5.1/?.lua"',
    "a strict _G": """
        setmetatable(_G, { __index = function(_, name) error("no global " .. name, 2) end,
            __newindex = function(_, name) error("nobody writes the global " .. name, 2) end })""",
    "all of it": """
        dofile, debug, loadfile, loadstring, load, io = nil, nil, nil, nil, nil, nil
        newproxy, collectgarbage = nil, nil
        package.loaded.debug, package.loaded.io = nil, nil
        package.path = "/nowhere/?.lua;/usr/share/lua/5.1/?.lua"
        setmetatable(_G, { __index = function(_, name) error("no global " .. name, 2) end,
            __newindex = function(_, name) error("nobody writes the global " .. name, 2) end })""",
}


@pytest.mark.parametrize("code", HARSH.values(), ids=HARSH)
def test_it_works_whatever_was_removed_before(socket_path: Path, code: str) -> None:
    """With labels of the user's, whose code is compiled where that can be."""
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port, more=f"init_by_lua_block {{ {code} }}"), workers=1)
    set_include(nginx.share / "nginx.conf.d" / "resty-metrics.conf", "labels", "x=arg_x y=scheme")
    with Collector(socket_path) as collector, nginx:
        for x in ("1", "2", "1"):
            get(port, f"/?x={x}")
        assert_counted(collector, nginx)
        by_x = {
            dict(of)["x"]: value
            for (name, of), value in collector.samples().items()
            if name == "nginx_http_responses_total"
        }
        assert by_x == {"1": 2, "2": 1}
        wait_until(lambda: collector.value("resty_metrics_workers_seen") == 1, message="a heartbeat")
        collector.signal(signal.SIGSTOP)  # what is left when nginx ends is sent by the finalizer
        get(port, "/?x=2", times=3)
        collector.signal(signal.SIGCONT)
        nginx.quit()
        assert_counted(collector, nginx)
        assert nginx.errors() == []


@pytest.mark.parametrize("value", ['{ whose = "the user\'s" }', 'function() return "the user\'s" end'])
@pytest.mark.parametrize("name", OURS)
def test_a_module_of_somebody_elses_that_has_our_name_stays_and_one_line_says_so(
    socket_path: Path, name: str, value: str
) -> None:
    port = free_port()
    more = 'init_by_lua_block { package.loaded.kept = require("resty.metrics") }'
    hook = f"log_by_lua_file {{share}}/lua/resty/metrics/{name}.lua;"
    site = hook + SITE.format(port=port, more=more)
    nginx = Nginx(socket_path, site, workers=1, include="")
    own_module(nginx, "resty.metrics", f"return {value}\n")
    with nginx:
        get(port, times=20)
        assert get(port, "/same")[0].body == b"true"
        wait_until(lambda: len(nginx.access_lines()) == 21, message="the access_log")
        (said,) = nginx.errors()
        assert "another module is called resty.metrics too: rename that one" in said


@pytest.mark.parametrize("name", OURS)
def test_where_it_cannot_work_one_line_names_the_cause(socket_path: Path, name: str) -> None:
    port = free_port()
    gone = 'init_by_lua_block { package.loaded["jit.util"], package.preload["jit.util"] = nil, nil }'
    site = f"{gone} log_by_lua_file {{share}}/lua/resty/metrics/{name}.lua;" + SITE.format(port=port, more="")
    with Nginx(socket_path, site, workers=1, include="") as nginx:
        get(port, times=20)
        wait_until(lambda: len(nginx.access_lines()) == 20, message="the access_log")
        (said,) = nginx.errors()
        assert "resty-metrics is off in this worker for now: " in said
        assert "jit.util" in said


def test_the_hooks_differ_in_what_they_call_alone() -> None:
    """Each has to find the rest by itself, with what nginx gives to a file: nothing."""
    called = {"hook": "log", "scope": "log_scope", "off": "log_nothing"}
    texts = set()
    for name in OURS:
        text = (ROOT / "lua/resty/metrics" / f"{name}.lua").read_text()
        body = text[text.index("\nlocal log =") :]
        texts.add(body.replace(f'"resty.metrics.{name}"', "KEY").replace(f"metrics.{called[name]}\n", "CALL\n")
                  .replace(f"metrics.{called[name]}()", "CALL()"))  # fmt: skip
    assert len(texts) == 1


def other_copy(nginx: Nginx, version: str) -> Path:
    copy = nginx.prefix / "own"
    shutil.copytree(nginx.share / "lua", copy)
    main = copy / "resty/metrics.lua"
    main.write_text(main.read_text().replace('_VERSION = "0.1.0"', f'_VERSION = "{version}"'))
    return copy


@pytest.mark.parametrize("first", ["hook", "user"])
@pytest.mark.parametrize("version", ["0.1.0", "0.0.9"])
def test_of_two_copies_one_is_used_and_another_version_is_said(socket_path: Path, first: str, version: str) -> None:
    port = free_port()
    keep = 'package.loaded.kept = require("resty.metrics")'
    more = f"init_by_lua_block {{ {keep} }}" if first == "user" else ""
    nginx = Nginx(socket_path, SITE.format(port=port, more=more), workers=1)
    copy = other_copy(nginx, version)
    with Collector(socket_path) as collector, nginx:
        get(port, times=3)
        if first == "hook":  # what the user's code requires later is the same
            assert get(port, "/require?name=resty.metrics")[0].body == b"somebody's"
        else:
            assert get(port, "/same")[0].body == b"true"
        assert_counted(collector, nginx)
        used = version if first == "user" else "0.1.0"
        wait_until(lambda: collector.value("resty_metrics_lua_info", version=used), message="its version's heartbeat")
        said = nginx.errors()
        if version == "0.1.0":
            assert said == []
        else:
            (line,) = said
            assert "two versions of the Lua module are installed: " in line
            roots = {"user": f"{version} in {copy} is used", "hook": f"{version} in {copy} is not"}
            assert roots[first] in line


PHASES = """
    init_by_lua_block {{
        say = function(phase) require("resty.metrics").gauge("a_total_" .. phase .. "!") end
        say("init")
    }}
    init_worker_by_lua_block {{ say("init_worker") ngx.timer.at(0, function() say("timer") end) }}
    exit_worker_by_lua_block {{ say("exit_worker") }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            access_by_lua_block {{ say("access") }}
            content_by_lua_block {{ say("content") }}
            header_filter_by_lua_block {{ say("header_filter") }}
            log_by_lua_block {{ say("log") }}
        }}
    }}
"""


def test_lines_in_the_error_log_have_our_words_alone_in_every_phase(socket_path: Path) -> None:
    port = free_port()
    path = 'lua_package_path "{share}/lua/?.lua;;";'
    with Collector(socket_path), Nginx(socket_path, path + PHASES.format(port=port), workers=1) as nginx:
        get(port)
        nginx.quit()
        said = nginx.errors()
        for phase in ("init", "init_worker", "timer", "access", "content", "header_filter", "log", "exit_worker"):
            (line,) = [line for line in said if f'"a_total_{phase}!"' in line]
            assert re.search(r"\[error\] \d+#\d+: (\*\d+ )?resty-metrics: metric ", line)
        assert not [line for line in said if "[lua]" in line]

"""Another Lua machine in the worker's process: it counts nothing, says why, and the worker's own goes on counting.

stream{} is in no package of Debian: what a machine of it is to the module is shown by plain LuaJIT.
"""

import os
import subprocess
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.luajit import LUAJIT
from support.nginx import ROOT, Nginx
from support.wait import free_port, wait_until

FUNCTIONS = ("counter", "gauge", "histogram", "define", "log", "log_scope", "log_nothing", "init_worker", "wake")
CALLS = """
    local M = require("resty.metrics")
    local lines = {}
    for word in (NAMES):gmatch("%S+") do
        local threw, result, why = pcall(M[word], "a_total", "A.")
        lines[#lines + 1] = tostring(threw) .. " " .. tostring(result) .. " " .. tostring(why)
    end
""".replace("NAMES", f'"{" ".join(FUNCTIONS)}"')

THREAD = f"return {{ go = function() {CALLS} return table.concat(lines, '\\n') end }}\n"
SITE = """
    lua_package_path "{{share}}/lua/?.lua;;";
    {more}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /thread {{ content_by_lua_block {{
            local ok, result = ngx.run_worker_thread("pool", "own_thread", "go")
            ngx.print(tostring(result))
        }} }}
        location /forgetful {{ lua_code_cache off; return 200; }}
        location /forgetful-code {{
            lua_code_cache off;
            content_by_lua_block {{
                local made, why = require("resty.metrics").counter("a_total", "A.")
                ngx.print(tostring(why))
            }}
        }}
    }}
"""
LIFECYCLE = "include {share}/nginx.conf.d/lifecycle.conf;"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["thread", "request"])
@pytest.mark.parametrize("more", ["", LIFECYCLE], ids=["no init_worker", "init_worker"])
def test_a_thread_gets_the_true_reason_and_http_goes_on_counting(socket_path: Path, first: str, more: str) -> None:
    port = free_port()
    site = SITE.format(port=port, more=more)
    nginx = Nginx(socket_path, site, workers=1, main="thread_pool pool threads=2;")
    (nginx.share / "lua/own_thread.lua").write_text(THREAD)
    (nginx.share / "lua/own_thread.lua").chmod(0o644)
    with Collector(socket_path) as collector, nginx:
        if first == "request":
            get(port, times=3)
        for _ in range(3):
            lines = get(port, "/thread")[0].body.decode().splitlines()
            assert len(lines) == len(FUNCTIONS)
            for line in lines:
                assert line.startswith("true nil nothing is counted in a thread of ngx.run_worker_thread"), line
        get(port, times=5)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert [line for line in nginx.errors() if "[alert]" not in line] == []  # nginx's own, of the code cache


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "order", "missed"),
    [
        # The first machine of a process is taken for the worker's own, and what it counts is sent when it ends.
        ("", ["/forgetful", "/", "/", "/forgetful", "/"], 1),
        ("", ["/forgetful", "/forgetful", "/", "/forgetful", "/"], 2),
        ("", ["/", "/forgetful", "/", "/", "/forgetful"], 2),
        ("", ["/", "/", "/forgetful", "/"], 1),
        (LIFECYCLE, ["/forgetful", "/", "/forgetful", "/"], 2),
        ("", ["/", "/forgetful", "/forgetful-code", "/"], 2),
    ],
)
def test_lua_code_cache_off_in_one_location_costs_the_requests_there_alone(
    socket_path: Path, more: str, order: list[str], missed: int
) -> None:
    port = free_port()
    site = SITE.format(port=port, more=more)
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for path in order:
            get(port, path)
        get(port, times=10)
        whole = len(order) + 10
        wait_until(lambda: collector.request_counts().total() == whole - missed, message=f"{whole - missed} counts")
        wait_until(lambda: collector.value("resty_metrics_source_up", source="lua") == 1, message="a worker that lives")
        get(port, times=10)
        wait_until(lambda: collector.request_counts().total() == whole + 10 - missed, message="10 more")
        said = [line for line in nginx.errors() if "[alert]" not in line]  # nginx's own, of the code cache
        assert len(said) == 1, said
        assert "resty-metrics is off for requests with lua_code_cache off" in said[0]


@pytest.mark.slow
def test_what_the_first_request_after_lua_code_cache_off_makes_is_kept(socket_path: Path) -> None:
    """The worker's own machine shows as such at its second request: a metric that code keeps is not lost."""
    port = free_port()
    wrong = 'geo $resty_metrics_labels { default "1x=y"; }'
    site = SITE.format(port=port, more=wrong).replace(
        "location / { return 200; }",
        """location / { return 200; }
        location /made { content_by_lua_block {
            made = made or { require("resty.metrics").counter("made_total", "Made.") }
            ngx.print(tostring(made[1]:inc()))
        } }""",
    )
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, "/forgetful")
        assert [answer.body for answer in get(port, "/made", times=4)] == [b"nil", b"true", b"true", b"true"]
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        wait_until(lambda: collector.value("made_total") == 3, message="what could be counted")
        said = [line for line in nginx.errors() if "[alert]" not in line]
        # once for each machine that sent
        assert sum('"1x" is not a valid label name' in line for line in said) == 2
        assert len(said) == 3, said


STREAM = """
local said = {}
ngx = {
    config = { subsystem = "stream", ngx_lua_version = 10023 },
    log = function(_, line) said[#said + 1] = line end, timer = {}, ERR = 4, WARN = 5,
    get_phase = function() return "log" end, worker = { id = function() return 0 end },
}
CALLS
for name in pairs(package.loaded) do
    if name:find("^resty%.metrics%.") then
        lines[#lines + 1] = "loaded " .. name
    end
end
local ffi = require "ffi"
ffi.cdef "char *getenv(const char *name);"
for _, name in ipairs { "RESTY_METRICS_MACHINE", "RESTY_METRICS_CODE_CACHE" } do
    lines[#lines + 1] = "mark " .. tostring(ffi.C.getenv(name) ~= nil)
end
lines[#lines + 1] = "said " .. table.concat(said, "|")
print(table.concat(lines, "\\n"))
"""


def test_a_machine_of_stream_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    script = tmp_path / "stream.lua"
    script.write_text(STREAM.replace("CALLS", CALLS))
    environment = {**os.environ, "LUA_PATH": f"{ROOT}/lua/?.lua;;"}
    done = subprocess.run([LUAJIT, script], capture_output=True, text=True, timeout=20, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line in lines[: len(FUNCTIONS)]:
        assert line.startswith("true nil nothing is counted in stream{}"), line
    loaded = {line.removeprefix("loaded resty.metrics.") for line in lines if line.startswith("loaded ")}
    assert loaded == {"error_log", "machine", "patience", "place", "shortage", "start"}
    assert lines.count("mark false") == 2
    (said,) = [line.removeprefix("said ") for line in lines if line.startswith("said ")]
    assert said.startswith("resty-metrics is off in stream{}: ")
    assert "|" not in said

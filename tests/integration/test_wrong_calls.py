"""Calls that are wrong where they stand: each returns nil and why, and switches nothing off."""

from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

SITE = """
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /lua {{ content_by_lua_block {{ {lua} }} log_by_lua_block {{ }} }}
    }}
"""
ERRORS = "resty_metrics_worker_errors_total"
FIRST = 5
LOAD = 'dofile("{share}/lua/resty/metrics/load.lua")'
# A call, where it stands, and what it returns.
MISUSES = [
    ("init", 'M.log()', "there is none in init"),
    ("init", 'M.log { scope = "x" }', "there is none in init"),
    ("init", "M.init_worker()", "call it in init_worker_by_lua"),
    ("init_worker", "M.log()", "there is none in init_worker"),
    ("init_worker", "M.init_worker(5)", "not a number"),
    ("init_worker", 'M.init_worker("x")', "not a string"),
    ("init_worker", "M.init_worker { socket = 5 }", "takes a string as socket, not a number"),
    ("init_worker", "M.init_worker { buckets = { 1, 2 } }", "takes a string as buckets, not a table"),
    ("init_worker", "M.init_worker { nginx = true }", "takes a string as nginx, not a boolean"),
    ("init_worker", 'M.init_worker(setmetatable({}, { __index = function() error("mine") end }))', "can be read: "),
    ("timer", "M.log()", "there is none in timer"),
    ("timer", "M.log_nothing()", "there is none in timer"),
    ("timer", "M.init_worker(false)", "not a boolean"),
]  # fmt: skip
WRITE = 'local file = io.open("{out}", "a") file:write(tostring(result), " ", tostring(why)) file:close()'


@pytest.mark.parametrize(("phase", "call", "why"), MISUSES, ids=lambda value: str(value).replace(" ", ""))
def test_a_call_that_is_wrong_where_it_stands_is_refused_and_counting_goes_on(
    socket_path: Path, shared: Path, phase: str, call: str, why: str
) -> None:
    port = free_port()
    out = shared / "out"
    out.touch()
    out.chmod(0o666)
    code = f"local M = {LOAD} local result, why = {call} " + WRITE.replace("{out}", str(out))
    blocks = {
        "init": f"init_by_lua_block {{ {code} }}",
        "init_worker": f"init_worker_by_lua_block {{ {code} }}",
        "timer": f"init_worker_by_lua_block {{ ngx.timer.at(0, function() {code} end) }}",
    }
    site = blocks[phase] + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=2) as nginx:
        get(port, times=FIRST)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        returned = out.read_text()
        assert returned.startswith("nil ")
        assert why in returned
        calls = 1 if phase == "init" else 2
        said = nginx.errors()
        assert len(said) == calls, said
        assert all(why in line and "This call does nothing" in line for line in said)

        def counted() -> float:
            samples = collector.samples().items()
            return sum(value for (name, of), value in samples if name == ERRORS and ("reason", "call") in of)

        get(port, times=20)  # both workers begin
        wait_until(lambda: counted() == calls, message="its count")


@pytest.mark.parametrize("where", ["init_worker", "timer"])
def test_init_worker_may_be_called_twice_and_the_first_call_holds(socket_path: Path, where: str) -> None:
    port = free_port()
    first = f'local M = {LOAD} M.init_worker {{ socket = "{socket_path}" }}'
    second = 'local ok, why = M.init_worker { socket = "/nowhere" } second = tostring(ok) .. " " .. why'
    calls = f"{first} {second}" if where == "init_worker" else f"{first} ngx.timer.at(0, function() {second} end)"
    lua = "ngx.print(second)"
    site = f"init_worker_by_lua_block {{ {calls} }}" + SITE.format(port=port, lua=lua)
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, times=FIRST)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        assert get(port, "/lua")[0].body.decode() == "nil init_worker() was called before, and what it stated holds"
        assert nginx.errors() == []

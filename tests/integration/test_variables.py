"""nginx's variables as the log hook reads them: what ngx.var gives, in the cheapest way that works in this nginx."""

from pathlib import Path

import pytest
from support.client import ask, get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

NAMES = (
    "server_name request_length bytes_sent request uri args request_method scheme host remote_addr hostname "
    "nginx_version http_x_tenant http_x_missing arg_a cookie_c sent_http_content_type upstream_addr ssl_protocol "
    "pid msec connection resty_metrics_socket resty_metrics_scope own empty no_such_variable HTTP_X_Tenant Arg_A http_ "
    "arg_ cookie_ sent_http_ upstream_http_x 1 changing cycle"
)
SITE = """
    geo $own {{ default "a value of a geo"; }}
    geo $empty {{ default ""; }}
    map $args $changing {{ volatile; ~^(?<begin>a*) "$begin of $arg_a"; }}
    map $cycle $cycle {{ default "$cycle"; }}
    large_client_header_buffers 4 64k;
    {jit}
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location = /read {{
            log_by_lua_block {{ return }}
            content_by_lua_block {{
                local ffi, variable = require "ffi", require "resty.metrics.variable"
                local cache = package.loaded.test_readers or {{}}
                package.loaded.test_readers = cache
                for name in ("{names}"):gmatch("%S+") do
                    local reader = cache[name] or {{ variable.reader(name) }}
                    cache[name] = reader
                    local value = ffi.string(reader[1]())
                    if value ~= (ngx.var[name] or "") then
                        ngx.say(name, ": ", value, " is not ", ngx.var[name])
                    end
                end
                local _, way = variable.reader("request_length")
                ngx.print(way)
            }}
        }}
    }}
"""
FLAGS_FIRST, BYTES_FIRST = "int32_t flags; unsigned char *bytes;", "unsigned char *bytes; int32_t flags;"
READ_BY_LUA = ("ngx_http_lua_ffi_var_get(", "ngx_http_lua_ffi_var_gone(")
# What is replaced in the module, and the way that is left.
WAYS = {
    "this nginx": ([], "nginx"),
    "another order of the fields": ([(FLAGS_FIRST, BYTES_FIRST)], "lua-resty-core"),
    "more bits of flags": ([("LENGTH, NOT_FOUND = 0x0fffffff,", "LENGTH, NOT_FOUND = 0x00000003,")], "lua-resty-core"),
    "no such function": ([('"ngx_http_get_variable"', '"ngx_http_get_no_variable"')], "lua-resty-core"),
    "no such hash": ([('"ngx_hash_strlow"', '"ngx_hash_strhigh"')], "lua-resty-core"),
    "no variable that is a constant": ([('"nginx_version"', '"no_such_version"')], "lua-resty-core"),
    "nothing but ngx.var": ([READ_BY_LUA], "nil"),
}


def read_all(nginx: Nginx, port: int) -> set[str]:
    """Return what differs from ngx.var and the way, of requests of many kinds."""
    headers: tuple[dict[str, str], ...] = ({}, {"X-Tenant": "t"}, {"X-Tenant": "t" * 30_000, "Cookie": "c=crumb"})
    return {ask(port, f"/read?{'a' * at}=1", **headers[at % 3]).body.decode() for at in range(120)}


@pytest.mark.parametrize("jit", ["", "init_by_lua_block {{ jit.off() }}"], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("name", WAYS)
def test_each_variable_has_the_value_of_ngx_var(socket_path: Path, name: str, jit: str) -> None:
    port = free_port()
    site = SITE.format(port=port, names=NAMES, jit=jit.format())
    nginx = Nginx(socket_path, site, workers=1)
    replaced, way = WAYS[name]
    path = nginx.share / "lua/resty/metrics/variable.lua"
    for ours, other in replaced:
        text = path.read_text()
        assert ours in text
        path.write_text(text.replace(ours, other))
    with Collector(socket_path) as collector, nginx:
        get(port, "/", times=100)
        assert read_all(nginx, port) == {way}
        wait_until(lambda: collector.request_counts() == {("a.example", "GET", "200"): 100}, message="100 requests")
        assert [line for line in nginx.errors() if "cycle while evaluating" not in line] == []

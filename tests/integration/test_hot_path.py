"""The hot path in a real worker: compiled, and without garbage of its own."""

import re
import urllib.request
from pathlib import Path

import pytest
from support.collector import Collector
from support.load import Load
from support.nginx import Nginx, set_include
from support.wait import free_port

pytestmark = pytest.mark.slow

WARM_SECONDS, MOST_SECONDS = 2, 60
SMALLEST_OBJECT = 16  # bytes of LuaJIT's smallest object: one for each request would show
HOT = re.compile(
    r"\b(metrics|scopes|requests|method|tree|buckets|decimal|upgraded|failures?|upstreams|attempts|variable"  # ours
    r"|base|misc|request|time|var)\.lua"  # of lua-resty-core
)
# Where something rare left the trace of requests, LuaJIT may try a root trace that begins further in: at what pcall()
# calls, or in a function of lua-resty-core. It has to end where that function returns, which is no end for a trace (two
# messages: one inside a loop, one elsewhere); the trace of requests is not touched. A side trace names its trace first.
FURTHER_IN = re.compile(
    r"-- NYI: return to lower frame at metrics\.lua"
    r"|\[TRACE --- (base|misc|request|time|var)\.lua:\d+ -- (leaving loop in root trace|NYI: return to lower frame)\b"
)
# The trace of a request: it ends where log() returns, or, if the request failed, where failures are counted.
WHOLE = r"\[TRACE +\d+ metrics\.lua:\d+ (return|stitch table\.maxn|-> \d+)\]"
LABELS = "tenant=http_x_tenant tls=ssl_protocol scheme=scheme"
SITE = """
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        server_name a.example;
        access_log off;
        location / {{ return 200 "ok\\n"; }}
        location /missing {{ error_page 404 /sorry; return 404; }}
        location = /sorry {{ internal; return 200 "sorry\\n"; }}
        location /passed-on {{ proxy_pass http://127.0.0.1:{port}/; }}
        location /refused {{ proxy_pass http://127.0.0.1:{down}; }}
        location = /garbage {{
            log_by_lua_block {{ return }}
            content_by_lua_block {{
                collectgarbage("stop")
                ngx.print(string.format("%d", collectgarbage("count") * 1024))
            }}
        }}
        location = /begun {{ log_by_lua_block {{ return }} stub_status; }}
    }}
"""
NO_HANDLER = 'lua_package_path "{prefix}/?.lua;;"; log_by_lua_block { require("empty").log() }'
VERBOSE = 'init_worker_by_lua_block {{ require("jit.v").on("{log}") }}'


def load(port: int, path: str, seconds: int) -> None:
    with Load(f"http://127.0.0.1:{port}{path}", seconds, connections=8):
        pass


def verbose(socket_path: Path) -> tuple[Nginx, int, Path]:
    """Return an nginx that counts upstreams and labels, its port, and the file that jit.v writes."""
    port = free_port()
    nginx = Nginx(socket_path, "", workers=1)
    log = nginx.prefix / "jit.log"
    log.touch()
    log.chmod(0o666)
    more = "include {share}/nginx.conf.d/upstreams.conf;"
    nginx.configure(more + VERBOSE.format(log=log) + SITE.format(port=port, down=free_port()))
    set_include(nginx.share / "nginx.conf.d" / "resty-metrics.conf", "labels", LABELS)
    return nginx, port, log


@pytest.mark.parametrize("path", ["/", "/missing", "/passed-on"])
def test_once_warm_nothing_is_interpreted_for_want_of_a_trace(socket_path: Path, path: str) -> None:
    """jit.v writes a line for each trace that is compiled, and one with --- for each that had to be given up.

    What a tick does, once a second, may still be at that; what a request does may not.
    """
    nginx, port, log = verbose(socket_path)
    with Collector(socket_path), nginx:
        for _ in range(MOST_SECONDS // WARM_SECONDS):
            before = log.stat().st_size
            load(port, path, WARM_SECONDS)
            if 0 < before == log.stat().st_size:
                break
        lines = log.read_text().splitlines()
        assert [line for line in lines if re.match(WHOLE, line)], lines
        load(port, path, 2 * WARM_SECONDS)
        new = log.read_text().splitlines()[len(lines) :]
        given_up = [line for line in new if "---" in line and HOT.search(line) and not FURTHER_IN.search(line)]
        assert given_up == []
        assert nginx.errors() == []


def test_a_site_of_errors_alone_is_compiled_too(socket_path: Path) -> None:
    """A trace that gets too long is given up, in the end for the requests that succeed as well."""
    nginx, port, log = verbose(socket_path)
    with Collector(socket_path), nginx:
        load(port, "/refused", WARM_SECONDS)
        lines = log.read_text().splitlines()
        assert [line for line in lines if re.match(WHOLE, line)], lines
        assert [line for line in lines if "trace too long" in line or "blacklisted at metrics" in line] == []


def bytes_per_request(nginx: Nginx, port: int, path: str) -> float:
    """What the worker's Lua machine makes for each request, collected or not, once all is compiled."""

    def ask(what: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}", timeout=10) as answer:
            return str(answer.read().decode())

    def begun() -> int:
        found = re.search(r"\d+ \d+ (\d+)", ask("begun"))
        assert found is not None
        return int(found[1])

    with nginx:
        load(port, path, WARM_SECONDS)
        garbage, requests = int(ask("garbage")), begun()
        load(port, path, WARM_SECONDS)
        requests, garbage = begun() - requests, int(ask("garbage")) - garbage
        assert nginx.errors() == []
    assert requests > 1000
    return garbage / requests


@pytest.mark.parametrize("labels", [False, True])
def test_a_request_makes_no_garbage_but_what_any_log_handler_does(socket_path: Path, labels: bool) -> None:
    port = free_port()
    empty = Nginx(socket_path, NO_HANDLER + SITE.format(port=port, down=free_port()), workers=1, include="")
    module = empty.prefix / "empty.lua"
    module.write_text("return { log = function() end }\n")
    module.chmod(0o644)
    ours = Nginx(socket_path, SITE.format(port=port, down=free_port()), workers=1)
    if labels:
        set_include(ours.share / "nginx.conf.d" / "resty-metrics.conf", "labels", LABELS)
    with Collector(socket_path):
        its = bytes_per_request(empty, port, "/")
        assert bytes_per_request(ours, port, "/") < its + SMALLEST_OBJECT

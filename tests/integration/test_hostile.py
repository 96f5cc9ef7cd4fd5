"""Configurations with hooks, paths and phases of their own: each documented variant is accepted and counts exactly."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.client import ask
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

TEXT = Path(__file__).with_name("hostile.conf").read_text()
LOAD = "{share}/lua/resty/metrics/load.lua"
HOOK = f'(package.loaded["resty.metrics"] or dofile("{LOAD}")).log()'
REQUIRED = 'require("resty.metrics").log()'
OWN_PATH = '"{prefix}/own/?.lua;;"'
BOTH_PATHS = '"{prefix}/own/?.lua;{share}/lua/?.lua;;"'
LIFECYCLE = f'dofile("{LOAD}").init_worker {{ socket = "@socket@" }}'
# What other libraries declare under the same names, and what a careless one does to the globals.
OWN_INIT = """
init_by_lua_block {
    local ffi = require "ffi"
    ffi.cdef[[
    struct iovec { int other; };
    struct msghdr { int other; };
    int sendmsg(int, const void *, int);
    int socket(int, int, int);
    ]]
    local own = require "own"
    settings, count, log, rows, worker = own, own, own, own, own
    setmetatable(_G, { __newindex = function(_, name) error("nobody writes the global " .. name) end })
}
"""
PRELOADED = 'init_by_lua_block { require "own"; require "resty.metrics" }'


@dataclass(frozen=True)
class Variant:
    """What is put into hostile.conf."""

    name: str
    include: str
    hook: str = HOOK
    http_log: str = ""
    init: str = OWN_INIT
    init_worker: str = ""
    paths: str = OWN_PATH


OWN_HTTP_LOG = f"log_by_lua_block {{ {HOOK} ngx.shared.own_numbers:incr('requests', 1) }}"
VARIANTS = [
    Variant("the include, own hooks in servers and locations", "resty-metrics.conf"),
    Variant("own hook at http level too", "resty-metrics-own-hook.conf", http_log=OWN_HTTP_LOG),
    Variant("our call in an own init_worker", "resty-metrics.conf", init_worker=LIFECYCLE),
    Variant(
        "all own, on the package path",
        "resty-metrics-own-hook.conf",
        hook=REQUIRED,
        http_log=f"log_by_lua_block {{ {REQUIRED} }}",
        init_worker='require("resty.metrics").init_worker { socket = "@socket@" }',
        paths=BOTH_PATHS,
    ),
    Variant("required in init_by_lua, so inherited", "resty-metrics.conf", init=PRELOADED, paths=BOTH_PATHS),
]


def configuration(variant: Variant, socket_path: Path, port: int) -> str:
    words = {
        OWN_PATH: variant.paths,
        "@init@": variant.init,
        "@init_worker@": variant.init_worker,
        "@include@": f"include {{share}}/nginx.conf.d/{variant.include};",
        "@http_log@": variant.http_log,
        "@hook@": variant.hook,
        "@socket@": str(socket_path),
        "@port@": str(port),
    }
    text = TEXT
    for word, by in words.items():
        text = text.replace(word, by)
    return text


def write_own_files(nginx: Nginx, hook: str) -> None:
    own = nginx.prefix / "own"
    own.mkdir(mode=0o755)
    (own / "own.lua").write_text('return { name = "own" }\n')
    line = hook.replace("{share}", str(nginx.share))
    (own / "log.lua").write_text(f'{line}\nngx.shared.own_numbers:incr("requests", 1)\n')
    for path in own.iterdir():
        path.chmod(0o644)


def get(port: int, host: str, path: str) -> str:
    return ask(port, path, Host=host).body.decode()


REQUESTS = [
    ("plain.example", "/"),
    ("plain.example", "/own"),
    ("plain.example", "/sub"),
    ("own.example", "/"),
    ("own.example", "/file"),
    ("own.example", "/?throw=1"),
    ("unknown.example", "/"),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_each_documented_variant_counts_exactly(variant: Variant, socket_path: Path) -> None:
    port = free_port()
    nginx = Nginx(socket_path, configuration(variant, socket_path, port), include="")
    write_own_files(nginx, variant.hook)
    assert nginx.command("-t").returncode == 0, nginx.command("-t").stderr
    with Collector(socket_path) as collector, nginx:
        for _ in range(20):
            for host, path in REQUESTS:
                get(port, host, path)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        own = {"plain.example": 1, "own.example": 3}
        hooks = 20 * sum(own.values())
        if variant is VARIANTS[1]:  # its http level hook counts the plain requests as well
            hooks += 20 * 3
        assert int(get(port, "numbers.example", "/")) == hooks
        assert [line for line in nginx.errors() if "own hook" not in line] == []
        assert len(nginx.errors()) == 20


def test_a_second_hook_beside_the_include_is_named_by_nginx(socket_path: Path) -> None:
    """What our documentation warns of is what nginx really does."""
    nginx = Nginx(socket_path, "log_by_lua_block { local a = 1 }", include="resty-metrics.conf")
    tested = nginx.command("-t")
    assert tested.returncode != 0
    assert "is duplicate" in tested.stderr


def test_a_hook_without_our_line_hides_its_requests_and_shows_in_the_counters(socket_path: Path) -> None:
    port = free_port()
    site = f"""server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }}
        location /shadow {{ log_by_lua_block {{ local a = 1 }} return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for path in ["/", "/shadow", "/"]:
            get(port, "a.example", path)

        def totals() -> Counter[str]:
            sums: Counter[str] = Counter()
            for (name, _), value in collector.samples().items():
                sums[name] += int(value) if value == value else 0
            return sums

        wait_until(lambda: totals()["resty_metrics_requests_begun_total"] == 3, message="nginx's own counter")
        assert totals()["resty_metrics_requests_ended_total"] == 2
        assert nginx.errors() == []


def test_a_mismatch_between_init_worker_and_nginx_is_reported(socket_path: Path) -> None:
    port = free_port()
    stated = f'{{ socket = "{socket_path}", buckets = "1 2" }}'
    site = f"""init_worker_by_lua_block {{ dofile("{LOAD}").init_worker {stated} }}
        server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, "a.example", "/")
        wait_until(lambda: collector.value("resty_metrics_worker_errors_total", worker="0", reason="settings"))
        assert sum(collector.request_counts().values()) == 1
        said = [line for line in nginx.errors() if "init_worker states" in line]
        assert len(said) == 1
        assert "Make them equal" in said[0]
        assert "init_worker states buckets 1 2, but nginx's variables state buckets 0.005 0.01" in said[0]
        assert str(socket_path) not in said[0].partition("init_worker states")[2]  # only what differs


TURNED_OFF = [
    ("lua_code_cache off", "lua_code_cache off;", "Remove lua_code_cache off"),
    # Neither is in Debian: the module is told of an older one.
    ("an old ngx_lua", "init_by_lua_block { ngx.config.ngx_lua_version = 10020 }", "OpenResty 1.21.4.1"),
    ("an old LuaJIT", "init_by_lua_block { jit.version_num = 20004 }", "OpenResty 1.21.4.1"),
]


@pytest.mark.parametrize(("line", "remedy"), [case[1:] for case in TURNED_OFF], ids=[case[0] for case in TURNED_OFF])
def test_what_it_cannot_work_with_is_said_once_and_harms_no_request(socket_path: Path, line: str, remedy: str) -> None:
    port = free_port()
    site = f"{line} server {{ listen 127.0.0.1:{port}; server_name a.example; location / {{ return 200 ok; }} }}"
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for _ in range(30):
            assert get(port, "a.example", "/") == "ok"
        wait_until(lambda: len(nginx.access_lines()) == 30, message="the access_log")
        said = [error for error in nginx.errors() if "[alert]" not in error]  # nginx's own, of the code cache
        assert len(said) == 1
        assert "resty-metrics is off" in said[0]
        assert remedy in said[0]
        assert collector.request_counts().total() <= 1  # the first of all, before it could be known
        wait_until(lambda: collector.value("resty_metrics_source_up", source="lua") == 0, message="its bye")
        assert len(list(Path(f"/proc/{nginx.worker_pids()[0]}/fd").iterdir())) < 40

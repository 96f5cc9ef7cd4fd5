"""What a worker lacks when it begins is not lacking for ever: it begins later, says so twice, and no count is lost."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

ON_THE_PATH = 'lua_package_path "{share}/lua/?.lua;;";'
SITE = """
    server {{
        listen 127.0.0.1:{port};
        server_name a.example;
        location / {{ return 200; }}
        location /lua {{ content_by_lua_block {{ {lua} }} log_by_lua_block {{ }} }}
        location /hold {{
            log_by_lua_block {{ }}
            content_by_lua_block {{
                held = {{}}
                repeat held[#held + 1] = io.open("/dev/null") until not io.open("/dev/null")
                package.loaded.held = held
                ngx.print("held")
            }}
        }}
        location /release {{
            log_by_lua_block {{ }}
            content_by_lua_block {{
                for _, file in ipairs(package.loaded.held) do file:close() end
                ngx.print("released")
            }}
        }}
    }}
"""
ERRORS = "resty_metrics_worker_errors_total"
FIRST, THEN = 5, 7  # requests while something is lacking, and afterwards


def own_hook(init: str) -> str:
    """A hook that needs no file of its own, with what the master has loaded for the workers."""
    return f'{ON_THE_PATH} init_by_lua_block {{ {init} }} log_by_lua_block {{ require("resty.metrics").log() }}'


def only_the_module() -> str:
    return own_hook('require("resty.metrics")')


def all_parts() -> str:
    return own_hook('made = require("resty.metrics").counter("made_total", "Made.")')


@contextmanager
def no_descriptors(nginx: Nginx) -> Iterator[None]:
    """The worker opens what it may open. The connection of a request takes the place of the one that asked for this."""
    port = int(re.search(r"listen 127.0.0.1:(\d+)", nginx.conf.read_text())[1])  # type: ignore[index]
    assert get(port, "/hold")[0].body == b"held"
    yield
    # A location that gives them back needs none.
    assert get(port, "/release")[0].body == b"released"


def limited(socket_path: Path, site: str, include: str) -> Nginx:
    return Nginx(socket_path, site, workers=1, include=include, main="worker_rlimit_nofile 200;")


def part(nginx: Nginx) -> Path:
    return nginx.share / "lua/resty/metrics/worker.lua"


@contextmanager
def unreadable_part(nginx: Nginx) -> Iterator[None]:
    part(nginx).chmod(0)
    yield
    part(nginx).chmod(0o644)


@contextmanager
def cut(file: Path, end: str) -> Iterator[None]:
    """As while files are copied: the file ends behind ``end``, the next one after its middle."""
    text = file.read_text()
    file.write_text(text[: text.index(end, len(text) // 2) + len(end)])
    yield
    file.write_text(text)


def half_a_function(nginx: Nginx) -> AbstractContextManager[None]:
    return cut(part(nginx), "\n    ")


def whole_functions(nginx: Nginx) -> AbstractContextManager[None]:
    """What is there is valid Lua, and returns nothing."""
    return cut(part(nginx), "\nend\n")


@contextmanager
def missing_part(nginx: Nginx) -> Iterator[None]:
    away = nginx.prefix / "worker.lua"
    part(nginx).rename(away)
    yield
    away.rename(part(nginx))


@contextmanager
def missing_module(nginx: Nginx) -> Iterator[None]:
    module, away = nginx.share / "lua/resty/metrics.lua", nginx.prefix / "metrics.lua"
    module.rename(away)
    yield
    away.rename(module)


@contextmanager
def missing_loader(nginx: Nginx) -> Iterator[None]:
    loader, away = nginx.share / "lua/resty/metrics/load.lua", nginx.prefix / "load.lua"
    loader.rename(away)
    yield
    away.rename(loader)


Shortage = Callable[[Nginx], AbstractContextManager[None]]
OFF = "resty-metrics is off in this worker for now: "
# What is lacking, how the module is called, and what the line says.
SHORTAGES: list[tuple[Shortage, str, str, str]] = [
    (no_descriptors, only_the_module(), "", "Too many open files"),
    (unreadable_part, "", "resty-metrics.conf", "Permission denied"),
    (half_a_function, "", "resty-metrics.conf", "near '<eof>'"),
    (whole_functions, "", "resty-metrics.conf", "worker.lua ends too early"),
    (missing_part, "", "resty-metrics.conf", "no file"),
    (missing_module, "", "resty-metrics.conf", "no file"),
    (missing_loader, "", "resty-metrics.conf", "no file"),
]


@pytest.mark.parametrize(
    ("shortage", "hook", "include", "cause"), SHORTAGES, ids=[case[0].__name__ for case in SHORTAGES]
)
def test_a_module_that_cannot_be_loaded_for_now_is_loaded_later(
    socket_path: Path, shortage: Shortage, hook: str, include: str, cause: str
) -> None:
    port = free_port()
    stated = "" if include else f'map "" $resty_metrics_socket {{ default {socket_path}; }}'
    site = stated + hook + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, limited(socket_path, site, include) as nginx:
        with shortage(nginx):
            get(port, times=FIRST)
            wait_until(lambda: OFF in nginx.log(), message="the line that says so")

        def is_over() -> bool:
            get(port)
            return "resty-metrics is on again in this worker" in nginx.log()

        wait_until(is_over, 30, "the line that says it is over")
        before = collector.request_counts().total()
        get(port, times=THEN)
        wait_until(lambda: collector.request_counts().total() >= before + THEN, message="counts")
        said = nginx.errors()
        assert len(said) == 2, said
        assert OFF in said[0]
        assert cause in said[0]
        assert "[lua]" not in said[0]


def test_sockets_that_cannot_be_had_for_now_cost_no_count(socket_path: Path) -> None:
    port = free_port()
    stated = f'map "" $resty_metrics_socket {{ default {socket_path}; }}'
    site = stated + all_parts() + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, limited(socket_path, site, "") as nginx:
        with no_descriptors(nginx):
            get(port, times=FIRST)
            wait_until(lambda: "socketpair: Too many open files" in nginx.log(), message="the line that says so")
        wait_until(lambda: "answers again" in nginx.log(), message="the line that says it is over")
        get(port, times=THEN)
        wait_until(lambda: collector.request_counts().total() == FIRST + THEN, message="all counts")
        said = [line for line in nginx.errors() if "resty-metrics" in line]
        assert len(said) == 1, said
        assert "raise worker_rlimit_nofile" in said[0]


def test_timers_that_cannot_be_had_for_now_cost_no_count(socket_path: Path) -> None:
    port = free_port()
    held = "lua_max_pending_timers 2; init_worker_by_lua_block { for _ = 1, 2 do ngx.timer.at(3, function() end) end }"
    site = held + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, times=FIRST)
        began = "has no timer in this worker for now: too many pending timers"
        wait_until(lambda: began in nginx.log(), message="the line that says so")

        def is_over() -> bool:
            get(port)
            return "has a timer again in this worker" in nginx.log()

        wait_until(is_over, 30, "the line that says it is over")
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        said = nginx.errors()
        assert len(said) == 2, said
        wait_until(lambda: (collector.value(ERRORS, worker="0", reason="timer") or 0) >= 1, message="its count")


def test_timers_that_nginx_drops_are_asked_for_with_patience(socket_path: Path) -> None:
    """While as many run as may, nginx takes each timer and drops it with a line of its own when it expires."""
    port = free_port()
    held = "lua_max_running_timers 1; init_worker_by_lua_block { ngx.timer.at(0, function() ngx.sleep(12) end) }"
    site = held + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:

        def is_over() -> bool:
            get(port)
            return "has a timer again in this worker" in nginx.log()

        wait_until(is_over, 40, "the line that says it is over")
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        dropped = [line for line in nginx.errors() if "lua_max_running_timers are not enough" in line]
        began, over = [line for line in nginx.errors() if "resty-metrics has" in line]
        assert "has no timer in this worker for now: nginx dropped 2 timers in a row (see lua_max_pending" in began
        assert "has a timer again in this worker, after" in over
        assert len(dropped) <= 5, dropped  # asked for each second they were 11


# A fault that cannot be had from outside: the first two attempts of a worker's start fail.
FAILING_START = """
init_by_lua_block {
    package.preload["resty.metrics.cycle"] = function()
        local attempts = 0
        return { read = function()
            attempts = attempts + 1
            if attempts <= 2 then error("Too many open files") end
        end }
    end
}
"""


# The same for a part that fails while it runs, which leaves a mark in package.loaded.
FAILS_TWICE = """
package.loaded.attempts = (package.loaded.attempts or 0) + 1
if package.loaded.attempts <= 2 then error("not enough memory") end
"""
PARTS = ["metrics", "metrics/start", "metrics/place", "metrics/transport", "metrics/api"]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_failed_half_way_is_loaded_again(socket_path: Path, part: str) -> None:
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port, lua=""), workers=1)
    path = nginx.share / "lua/resty" / f"{part}.lua"
    path.write_text(FAILS_TWICE + path.read_text())
    with Collector(socket_path) as collector, nginx:

        def is_over() -> bool:
            get(port)
            return "resty-metrics is on again in this worker" in nginx.log()

        wait_until(is_over, 30, "the line that says it is over")
        before = collector.request_counts().total()
        get(port, times=THEN)
        wait_until(lambda: collector.request_counts().total() >= before + THEN, message="counts")
        began, _ = nginx.errors()
        assert OFF in began
        assert "not enough memory" in began


@pytest.mark.parametrize("more", ["", "include {share}/nginx.conf.d/lifecycle.conf;"], ids=["request", "init_worker"])
def test_what_is_counted_before_the_worker_can_send_is_sent_once_it_can(socket_path: Path, more: str) -> None:
    port = free_port()
    site = FAILING_START + more + SITE.format(port=port, lua="")
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, times=FIRST)
        wait_until(lambda: collector.request_counts() == nginx.access_counts(), 30, "page == access_log")
        assert collector.request_counts() == {("a.example", "GET", "200"): FIRST}
        assert collector.value(ERRORS, worker="0", reason="start") == 2
        began, over = nginx.errors()
        assert "resty-metrics cannot send in this worker for now: " in began
        assert "Too many open files. Requests are still counted; their counts are sent later" in began
        assert re.search(r"resty-metrics can send again in this worker, after \d s", over)


def test_only_what_can_never_work_is_refused_for_good(socket_path: Path) -> None:
    port = free_port()
    never = """init_by_lua_block {
        package.preload["resty.metrics.cycle"] = function() return require("ffi").C.no_such_symbol end
    }"""
    lua = 'ngx.print(select(2, require("resty.metrics").counter("a_total", "A.")))'
    with Nginx(socket_path, never + SITE.format(port=port, lua=lua), workers=1) as nginx:
        get(port, times=FIRST)
        (said,) = nginx.errors()
        assert "resty-metrics is off in this worker: " in said
        assert "no_such_symbol" in said
        assert "no_such_symbol" in get(port, "/lua")[0].body.decode()

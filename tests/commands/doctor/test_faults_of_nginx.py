"""doctor against a real nginx, with one fault at a time."""

import subprocess
from pathlib import Path

import pytest
from support.client import get
from support.collector import COMMAND, Collector
from support.doctor import bad, diagnose, heard_of, needs_root, site
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow


def test_an_nginx_that_was_ended(collector: Collector, nginx: Nginx) -> None:
    nginx.quit()
    found = diagnose(collector.socket_path, nginx)
    assert f"nginx does not run here: {nginx.pid_file}" in found.seen("nginx.workers", "WARN")
    assert found.verdicts("FAIL") == set()


@needs_root
def test_a_user_who_may_not_send(collector: Collector) -> None:
    server = Nginx(collector.socket_path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    with server:
        wait_until(lambda: collector.value("resty_metrics_refusals_total", reason="uid"), message="a refusal")
        found = diagnose(collector.socket_path, server)
    assert found.status == 2
    assert "--socket.allow-uid=1" in found.seen("reach.uid", "FAIL")
    assert "follows from reach.uid: the collector refuses datagrams: refused lately: " in found.seen(
        "page.refusals", "SKIP"
    )
    assert bad(found) == {"reach.uid"}
    assert found.seen("reach.socket", "OK")


@needs_root
def test_a_user_who_may_send_by_a_flag(socket_path: Path) -> None:
    server = Nginx(socket_path, site())
    server.conf.write_text(server.conf.read_text().replace("user www-data;", "user daemon;"))
    with Collector(socket_path, "--socket.allow-uid=daemon") as collector, server:
        heard_of(collector)
        assert bad(diagnose(socket_path, server)) == set()


def line_of(nginx: Nginx, words: str) -> int:
    return next(at for at, line in enumerate(nginx.conf.read_text().splitlines(), 1) if words in line)


def test_a_hook_that_shadows_ours(collector: Collector) -> None:
    more = 'location /x { log_by_lua_block { local brace = "}" } return 200 x; }'
    with Nginx(collector.socket_path, site(more)) as server:
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
        place = f"{server.conf}:{line_of(server, 'local brace')}: log_by_lua_block in server a.example, location /x"
        line = found.seen("nginx.shadowed", "WARN").partition("-> add as the first line: ")[2].partition("; then")[0]
        assert found.status == 1
        assert bad(found) == {"nginx.shadowed"}
        assert place in found.seen("nginx.shadowed", "WARN")
        server.configure(site(more.replace("local brace", f"{line} local brace")))
        server.reload()
        wait_until(lambda: diagnose(collector.socket_path, server).status == 0, message="health with the line added")


def test_no_include(collector: Collector) -> None:
    with Nginx(collector.socket_path, "", include="") as server:
        found = diagnose(collector.socket_path, server)
    assert found.status == 2
    assert "include" in found.seen("nginx.include", "FAIL")
    assert bad(found) == {"nginx.include"}


def test_another_socket_in_nginx(collector: Collector) -> None:
    with Nginx(collector.socket_path.with_name("other.sock"), site()) as server:
        found = diagnose(collector.socket_path, server)
        conf = server.share / "nginx.conf.d"
    assert found.status == 2
    for name in ("resty-metrics.conf", "lifecycle.conf"):
        assert f"{conf}/{name}:" in found.seen("nginx.socket", "FAIL")
    assert f"write {collector.socket_path} there" in found.seen("nginx.socket", "FAIL")


@pytest.mark.parametrize("hook", ["log_by_lua_block { }", "log_by_lua_file x.lua;"])
def test_a_configuration_that_nginx_refuses(collector: Collector, nginx: Nginx, hook: str) -> None:
    nginx.configure(f"{site()} {hook}")
    found = diagnose(collector.socket_path, nginx)
    assert found.status == 2
    assert f"is duplicate in {nginx.conf}:" in found.seen("nginx.configuration", "FAIL")
    assert "own-hook" in found.seen("nginx.configuration", "FAIL")
    assert found.seen("socket.probe", "OK")


def test_a_source_that_is_down(socket_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/stub_status"
    with Collector(socket_path, f"--source.stub-status={url}") as collector, Nginx(socket_path, site()) as server:
        heard_of(collector)
        found = diagnose(socket_path, server)
    assert found.status == 2
    assert f"{url}: refused: cannot connect: connection refused" in found.seen("source.stub_status", "FAIL")
    assert "follows from source.stub_status: " in found.seen("page.sources", "SKIP")
    assert bad(found) == {"source.stub_status"}


def test_a_source_that_is_something_else(collector: Collector, nginx: Nginx) -> None:
    port = next(line for line in nginx.conf.read_text().splitlines() if "listen" in line).split(":")[1].strip(" ;")
    found = diagnose(collector.socket_path, nginx, f"--source.vts=http://127.0.0.1:{port}/")
    assert "/: parse: " in found.seen("source.vts", "FAIL")


def test_versions_that_differ(collector: Collector) -> None:
    server = Nginx(collector.socket_path, site())
    module = server.share / "lua" / "resty" / "metrics.lua"
    module.write_text(module.read_text().replace('_VERSION = "', '_VERSION = "9.'))
    with server:
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
    assert found.status == 1
    assert bad(found) == {"versions"}
    assert f"workers 9.{collector_version()}" in found.seen("versions", "WARN")
    assert f"{module} 9." in found.seen("versions", "WARN")


def collector_version() -> str:
    return subprocess.run([COMMAND, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]


@needs_root
def test_lua_files_that_the_workers_may_not_read(collector: Collector, nginx: Nginx) -> None:
    (nginx.share / "lua" / "resty").chmod(0o700)
    found = diagnose(collector.socket_path, nginx)
    assert found.status == 2
    assert f"may not search {nginx.share}/lua/resty " in found.seen("reach.lua", "FAIL")


HIDDEN_CALLS = {
    "two.level": 'require("app.hooks").on_log()',
    "by.init": "mm.log()",
    "inserted": (
        'local t = {} table.insert(t, function() require("resty.metrics").log() end) for _, f in ipairs(t) do f() end'
    ),
    "alias": 'local c = ngx.ctx  c.f = require("resty.metrics").log  ngx.ctx.f()',
}
APP = {
    "init": 'mm = require "resty.metrics"\nreturn {}\n',
    "hooks": 'local l = require "app.metrics"\nreturn { on_log = l.count }\n',
    "metrics": 'local m = require "resty.metrics"\nreturn { count = function() m.log() end }\n',
}


def test_a_hook_whose_call_is_hidden_is_not_said_to_lack_our_line(collector: Collector) -> None:
    ports = {name: free_port() for name in HIDDEN_CALLS}
    servers = " ".join(
        f"server {{ listen 127.0.0.1:{ports[name]}; server_name {name}; location / {{ return 200 ok; }} "
        f"log_by_lua_block {{ {code} }} }}"
        for name, code in HIDDEN_CALLS.items()
    )
    paths = 'lua_package_path "{prefix}/lib/?.lua;{share}/lua/?.lua;;"; init_by_lua_block { require "app.init" } '
    server = Nginx(collector.socket_path, paths + servers)
    library = server.prefix / "lib" / "app"
    library.mkdir(parents=True)
    for name, code in APP.items():
        (library / f"{name}.lua").write_text(code)
    for path in (library.parent, library, *library.iterdir()):
        path.chmod(0o755)
    with server:
        for port in ports.values():
            get(port, "/")
        wait_until(lambda: len(collector.request_counts()) == len(ports), message="requests of each server")
        found = diagnose(collector.socket_path, server)
    assert "nginx.shadowed" not in bad(found)
    unsure = [one["seen"] for one in found.report["findings"] if one["check"] == "nginx.shadowed"]
    assert len(unsure) == len(ports)

"""doctor against real nginx whose configuration has an unusual form: relative, not UTF-8, full of comments."""

import os
import subprocess
import urllib.request
from pathlib import Path

import pytest
from resty_metrics.commands.doctor.observe import nginx as observed
from resty_metrics.commands.doctor.observe.nginx_commands import Command, commands
from support.collector import COMMAND, Collector
from support.doctor import bad, diagnose, heard_of, site, words
from support.nginx import Nginx
from support.own_nginx import OwnNginx
from support.wait import wait_until

pytestmark = pytest.mark.slow

APP = """BEGIN
pid nginx.pid;
error_log logs/error.log info;
events { }
http {
    HTTP
    lua_package_path "share/lua/?.lua;./lua/?.lua;;";
    lua_shared_dict resty_metrics_spool 8m;
    include conf.d/*.conf;
    init_worker_by_lua_block { require("resty.metrics").init_worker { socket = "SOCKET" } }
}
"""
SERVER = """log_by_lua_file lua/own.lua;
server {
    listen 127.0.0.1:PORT;
    server_name a.example;
    location / { return 200 ok; }
}
"""
OWN = 'local metrics = require "resty.metrics"\nmetrics.log()\n'
RELATIVE = ["-p", "./", "-c", "app.conf", "-e", "logs/error.log"]


def relative(socket_path: Path, **files: str) -> OwnNginx:
    texts = {"app.conf": APP.replace("SOCKET", str(socket_path)), "conf.d/a.conf": SERVER, "lua/own.lua": OWN}
    return OwnNginx({**texts, "logs/error.log": "", **files}, RELATIVE, socket_path)


def running(nginx: OwnNginx) -> Command:
    """The command that is found by looking at processes."""
    (found,) = wait_until(
        lambda: [one for one in commands(None) if one.master == nginx.pid], message="nginx among processes"
    )
    return found


def get(port: int, path: str = "/") -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        assert response.status == 200


def test_relative_paths_of_every_kind(collector: Collector) -> None:
    with relative(collector.socket_path) as nginx:
        heard_of(collector, 1)
        found = diagnose(collector.socket_path, nginx.command, cwd=nginx.directory)
        assert bad(found) == set(), found.report
        seen = found.seen("nginx.include", "OK")
        assert f"{nginx.directory}/conf.d/a.conf:1: log_by_lua_file in http{{}} counts" in seen
        assert found.seen("reach.lua", "OK")
        assert str(nginx.directory / "share" / "lua" / "resty" / "metrics") in str(found.report)
        for check in ("nginx.spool", "nginx.socket", "nginx.shadowed", "workers.died", "versions"):
            assert found.seen(check, "OK")


def test_the_relative_paths_of_a_master_are_those_of_its_directory(collector: Collector) -> None:
    """doctor runs elsewhere; the command that it shows runs anywhere."""
    with relative(collector.socket_path) as nginx:
        command = running(nginx)
        assert command.words[1:3] == ("-p", str(nginx.directory))
        instance = observed.examine(command, str(collector.socket_path))
        assert instance.configured is not None
        assert instance.configured.configuration.main_file == f"{nginx.directory}/app.conf"
        assert instance.pid_file == str(nginx.pid_file)
        assert [log.path for log in instance.logs] == [f"{nginx.directory}/logs/error.log"]
        assert OWN in instance.configured.texts.values()
        assert len(instance.lua_ways) > 10


def test_names_that_are_not_utf8(collector: Collector) -> None:
    name, hook = os.fsdecode(b"conf.d/caf\xe9 \xc2\xa0.conf"), os.fsdecode(b"lua/\xff.lua")
    server = 'server { listen 127.0.0.1:PORT; location /x { log_by_lua_block { local own = "é" } return 200 ok; } }\n'
    more = SERVER.replace("lua/own.lua", f'"{hook}"').replace("listen", "# listen").replace("a.example", "\udce9")
    with relative(collector.socket_path, **{name: server, "conf.d/a.conf": more, hook: OWN}) as nginx:
        heard_of(collector, 1)
        found = diagnose(collector.socket_path, nginx.command, cwd=nginx.directory)
        assert bad(found) == {"nginx.shadowed"}
        assert f"{nginx.directory}/{name}:1: log_by_lua_block" in found.seen("nginx.shadowed", "WARN")
        shown = subprocess.run(
            words(collector.socket_path, nginx.command), capture_output=True, cwd=nginx.directory, check=False
        )
        assert shown.stderr == b""
        assert rb"conf.d/caf\xe9 \xa0.conf:1" in shown.stdout.replace(rb"\u00a0", rb"\xa0")


def test_comments_that_look_like_something_else(collector: Collector) -> None:
    """A mark of nginx -T, and a brace before the one of a Lua block."""
    hook = """
    lua_package_path "{share}/lua/?.lua;;";
# configuration file /x:
    log_by_lua_block # the hook { of ours }
    # {
    { local brace = "}" -- }
      require("resty.metrics").log() }
# configuration file {share}/nginx.conf.d/lifecycle.conf:
"""
    with Nginx(collector.socket_path, site() + hook, include="resty-metrics-own-hook.conf") as server:
        heard_of(collector)
        server.conf.write_text(server.conf.read_text() + f"# configuration file {server.conf}:\n")
        assert bad(diagnose(collector.socket_path, server)) == set()


LINE = 'require("resty.metrics").log()'
FORMS = {
    "local": ('local m = require "resty.metrics"; m.log()', True),
    "pcall": ("local m = require('resty.metrics') pcall(m.log)", True),
    "both": (f"if ngx.var.arg_x then {LINE} else {LINE} end", True),
    "guard": ('local ok, m = pcall(require, "resty.metrics") if ok then m.log() end', True),
    "tail": (f"return {LINE}", True),
    "before": (f"{LINE} do return end error('never')", True),
    "dead": (f"do return end {LINE}", False),
    "comment": (f"-- {LINE}\n", False),
    "text": (f"local s = [[{LINE}]] ngx.log(ngx.INFO, s)", False),
    "run-text": (f"assert(loadstring([[{LINE}]]))()", None),
    "stored": ('local t = { f = require("resty.metrics").log } t.f()', None),
    "extended": ("('x'):count()", None),  # by init_by_lua
    "not-extended": ("('x'):upper()", False),
    "context": ("ngx.ctx.f()", None),
    "other": ('require("resty.metrics2").log()', False),
    "below": ('require("my.resty.metrics").log()', False),
    "branch": (f"if ngx.var.arg_x then {LINE} end", None),
    "wrapped": ('require("my.wrapper").run()', None),
    "dynamic": ("require(ngx.var.arg_m or 'resty.metrics').log()", None),
}


def test_forms_of_our_line_as_nginx_runs_them(collector: Collector) -> None:
    """doctor says of each what is then seen on the page."""
    locations = "".join(
        f"location = /{name} {{ log_by_lua_block {{ {code} }} return {201 + at} ok; }}\n"
        for at, (name, (code, _)) in enumerate(FORMS.items())
    )
    path = (
        'lua_package_path "{share}/lua/?.lua;;";\n'
        f"init_by_lua_block {{ function string.count() {LINE} end }}\n"
        f"rewrite_by_lua_block {{ ngx.ctx.f = function() {LINE} end }}\n"
    )
    with Nginx(collector.socket_path, path + site(locations)) as server:
        lua = server.share / "lua"
        (lua / "my" / "resty").mkdir(parents=True)
        for module in ("resty/metrics2", "my/resty/metrics"):
            (lua / f"{module}.lua").write_text("return { log = function() end }")
        (lua / "my" / "wrapper.lua").write_text(f"return {{ run = function() {LINE} end }}")
        heard_of(collector)
        found = diagnose(collector.socket_path, server)
        port = int(server.conf.read_text().partition("listen 127.0.0.1:")[2].partition(";")[0])
        for name in FORMS:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{name}", timeout=10) as response:
                response.read()
        certain = {str(201 + at): counts for at, (_, counts) in enumerate(FORMS.values())}
        expected = {status for status, counts in certain.items() if counts}

        def counted() -> set[str]:
            return {status for (_, _, status), count in collector.request_counts().items() if count}

        wait_until(lambda: expected <= counted(), message="the requests on the page")
        assert counted() & {status for status, counts in certain.items() if counts is False} == set()
        warned = {one["seen"].split("location = /")[1].split(" ")[0] for one in found.findings["nginx.shadowed"]
                  if one["verdict"] == "WARN"}  # fmt: skip
        skipped = {one["seen"].split("location = /")[1].split(" ")[0] for one in found.findings["nginx.shadowed"]
                   if one["verdict"] == "SKIP"}  # fmt: skip
        assert warned == {name for name, (_, counts) in FORMS.items() if counts is False}
        assert skipped == {name for name, (_, counts) in FORMS.items() if counts is None}


def test_an_nginx_without_a_master(collector: Collector) -> None:
    """It is found, and the one process serves; install refuses it in words, and changes no file of another nginx."""
    app = APP.replace("SOCKET", str(collector.socket_path)).replace("events", "master_process off;\nevents")
    with relative(collector.socket_path, **{"app.conf": app}) as nginx:
        heard_of(collector, 1)
        command = running(nginx)
        instance = observed.examine(command, str(collector.socket_path))
        assert instance.workers == (nginx.pid,)
        found = diagnose(collector.socket_path, nginx.command, cwd=nginx.directory)
        assert bad(found) == set(), found.report
        before = {path: path.read_bytes() for path in nginx.directory.rglob("*.conf")}
        done = subprocess.run(
            [COMMAND, "install", "--yes", f"--nginx.command={nginx.command}", f"--socket.path={collector.socket_path}",
             f"--web.listen-address=127.0.0.1:{collector.port}", f"--share-dir={nginx.directory}/new"],
            capture_output=True, text=True, cwd=nginx.directory, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"nginx process {nginx.pid} " in done.stderr
        assert "master_process off" in done.stderr
        assert {path: path.read_bytes() for path in nginx.directory.rglob("*.conf")} == before

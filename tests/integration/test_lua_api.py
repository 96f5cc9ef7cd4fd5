"""Metrics of the user's own code: every phase, several workers, reloads, and use that is wrong in every way."""

import os
import signal
import socket
import ssl
from collections import Counter
from pathlib import Path

import pytest
from support import client
from support.certificates import Authority
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

PHASES = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block {
        phases = require("resty.metrics").counter("phases_total", "Phases.", {"phase"})
        phases:inc(1, {"init"})
    }
    init_worker_by_lua_block {
        phases:inc(1, {"init_worker"})
        ngx.timer.at(0.05, function() phases:inc(1, {"timer"}) end)
    }
    exit_worker_by_lua_block { phases:inc(1, {"exit_worker"}) }
    upstream backend {
        server 0.0.0.1;
        balancer_by_lua_block {
            phases:inc(1, {"balancer"})
            require("ngx.balancer").set_current_peer("127.0.0.1", PORT)
        }
    }
    server {
        listen 127.0.0.1:PORT;
        location / {
            set_by_lua_block $x { phases:inc(1, {"set"}) return 1 }
            rewrite_by_lua_block { phases:inc(1, {"rewrite"}) }
            access_by_lua_block { phases:inc(1, {"access"}) }
            content_by_lua_block { phases:inc(1, {"content"}) ngx.print("ok") }
            header_filter_by_lua_block { phases:inc(1, {"header_filter"}) }
            body_filter_by_lua_block { if ngx.arg[2] then phases:inc(1, {"body_filter"}) end }
            log_by_lua_block { phases:inc(1, {"log"}) }
        }
        location /proxy { proxy_pass http://backend/; }
    }
"""

PER_REQUEST = ("set", "rewrite", "access", "content", "header_filter", "body_filter", "log")


def get(port: int, path: str = "/", times: int = 1) -> list[str]:
    """The bodies of as many requests, each on a connection of its own: they spread over the workers."""
    answers = client.get(port, path, times=times)
    assert {answer.status for answer in answers} == {200}, answers
    return [answer.body.decode() for answer in answers]


def by_label(collector: Collector, name: str, label: str) -> dict[str, float]:
    return {dict(labels)[label]: value for (found, labels), value in collector.samples().items() if found == name}


def test_every_phase_counts_once(socket_path: Path) -> None:
    """In every phase, over a reload: also init_by_lua, which all workers inherit, and exit_worker_by_lua."""
    port = free_port()
    site = PHASES.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=4) as nginx:
        get(port, "/", 20)
        get(port, "/proxy", 5)
        wanted = dict.fromkeys(PER_REQUEST, 25.0) | {"init": 1, "init_worker": 4, "timer": 4, "balancer": 5}

        def shown() -> bool:
            return by_label(collector, "phases_total", "phase") == wanted

        wait_until(shown, message=f"{wanted}")
        nginx.reload()
        wanted |= {"init": 2, "init_worker": 8, "timer": 8, "exit_worker": 4}
        wait_until(shown, 30, message=f"{wanted} after a reload")
        assert nginx.errors() == []


def test_what_init_counted_is_not_counted_again_by_a_worker_that_replaces_a_dead_one(socket_path: Path) -> None:
    port = free_port()
    site = PHASES.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port)
        wait_until(lambda: by_label(collector, "phases_total", "phase").get("log") == 1, message="the first worker")
        (dead,) = nginx.worker_pids()
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: nginx.worker_pids() not in ([], [dead]), message="another worker")
        get(port)
        wait_until(lambda: by_label(collector, "phases_total", "phase").get("log") == 2, message="the second worker")
        assert by_label(collector, "phases_total", "phase")["init"] == 1


TLS_PHASES = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block { phases = require("resty.metrics").counter("phases_total", "Phases.", {"phase"}) }
    ssl_session_fetch_by_lua_block { phases:inc(1, {"ssl_session_fetch"}) }
    ssl_session_store_by_lua_block { phases:inc(1, {"ssl_session_store"}) }
    server {
        listen 127.0.0.1:PORT ssl;
        ssl_protocols TLSv1.2;
        ssl_session_tickets off;
        ssl_session_cache shared:sessions:1m;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key KEY;
        ssl_client_hello_by_lua_block { phases:inc(1, {"ssl_client_hello"}) }
        ssl_certificate_by_lua_block { phases:inc(1, {"ssl_certificate"}) }
        server_rewrite_by_lua_block { phases:inc(1, {"server_rewrite"}) }
        location / { return 200 ok; }
    }
"""


def test_the_phases_of_tls_count_once(socket_path: Path, shared: Path) -> None:
    """A worker's first use of the module is in a handshake, before nginx has variables; the request comes last."""
    port, handshakes = free_port(), 6
    pair = Authority(shared).issue("localhost")
    site = TLS_PHASES.replace("PORT", str(port))
    site = site.replace("CERTIFICATE", str(pair.certificate)).replace("KEY", str(pair.key))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for number in range(1, handshakes + 1):
            with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as tls:
                if number == handshakes:
                    tls.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    assert tls.recv(4096).startswith(b"HTTP/1.1 200")
        of_tls = ("ssl_client_hello", "ssl_certificate", "ssl_session_fetch", "ssl_session_store")
        wanted = dict.fromkeys(of_tls, float(handshakes)) | {"server_rewrite": 1}
        wait_until(lambda: by_label(collector, "phases_total", "phase") == wanted, message=f"{wanted}")
        assert nginx.errors() == []


GAUGES = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block {
        local metrics = require "resty.metrics"
        gauges = {}
        for _, how in ipairs({"sum", "max", "min", "last"}) do
            gauges[how] = metrics.gauge(how .. "_gauge", "By " .. how .. ".", {"k"}, {combine = how})
        end
        many = metrics.gauge("many", "Many values.", {"n", "long"}, {combine = "max"})
        gauges.sum:set(1000, {"init"})
        gauges.max:set(-1, {"init"})
    }
    init_worker_by_lua_block {
        for how, gauge in pairs(gauges) do
            gauge:set(ngx.worker.id() + 1, {"x"})
        end
    }
    server {
        listen 127.0.0.1:PORT reuseport;
        location /inc {
            content_by_lua_block { gauges.sum:inc(2, {"inc"}) gauges.sum:dec(1, {"inc"}) ngx.print(ngx.worker.pid()) }
        }
        location /last { content_by_lua_block { gauges.last:set(ngx.var.arg_value, {"y"}) } }
        location /del { content_by_lua_block { gauges.last:del({"y"}) } }
        location /odd { content_by_lua_block { gauges.max:set(1/0, {"inf"}) gauges.max:set("-1.5", {"string"}) } }
        location /many {
            content_by_lua_block {
                for n = 1, 5000 do
                    many:set(n, {n, ("x"):rep(100)})
                end
            }
        }
        location / { return 200; }
    }
"""


def test_gauges_of_workers_combine_and_vanish_with_them(socket_path: Path) -> None:
    port = free_port()
    site = GAUGES.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=4) as nginx:
        by_worker = Counter(int(pid) for pid in get(port, "/inc", 40))
        wait_until(lambda: by_label(collector, "sum_gauge", "k") == {"x": 10, "inc": 40, "init": 1000}, message="sums")
        wait_until(lambda: by_label(collector, "max_gauge", "k") == {"x": 4, "init": -1}, message="the largest")
        assert by_label(collector, "min_gauge", "k") == {"x": 1}
        for value in ("7", "5", "6"):
            get(port, f"/last?value={value}")
        wait_until(lambda: by_label(collector, "last_gauge", "k").get("y") == 6, message="the last")
        get(port, "/del", 40)
        wait_until(lambda: "y" not in by_label(collector, "last_gauge", "k"), message="the deleted one gone")
        get(port, "/odd", 1)
        odd = {"x": 4, "init": -1, "inf": float("inf"), "string": -1.5}
        wait_until(lambda: by_label(collector, "max_gauge", "k") == odd, message="odd values")
        pid, share = by_worker.most_common(1)[0]
        os.kill(pid, signal.SIGKILL)
        left = {
            "x": 10.0,
            "inc": 40.0 - share,
            "init": 1000.0,
        }  # another has its number
        wait_until(lambda: by_label(collector, "sum_gauge", "k") == left, 40, "what the other workers have")
        nginx.quit()
        wait_until(lambda: not by_label(collector, "sum_gauge", "k"), 40, message="no gauge without a worker")
        assert [line for line in nginx.errors() if "resty-metrics" in line] == []


def test_thousands_of_gauges_travel_in_parts(socket_path: Path) -> None:
    port = free_port()
    site = GAUGES.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        get(port, "/many")
        wanted = {str(n): float(n) for n in range(1, 5001)}
        wait_until(lambda: by_label(collector, "many", "n") == wanted, message="all of them")
        assert by_label(collector, "sum_gauge", "k")["x"] == 1
        assert nginx.errors() == []


THOUSAND = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block {
        local metrics = require "resty.metrics"
        all = {}
        for n = 1, 1001 do
            all[#all + 1] = metrics.counter("c" .. n .. "_total", "One of many.", {"n"})
        end
    }
    server {
        listen 127.0.0.1:PORT;
        location / { content_by_lua_block { for _, one in ipairs(all) do one:inc(1, {"x"}) end ngx.say(#all) } }
    }
"""


def test_as_many_metrics_as_there_may_be_arrive(socket_path: Path) -> None:
    port = free_port()
    site = THOUSAND.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1):
        assert get(port, "/") == ["1000\n"]

        def shown() -> int:
            return len({name for name, labels in collector.samples() if labels == frozenset({("n", "x")})})

        wait_until(lambda: shown() == 1000, message="all of them")
        wait_until(lambda: collector.request_counts().total() == 1, message="the request")
        assert collector.value("resty_metrics_lost_rows_total", reason="family_cap") == 0


DELETIONS = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block {
        local metrics = require "resty.metrics"
        visits = metrics.counter("visits_total", "Visits.", {"tenant"})
        sizes = metrics.histogram("sizes", "Sizes.", {"tenant"}, {buckets = {1, 2}})
    }
    server {
        listen 127.0.0.1:PORT reuseport;
        location /visit {
            content_by_lua_block {
                visits:inc(1, {ngx.var.arg_tenant})
                sizes:observe(1.5, {ngx.var.arg_tenant})
            }
        }
        location /del { content_by_lua_block { visits:del({ngx.var.arg_tenant}) sizes:del({ngx.var.arg_tenant}) } }
        location /reset { content_by_lua_block { visits:reset() sizes:reset() } }
    }
"""


def test_one_worker_deletes_what_all_have_counted(socket_path: Path) -> None:
    port = free_port()
    site = DELETIONS.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=4) as nginx:

        def shows(wanted: dict[str, float]) -> None:
            wait_until(lambda: by_label(collector, "visits_total", "tenant") == wanted, message=f"visits {wanted}")
            wait_until(lambda: by_label(collector, "sizes_count", "tenant") == wanted, message=f"sizes {wanted}")

        for tenant in "abc":
            get(port, f"/visit?tenant={tenant}", 20)
        shows({"a": 20, "b": 20, "c": 20})
        get(port, "/del?tenant=b")
        shows({"a": 20, "c": 20})
        get(port, "/visit?tenant=b", 3)
        shows({"a": 20, "b": 3, "c": 20})
        get(port, "/reset")
        shows({})
        get(port, "/visit?tenant=c", 5)
        shows({"c": 5})
        collector.kill()
        collector.start()
        shows({"c": 5})
        assert [line for line in nginx.errors() if "Logged once" not in line] == []


FUZZ = """
    lua_package_path "{share}/lua/?.lua;;";
    init_by_lua_block {
        metrics = require "resty.metrics"
        good = metrics.counter("good_total", "What is right.", {"phase"})
        good_sizes = metrics.histogram("good_sizes", nil, {"phase"})
        local throws = setmetatable({}, {__index = function() error("no") end, __tostring = function() error("no") end,
                                         __len = function() error("no") end})
        local odd = {
            1, 0, -1, 2^53, 2^53 + 2, 1e308, -1e308, 1/0, -1/0, 0/0, "", "1", "x", "\\0",
            ("x"):rep(5000), "\\255\\254", "é",
            true, false, {}, {"a"}, {"a", "b"}, {{}}, {1, nil, 3}, function() end, coroutine.create(function() end),
            5ULL, ngx.null, throws, {throws}, {[-1] = "a"}, {a = "b"}, {combine = "sum"}, {combine = 3},
            {buckets = {1, 2}}, {buckets = {2, 1}}, {buckets = {}}, {buckets = {0/0}}, {buckets = throws},
            {"le"}, {"a", "a"}, {"__a"}, {"a b"},
            "good_total", "good_sizes_sum", "odd_total", "odd total", "0odd", ("n"):rep(200), "http_requests", "a:b",
        }
        local made = {good, good_sizes, {}, metrics}
        local NONE = {}
        local function bytes()
            local found = {}
            for i = 1, math.random(0, 40) do
                found[i] = string.char(math.random(0, 255))
            end
            return table.concat(found)
        end
        local function any()
            local n = math.random(#odd + 13)
            return n > #odd + 3 and bytes() or odd[n]
        end
        local methods = {"inc", "dec", "set", "observe", "del"}
        -- Whatever is done wrong, `good` is not touched rightly by it: del and reset are for others.
        function misuse(phase)
            for _ = 1, 20 do
                local kind = ({"counter", "gauge", "histogram"})[math.random(3)]
                local metric, why = metrics[kind](any(), any(), any(), any())
                if not metric and type(why) ~= "string" then
                    ngx.log(ngx.CRIT, "no reason")
                end
                if metric and metric ~= good and metric ~= good_sizes and #made < 200 then
                    made[#made + 1] = metric
                end
                local one = made[math.random(3, #made)]
                local method = methods[math.random(#methods)]
                if one[method] then
                    one[method](one, any(), any())
                    one[method](any(), any(), any())
                end
                good:inc(-1, {phase})
                good:inc(1, {phase, "and more"})
                good:inc(1)
                good:set(1, {phase})
                good:inc(0/0, {phase})
                good_sizes:observe(1/0, {phase})
                good_sizes:inc(1, {phase})
            end
            good:inc(1, {phase})
            good_sizes:observe(0.5, {phase})
        end
        math.randomseed(SEED)
        metrics.counter("\\255\\254\\n")
        metrics.gauge("odd", nil, nil, {["\\255\\n"] = 1})
        misuse("init")
    }
    init_worker_by_lua_block { misuse("init_worker") ngx.timer.at(0.05, function() misuse("timer") end) }
    server {
        listen 127.0.0.1:PORT reuseport;
        location / {
            set_by_lua_block $x { misuse("set") return 1 }
            rewrite_by_lua_block { misuse("rewrite") }
            access_by_lua_block { misuse("access") }
            content_by_lua_block { misuse("content") ngx.print("ok") }
            header_filter_by_lua_block { misuse("header_filter") }
            body_filter_by_lua_block { if ngx.arg[2] then misuse("body_filter") end }
            log_by_lua_block { misuse("log") }
        }
    }
"""


def test_wrong_use_hurts_nobody(socket_path: Path) -> None:
    """Random names, labels, values and options in every phase: no error page, no flood of the log, nothing lost."""
    port, times = free_port(), 60
    site = FUZZ.replace("PORT", str(port)).replace("SEED", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=2) as nginx:
        assert get(port, "/", times) == ["ok"] * times
        wanted = dict.fromkeys(PER_REQUEST, float(times)) | {"init": 1, "init_worker": 2, "timer": 2}
        for name in ("good_total", "good_sizes_count"):
            wait_until(lambda name=name: by_label(collector, name, "phase") == wanted, message=f"{name} {wanted}")  # type: ignore[misc]
        reasons = by_label(collector, "resty_metrics_worker_errors_total", "reason")
        assert {f"metric_{reason}" for reason in ("definition", "labels", "value", "use")} <= set(reasons)
        assert "internal" not in reasons
        assert not collector.value("resty_metrics_refusals_total", reason="invalid")
        assert not collector.value("resty_metrics_worker_lost_rows_total", reason="invalid")
        errors = nginx.errors()
        assert all("Logged once" in line for line in errors), errors
        assert all(line.isascii() and line.isprintable() for line in errors), "what the user gave may be any bytes"
        assert len(errors) <= 3 * 100, "at most 100 lines a process"
        assert max(Counter(line.split("metric ", 1)[1] for line in errors).values()) <= 3, "each once a process"


def test_a_deletion_outlives_its_worker_while_the_collector_is_away(socket_path: Path) -> None:
    port = free_port()
    site = DELETIONS.replace("PORT", str(port))
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=2) as nginx:

        def shows(wanted: dict[str, float]) -> None:
            wait_until(lambda: by_label(collector, "visits_total", "tenant") == wanted, message=f"visits {wanted}")
            wait_until(lambda: by_label(collector, "sizes_count", "tenant") == wanted, message=f"sizes {wanted}")

        for tenant in "ab":
            get(port, f"/visit?tenant={tenant}", 10)
        shows({"a": 10, "b": 10})
        collector.kill()
        old = nginx.worker_pids()
        get(port, "/del?tenant=b")
        get(port, "/visit?tenant=c", 10)
        nginx.reload()
        for pid in old:
            nginx.wait_gone(pid)
        get(port, "/visit?tenant=c", 10)
        collector.start()
        shows({"a": 10, "c": 20})

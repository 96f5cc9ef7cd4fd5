"""The hot path: worker CPU per request of bare nginx, of an empty log handler, and of ours, in one run.

Run ``python benchmarks/hot_path.py``; it needs what scripts/test installs. Prints, never asserts.

One worker serves three servers that differ in their log hook alone, on ``return 200``, on a static file of 1 KiB and on
a request that is passed on; a second nginx serves the same with three labels of the user's and every upstream attempt
("full"). ``--before DIR`` adds a third with the Lua code of another checkout ("before").
Slices of load go round them, so that what else the machine does hits all alike. CPU is the worker's own (nanoseconds of
/proc/PID/schedstat), requests are nginx's own count (ngx_stat_requests).
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.collector import Collector
from support.nginx import Nginx, shared_directory
from support.wait import free_port

HANDLERS = ("bare", "empty", "ours")
TARGETS = {"return 200": 0.5, "1 KiB file": 0.9}
PATHS = {"return 200": "/", "1 KiB file": "/file/1k", "passed on": "/upstream"}
CONNECTIONS = 32
LABELS = "tenant=http_x_tenant tls=ssl_protocol scheme=scheme"
TENANT = "X-Tenant: tenant-7"

EMPTY_MODULE = "local _M = {}\nfunction _M.log() end\nreturn _M\n"
HOOKS = {
    "bare": "",
    "empty": 'log_by_lua_block {{ require("empty").log() }}',
    "ours": "log_by_lua_file {{share}}/lua/resty/metrics/hook.lua;",
}
SERVER = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        server_name {name}.example;
        access_log off;
        keepalive_requests 1000000000;
        {hook}
        location / {{ return 200 "ok\\n"; }}
        location /file/ {{ alias {{prefix}}/file/; }}
        location /upstream {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
"""
BACKEND = """
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        access_log off;
        keepalive_requests 1000000000;
        location / {{ return 200 "ok\\n"; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Handler:
    """One of those that are compared: which nginx, and which port of it."""

    nginx: Nginx
    port: int


def site(ports: dict[str, int], backend: int) -> str:
    """The inside of http{}."""
    hooks = {name: HOOKS.get(name, HOOKS["ours"]) for name in ports}
    servers = "".join(SERVER.format(port=port, name=name, hook=hooks[name]) for name, port in ports.items())
    servers = servers.replace("{{", "{").replace("}}", "}")
    return (
        'lua_package_path "{prefix}/own/?.lua;;";\ninclude {share}/nginx.conf.d/stub-status.conf;\n'
        f"upstream backend {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}\n{servers}"
    )


def make_nginx(
    socket_path: Path, names: tuple[str, ...], backend: int, more: str = ""
) -> tuple[Nginx, dict[str, Handler]]:
    """An nginx of one worker with a server for each handler."""
    ports = {name: free_port() for name in names}
    body = more + site(ports, backend)
    nginx = Nginx(socket_path, body, workers=1, include="resty-metrics-own-hook.conf")
    write_files(nginx)
    return nginx, {name: Handler(nginx, port) for name, port in ports.items()}


def set_labels(nginx: Nginx) -> None:
    include = nginx.share / "nginx.conf.d" / "resty-metrics-own-hook.conf"
    before = '$resty_metrics_labels        { default ""; }'
    text = include.read_text()
    assert before in text
    include.write_text(text.replace(before, before.replace('""', f'"{LABELS}"')))


def use_code(nginx: Nginx, checkout: Path) -> None:
    shutil.rmtree(nginx.share / "lua")
    shutil.copytree(checkout / "lua", nginx.share / "lua")


def write_files(nginx: Nginx) -> None:
    for name, file, content in (("own", "empty.lua", EMPTY_MODULE), ("file", "1k", "x" * 1024)):
        directory = nginx.prefix / name
        directory.mkdir(mode=0o755)
        (directory / file).write_text(content)
        (directory / file).chmod(0o644)


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def requests_begun(nginx: Nginx) -> int:
    """nginx's own count; the asking is in it."""
    with urllib.request.urlopen(f"http://{nginx.stub_status}/stub_status", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r"\d+ \d+ (\d+)", text)
    assert found is not None
    return int(found[1])


def per_request(handler: Handler, path: str, seconds: int, cpus: tuple[int, ...]) -> float:
    """Microseconds of the worker's CPU for a request, under load for so long."""
    (worker,) = handler.nginx.worker_pids()
    pin = ["taskset", "-c", str(cpus[-1])] if len(cpus) > 1 else []
    before, spent = requests_begun(handler.nginx), cpu_seconds(worker)
    url = f"http://127.0.0.1:{handler.port}{path}"
    words = [*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", TENANT, url]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    spent = cpu_seconds(worker) - spent
    return spent / (requests_begun(handler.nginx) - before - 1) * 1e6


def measure(handlers: dict[str, Handler], path: str, rounds: int, seconds: int) -> dict[str, list[float]]:
    """Microseconds per request by handler, one number for each round."""
    cpus, names = tuple(sorted(os.sched_getaffinity(0))), tuple(handlers)
    for handler in handlers.values():
        if len(cpus) > 1:
            os.sched_setaffinity(handler.nginx.worker_pids()[0], {cpus[0]})
        per_request(handler, path, 1, cpus)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in (*names[turn:], *names[:turn]):
            taken[name].append(per_request(handlers[name], path, seconds, cpus))
    return taken


def report(kind: str, taken: dict[str, list[float]]) -> None:
    bare, ours = taken["bare"], [mine - its for mine, its in zip(taken["ours"], taken["bare"], strict=True)]
    print(
        f"{kind}: us of worker CPU per request, median of {len(bare)} rounds; added = median of the rounds' differences"
    )
    for name, its in taken.items():
        line = f"  {name:<6} {statistics.median(its):6.2f}"
        if name != "bare":
            added = [one - other for one, other in zip(its, bare, strict=True)]
            low, middle, high = statistics.quantiles(added, n=4)
            line += f"   added {middle:+.2f}  (quartiles {low:+.2f} {high:+.2f})"
        if name == "ours" and kind in TARGETS:
            line += f"   to reach {TARGETS[kind]:+.1f}"
        if name in ("full", "before"):
            line += f"   {statistics.median(added) / statistics.median(ours):.2f} times ours"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="worker CPU per request: bare, empty handler, ours, and with all on")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=1, help="of load, for each handler in each round")
    parser.add_argument("--before", type=Path, help="another checkout, whose Lua code is measured too")
    wanted = parser.parse_args()
    directory, port = shared_directory(), free_port()
    socket_path = directory / "collector.sock"
    backend = Nginx(socket_path, BACKEND.format(port=port), workers=1, include="")
    nginx, handlers = make_nginx(socket_path, HANDLERS, port)
    full, of_full = make_nginx(socket_path, ("full",), port, "include {share}/nginx.conf.d/upstreams.conf;\n")
    set_labels(full)
    instances, handlers = [backend, nginx, full], handlers | of_full
    if wanted.before:
        before, of_before = make_nginx(socket_path, ("before",), port)
        use_code(before, wanted.before)
        instances, handlers = [*instances, before], handlers | of_before
    try:
        with Collector(socket_path), ExitStack() as stack:
            for instance in instances:
                stack.enter_context(instance)
            for kind, path in PATHS.items():
                report(kind, measure(handlers, path, wanted.rounds, wanted.seconds))
            print(*(line for instance in instances for line in instance.errors()), sep="\n", end="")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

"""The hot path: worker CPU per request of bare nginx, of an empty log handler, and of ours, in one run.

Run ``python benchmarks/hot_path.py``; it needs what scripts/test installs. Prints, never asserts.

One worker serves three servers that differ in their log hook alone, on ``return 200`` and on a static file of 1 KiB.
Slices of load go round them, so that what else the machine does hits all three. CPU is the worker's own (nanoseconds of
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.collector import Collector
from support.nginx import Nginx, shared_directory
from support.wait import free_port

HANDLERS = ("bare", "empty", "ours")
TARGETS = {"return 200": 0.5, "1 KiB file": 0.9}
PATHS = {"return 200": "/", "1 KiB file": "/file/1k"}
CONNECTIONS = 32

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
    }}
"""


def site(ports: dict[str, int]) -> str:
    """The inside of http{}."""
    servers = "".join(SERVER.format(port=ports[name], name=name, hook=HOOKS[name]) for name in HANDLERS)
    servers = servers.replace("{{", "{").replace("}}", "}")
    return 'lua_package_path "{prefix}/own/?.lua;;";\ninclude {share}/nginx.conf.d/stub-status.conf;\n' + servers


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


def per_request(nginx: Nginx, worker: int, url: str, seconds: float, cpus: tuple[int, ...]) -> float:
    """Microseconds of the worker's CPU for a request, under load for so long."""
    pin = ["taskset", "-c", str(cpus[-1])] if len(cpus) > 1 else []
    before, spent = requests_begun(nginx), cpu_seconds(worker)
    words = [*pin, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", url]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    spent = cpu_seconds(worker) - spent
    return spent / (requests_begun(nginx) - before - 1) * 1e6


def measure(nginx: Nginx, ports: dict[str, int], path: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Microseconds per request by handler, one number for each round."""
    (worker,) = nginx.worker_pids()
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    if len(cpus) > 1:
        os.sched_setaffinity(worker, {cpus[0]})
    for name in HANDLERS:
        per_request(nginx, worker, f"http://127.0.0.1:{ports[name]}{path}", 1, cpus)
    taken: dict[str, list[float]] = {name: [] for name in HANDLERS}
    for number in range(rounds):
        turn = number % len(HANDLERS)
        for name in (*HANDLERS[turn:], *HANDLERS[:turn]):
            taken[name].append(per_request(nginx, worker, f"http://127.0.0.1:{ports[name]}{path}", seconds, cpus))
    return taken


def report(kind: str, taken: dict[str, list[float]]) -> None:
    bare = taken["bare"]
    print(
        f"{kind}: us of worker CPU per request, median of {len(bare)} rounds; added = median of the rounds' differences"
    )
    for name in HANDLERS:
        line = f"  {name:<6} {statistics.median(taken[name]):6.2f}"
        if name != "bare":
            added = [mine - its for mine, its in zip(taken[name], bare, strict=True)]
            low, middle, high = statistics.quantiles(added, n=4)
            line += f"   added {middle:+.2f}  (quartiles {low:+.2f} {high:+.2f})"
        if name == "ours":
            line += f"   to reach {TARGETS[kind]:+.1f}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="worker CPU per request: bare, empty handler, ours")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of load, for each handler in each round")
    wanted = parser.parse_args()
    directory = shared_directory()
    ports = {name: free_port() for name in HANDLERS}
    nginx = Nginx(directory / "collector.sock", site(ports), workers=1, include="resty-metrics-own-hook.conf")
    write_files(nginx)
    try:
        with Collector(directory / "collector.sock"), nginx:
            for kind, path in PATHS.items():
                report(kind, measure(nginx, ports, path, wanted.rounds, wanted.seconds))
            print(*nginx.errors(), sep="\n", end="")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()

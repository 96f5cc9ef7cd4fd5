"""Load on one nginx worker: wrk for CPU per request, h2load for latency at a fixed rate."""

import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from support.nginx import Nginx

from benchmarks import cpu
from benchmarks.sites import Handler

CONNECTIONS = 32
TENANT = "X-Tenant: tenant-7"
# Each request names another of so many tenants, in an order that defeats caches.
TENANTS = """
    local n, step = 0, 7919
    function request()
        n = (n + step) % {tenants}
        return wrk.format("GET", nil, {{ ["X-Tenant"] = "tenant-" .. n }})
    end
"""


def requests_begun(nginx: Nginx) -> int:
    """Return nginx's own count of requests, the one for the count included."""
    with urllib.request.urlopen(f"http://{nginx.stub_status}/stub_status", timeout=10) as answer:
        text = answer.read().decode()
    match = re.search(r"\d+ \d+ (\d+)", text)
    assert match is not None
    return int(match[1])


def cpu_per_request(handler: Handler, path: str, seconds: int, script: Path | None = None) -> float:
    """Return the worker's CPU seconds per request, under full load."""
    pid = handler.worker
    cpu.pin(pid, cpu.SUBJECT)
    words = [*cpu.PIN_LOAD, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", TENANT]
    words += [] if script is None else ["-s", str(script)]
    before, spent = requests_begun(handler.nginx), cpu.seconds(pid)
    url = f"http://127.0.0.1:{handler.port}{path}"
    subprocess.run([*words, url], check=True, stdout=subprocess.DEVNULL)
    spent = cpu.seconds(pid) - spent
    return spent / (requests_begun(handler.nginx) - before - 1)


@dataclass(frozen=True, slots=True)
class Latency:
    """The percentiles of the seconds from a request to its answer."""

    p50: float
    p99: float
    p999: float


def latency(handler: Handler, path: str, rate: float, seconds: int) -> Latency:
    """Measure latency in an open loop: ``rate`` requests per second, sent whether earlier ones were answered or not."""
    cpu.pin(handler.worker, cpu.SUBJECT)
    with tempfile.NamedTemporaryFile() as log:
        words = [*cpu.PIN_LOAD, "h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", "-H", TENANT]
        words += [f"--rps={max(1, round(rate / CONNECTIONS))}", f"--log-file={log.name}"]
        url = f"http://127.0.0.1:{handler.port}{path}"
        subprocess.run([*words, url], check=True, stdout=subprocess.DEVNULL)
        took = [int(line.split()[2]) for line in Path(log.name).read_text().splitlines()]
    return percentiles(sorted(took))


def percentiles(microseconds: Sequence[int]) -> Latency:
    """Return the percentiles of a sorted list of microseconds, in seconds."""
    last = len(microseconds) - 1
    p50, p99, p999 = (microseconds[round(last * share)] / 1e6 for share in (0.5, 0.99, 0.999))
    return Latency(p50, p99, p999)

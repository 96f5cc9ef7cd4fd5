"""A client floods a label with a million values: the worker's memory stays flat, and what was known is exact."""

from collections import Counter
from pathlib import Path

import pytest
from support.client import get
from support.collector import Collector
from support.labels import by_labels
from support.load import Load
from support.nginx import Nginx
from support.wait import free_port, wait_until

KNOWN, FLOOD = 50, 1_000_000

SCRIPT = f"""
local n = 0
request = function()
    n = n + 1
    local tenant = n % 100 == 0 and "known-" .. n / 100 % {KNOWN} or "flood-" .. n .. "-" .. math.random(1e9)
    return wrk.format("GET", "/", {{ ["X-Tenant"] = tenant }})
end
init = function() math.randomseed(os.time()) end
"""


def resident_kilobytes(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


@pytest.mark.slow
def test_a_flood_keeps_the_workers_memory_flat(socket_path: Path, shared: Path) -> None:
    port, script = free_port(), shared / "flood.lua"
    script.write_text(SCRIPT)
    site = f"""geo $resty_metrics_labels {{ default "tenant=http_x_tenant"; }}
        log_format tenants '$http_x_tenant';
        server {{ listen 127.0.0.1:{port} backlog=4096; server_name a.example; keepalive_requests 1000000;
            access_log {{prefix}}/tenants.log tenants; location / {{ return 200; }} }}"""
    with Collector(socket_path) as collector, Nginx(socket_path, site, workers=1) as nginx:
        for number in range(KNOWN):
            get(port, "/", {"X-Tenant": f"known-{number}"})
        (worker,) = nginx.worker_pids()
        log, early = nginx.prefix / "tenants.log", 0
        while count_lines(log) < FLOOD:
            with Load(f"http://127.0.0.1:{port}/", 5, script=str(script)):
                pass
            early = early or resident_kilobytes(worker)
        assert resident_kilobytes(worker) - early < 16_000
        logged = Counter(log.read_text().split())

        def counted() -> Counter[tuple[str, ...]]:
            return by_labels(collector.samples(), "nginx_http_responses_total", "tenant")

        wait_until(lambda: counted().total() == logged.total(), 30, "all requests")
        page = counted()
        assert {f"known-{n}": page[f"known-{n}",] for n in range(KNOWN)} == {
            f"known-{n}": logged[f"known-{n}"] for n in range(KNOWN)
        }
        assert len(page) <= 10_001
        assert page["other",] > FLOOD / 2
        assert nginx.errors() == []


def count_lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(block.count(b"\n") for block in iter(lambda: lines.read(1 << 20), b""))

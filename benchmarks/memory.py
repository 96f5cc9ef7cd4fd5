"""(e) Memory: of a row in a worker's Lua machine, of a row in the collector with its text on the page, and of an idle
collector.
"""

import gc
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from support.collector import Collector
from support.nginx import shared_directory

from benchmarks import flush, footprint
from benchmarks.figures import Figure, Reach
from benchmarks.merge import Process
from benchmarks.rounds import spread
from benchmarks.scale import Scale

SUBJECT = "memory"
REACH_KILOBYTES = 3.5
LUA_ROWS = 10_000


def resident(pid: int) -> int:
    """Return the resident anonymous memory of a process in bytes, without mapped files."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def _lua() -> Figure:
    directory = shared_directory()
    site = flush.handler(directory / "collector.sock")
    try:
        with Collector(directory / "collector.sock"), site.nginx:
            flush.ask(site, "/")
            before = float(flush.ask(site, "/memory"))
            flush.flush(site, LUA_ROWS)
            per_row = (float(flush.ask(site, "/memory")) - before) / LUA_ROWS
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return Figure(SUBJECT, f"a worker's Lua, {LUA_ROWS:,} rows", "bytes per row", spread([per_row]), 1)


def _collector(rows: int) -> Iterator[Figure]:
    directory = shared_directory()
    try:
        with Collector(directory / "collector.sock") as collector:
            collector.page()
            before = resident(collector.pid)
            send = Process(1, collector, rows)
            sent = (resident(collector.pid) - before) / rows / 1024
            collector.page()
            send()
            collector.page()
            per_row = (resident(collector.pid) - before) / rows / 1024
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    yield Figure(SUBJECT, f"collector, {rows:,} rows, no page yet", "KiB per row", spread([sent]), 1)
    reach = Reach(REACH_KILOBYTES)
    yield Figure(
        SUBJECT, f"collector, {rows:,} rows, after two pages", "KiB per row", spread([per_row]), 1, reach=reach
    )


def run(scale: Scale) -> Iterator[Figure]:
    say = scale.within(SUBJECT)
    say("a worker")
    yield _lua()
    for rows in (size for size in (10_000, 100_000) if size <= scale.largest):
        say(f"a collector, {rows:,} rows")
        yield from _collector(rows)
    gc.collect()
    yield from footprint.run(scale, SUBJECT)

"""The proof of --check: every request is sent, and the page counts it exactly as nginx's access_log does."""

import asyncio
import random
import time
from collections import Counter
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from deploy.demo.installed import Ports
from deploy.demo.pipeline import pipeline
from deploy.demo.traffic import KINDS, KNOWN_METHODS, Kind, send

AGREE_SECONDS = 15.0

Counts = Counter[tuple[str, str, str]]


def logged(prefix: Path) -> Counts:
    """Count the requests in nginx's access_log, with the labels of the page."""
    counts: Counts = Counter()
    for line in (prefix / "access.log").read_text().splitlines():
        server, method, status = line.split("\t")
        counts[server, method if method in KNOWN_METHODS else "other", status] += 1
    return counts


async def read_page(client: aiohttp.ClientSession, ports: Ports) -> tuple[Counts, dict[str, float]]:
    """Return the requests by labels, and ``source_up`` by source, from the page."""
    async with client.get(f"http://127.0.0.1:{ports.page}/metrics") as response:
        page = await response.text()
    counts: Counts = Counter()
    sources: dict[str, float] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == "nginx_http_responses_total":
                counts[sample.labels["server"], sample.labels["method"], sample.labels["status"]] += int(sample.value)
            elif sample.name == "resty_metrics_source_up":
                sources[sample.labels["source"]] = sample.value
    return counts, sources


def all_up(sources: dict[str, float]) -> bool:
    return all(value == 1 for value in sources.values()) and {"lua", "stub_status"} <= sources.keys()


def proof(sent: int, log: Counts, page: Counts, sources: dict[str, float]) -> bool:
    """Print the requests sent, logged and counted. Return True if they agree and every source is up."""
    print(f"{'server':<14}{'method':<8}{'status':<8}{'access_log':>10}{'page':>10}")
    for key in sorted({*log, *page}):
        mark = "" if log[key] == page[key] else "   <- differs"
        print(f"{key[0]:<14}{key[1]:<8}{key[2]:<8}{log[key]:>10}{page[key]:>10}{mark}")
    print(f"{'all':<30}{log.total():>10}{page.total():>10}")
    good = log == page and log.total() == sent and all_up(sources)
    print(f"sent {sent}, counted {page.total()}; sources: " + ", ".join(f"{k} {v:g}" for k, v in sources.items()))
    print("OK: every request is on the page exactly once" if good else "FAILED: see above")
    return good


async def check(prefix: Path, ports: Ports) -> bool:
    """Send all requests, wait until the page has them and the workers' first heartbeat, and print the proof.

    Return True if it holds within AGREE_SECONDS.
    """
    order = [kind for kind in KINDS for _ in range(kind.times)]
    random.Random(0).shuffle(order)
    async with pipeline(prefix, ports), aiohttp.ClientSession() as client:
        limit = asyncio.Semaphore(16)

        async def one(kind: Kind) -> None:
            async with limit:
                await send(client, ports, kind)

        await asyncio.gather(*(one(kind) for kind in order))
        ends = time.monotonic() + AGREE_SECONDS
        while True:
            page, sources = await read_page(client, ports)
            log = logged(prefix)
            done = page == log and log.total() == len(order) and all_up(sources)
            if done or time.monotonic() > ends:
                return proof(len(order), log, page, sources)
            await asyncio.sleep(0.1)

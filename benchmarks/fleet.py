"""(g) A fleet: the cost of one collector, of many to a Prometheus, and of passing samples on by remote write and
federation.

Every page comes from its own collector process on loopback, with rows that change between scrapes. The Prometheus are
real ones: the first stores the samples and evaluates prometheus/rules/requests.yml, and another federates the results
of these rules. Then one in agent mode scrapes the same pages and sends the samples to one with a remote-write receiver.
"""

import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.collector import Collector, samples_of
from support.nginx import ROOT, shared_directory
from support.prometheus import Prometheus
from support.wait import wait_until

from benchmarks import cpu
from benchmarks.figures import Figure
from benchmarks.memory import resident
from benchmarks.merge import Process
from benchmarks.rounds import spread
from benchmarks.scale import Scale

SUBJECT = "fleet"
ROWS = 100  # of a page of the fleet
INTERVAL_SECONDS, INTERVAL_OF_FEW = 5, 1  # between scrapes; few pages are scraped sooner
FEW = 20
SCRAPES = 4  # of each page, in a turn that is measured
STARTS = 4  # at a time
ROWS_ALONE = (0, 1_000, 10_000)
MEBIBYTE = 2**20
AS_PROMETHEUS = {"Accept": "application/openmetrics-text; version=1.0.0", "Accept-Encoding": "gzip"}
RULES = ROOT / "prometheus" / "rules" / "requests.yml"
SCRAPES_PER_EVALUATION = 3
P99 = "job_nginx_server:nginx_http_request_duration_seconds:p99_rate5m"
RECORDED = '{__name__=~"job_.+:.+"}'
REMOTE_WRITE = 'remote_write: [{{ url: "http://127.0.0.1:{port}/api/v1/write" }}]'
FEDERATION = """
    metrics_path: /federate
    honor_labels: true
    params: {{ "match[]": ['{match}'] }}
"""


def _figure(title: str, unit: str, values: Sequence[float]) -> Figure:
    return Figure(SUBJECT, title, unit, spread(values), len(values))


# One collector --------------------------------------------------------------------------------------------------------


def _scrape(collector: Collector) -> bytes:
    request = urllib.request.Request(f"{collector.url}/metrics", headers=AS_PROMETHEUS)
    with urllib.request.urlopen(request, timeout=60) as response:
        body: bytes = response.read()
    return body


def _cost(pid: int, work: Callable[[], object]) -> float:
    before = cpu.seconds(pid)
    work()
    return cpu.seconds(pid) - before


def _alone(rows: int, rounds: int) -> Iterator[Figure]:
    directory = shared_directory()
    of, changed, unchanged, merged = f"a collector, {rows:,} rows", [], [], []
    try:
        with Collector(directory / "collector.sock") as collector:
            send = Process(1, collector, rows) if rows else None
            _scrape(collector)
            for _ in range(rounds):
                if send is not None:
                    merged.append(send() * 1_000)
                    changed.append(_cost(collector.pid, lambda: _scrape(collector)))
                unchanged.append(_cost(collector.pid, lambda: _scrape(collector)))
            yield _figure(f"{of}: memory", "MiB", [_proportional(collector.pid) / MEBIBYTE])
            yield _figure(f"{of}: page", "KiB, gzip", [len(_scrape(collector)) / 1024])
            yield _figure(f"{of}: a scrape, none changed", "ms of CPU", [seconds * 1e3 for seconds in unchanged])
            if send is not None:
                yield _figure(f"{of}: a scrape, all changed", "ms of CPU", [seconds * 1e3 for seconds in changed])
                yield _figure(f"{of}: 1,000 rows received and kept", "ms of CPU", [seconds * 1e3 for seconds in merged])
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _proportional(pid: int) -> int:
    """Return a process's memory in bytes, shared pages divided by the number of processes that share them (PSS)."""
    match = re.search(r"^Pss: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024


# Many -----------------------------------------------------------------------------------------------------------------


class Fleet:
    """The running collectors, each with a worker that sends the same rows again between two scrapes."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self.collectors = collectors
        self.seconds = INTERVAL_SECONDS if len(collectors) > FEW else INTERVAL_OF_FEW
        self._workers = [Process(1, collector, ROWS) for collector in collectors]
        self._sent = time.monotonic()

    @property
    def interval(self) -> str:
        return f"{self.seconds}s"

    @property
    def ports(self) -> list[int]:
        return [collector.port for collector in self.collectors]

    def until(self, condition: Callable[[], bool], goal: str) -> None:
        """Keep sending rows until the condition holds."""

        def look() -> bool:
            if time.monotonic() >= self._sent + self.seconds:
                self._sent = time.monotonic()
                for worker in self._workers:
                    worker.send()
            return condition()

        wait_until(look, 120, goal)


@contextmanager
def _fleet(pages: int, directory: Path) -> Iterator[Fleet]:
    places = [directory / str(number) for number in range(pages)]
    for place in places:
        place.mkdir(mode=0o755)
    collectors = [Collector(place / "collector.sock") for place in places]
    with ThreadPoolExecutor(STARTS) as pool:
        try:
            list(pool.map(Collector.start, collectors))
            yield Fleet(collectors)
        finally:
            list(pool.map(lambda collector: collector.__exit__(None, None, None), collectors))


def _own(prometheus: Prometheus, name: str) -> float:
    """Return a metric of Prometheus about itself, summed over its labels."""
    return sum(value for (sample, _), value in samples_of(prometheus.page()).items() if sample == name)


@dataclass(frozen=True, slots=True)
class Turn:
    """The CPU seconds of each of some processes while Prometheus stored so many ``samples``."""

    samples: float
    cpu: Sequence[float]


def _turn(fleet: Fleet, prometheus: Prometheus, pids: Sequence[int]) -> Turn:
    """Wait until Prometheus, the last in the line, has stored SCRAPES scrapes of each page. Return the cost of that."""
    name = "prometheus_tsdb_head_samples_appended_total"
    target = SCRAPES * (prometheus.value("sum(scrape_samples_scraped)") or 0)
    before, stored = [cpu.seconds(pid) for pid in pids], _own(prometheus, name)
    fleet.until(lambda: _own(prometheus, name) - stored >= target, f"{target:,.0f} samples")
    took = [cpu.seconds(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
    return Turn(_own(prometheus, name) - stored, took)


def _wait_until_all_are_up(fleet: Fleet, prometheus: Prometheus) -> None:
    pages = len(fleet.collectors)
    up = 'count(up{job="resty-metrics"} == 1)'
    fleet.until(lambda: prometheus.value(up) == pages, f"a scrape of each of {pages} pages")


def _scraped(fleet: Fleet, directory: Path) -> Iterator[Figure]:
    """Yield the figures of a Prometheus that scrapes and stores all pages, then those of another that federates it."""
    pids = [collector.pid for collector in fleet.collectors]
    of, evaluation = f"{len(pids)} pages", f"{SCRAPES_PER_EVALUATION * fleet.seconds}s"
    with Prometheus(
        directory, *fleet.ports, interval=fleet.interval, rules=[RULES], evaluation=evaluation
    ) as prometheus:
        _wait_until_all_are_up(fleet, prometheus)
        turn = _turn(fleet, prometheus, [prometheus.pid, *pids])
        series, scraped = (
            _own(prometheus, "prometheus_tsdb_head_series"),
            prometheus.value("sum(scrape_samples_scraped)") or 0,
        )
        pages = turn.samples / scraped * len(pids)
        yield _figure(f"{of}: series", "series", [series])
        yield _figure(f"{of}: a page", "samples", [scraped / len(pids)])
        yield _figure(f"{of}: Prometheus and the rules", "us of CPU per sample", [turn.cpu[0] / turn.samples * 1e6])
        yield _figure(f"{of}: Prometheus, memory", "KiB per series", [resident(prometheus.pid) / series / 1024])
        yield _figure(
            f"{of}: a collector, for a scrape and {fleet.seconds} s of rows",
            "ms of CPU",
            [sum(turn.cpu[1:]) / pages * 1e3],
        )
        yield _figure(f"{of}: memory of a collector", "MiB", [_proportional(pid) / MEBIBYTE for pid in pids])
        yield _figure(f"{of}: longest scrape", "ms", [(prometheus.value("max(scrape_duration_seconds)") or 0) * 1e3])
        yield from _federated(fleet, prometheus, series, directory / "federation")


def _federated(fleet: Fleet, leaf: Prometheus, series: float, directory: Path) -> Iterator[Figure]:
    directory.mkdir()
    recorded = f"count({RECORDED})"

    def all_taken() -> bool:
        samples = leaf.value(recorded)
        return samples is not None and top.value(recorded) == samples

    fleet.until(lambda: (leaf.value(f"count({P99})") or 0) > 0, "recording rules over two scrapes")
    client = FEDERATION.format(match=RECORDED)
    with Prometheus(directory, leaf.port, interval=fleet.interval, client=client) as top:
        fleet.until(all_taken, "all that was recorded")
        recorded_samples = top.value(recorded) or 0
        took = top.value('scrape_duration_seconds{job="resty-metrics"}') or 0
    yield _figure("federation: what the rules made of them", "series", [recorded_samples])
    yield _figure("federation: of the series that they were made of", "per cent", [recorded_samples / series * 100])
    yield _figure("federation: its scrape", "ms", [took * 1e3])
    rules = _own(leaf, "prometheus_rule_group_last_duration_seconds")
    yield _figure("federation: an evaluation of the rules", "ms", [rules * 1e3])


def _passed_on(fleet: Fleet, directory: Path) -> Iterator[Figure]:
    """Yield the figures of an agent, which stores nothing, and of the Prometheus to which it sends by remote write."""
    of = f"{len(fleet.collectors)} pages, agent"
    places = [directory / "receiver", directory / "agent"]
    for place in places:
        place.mkdir()
    with Prometheus(places[0], arguments=["--web.enable-remote-write-receiver"]) as receiver:
        write = REMOTE_WRITE.format(port=receiver.port)
        with Prometheus(places[1], *fleet.ports, interval=fleet.interval, more=write, agent=True) as agent:
            _wait_until_all_are_up(fleet, receiver)
            sent = _own(agent, "prometheus_remote_storage_bytes_total")
            turn = _turn(fleet, receiver, [agent.pid, receiver.pid])
            sent = _own(agent, "prometheus_remote_storage_bytes_total") - sent
            lost = sum(_own(agent, f"prometheus_remote_storage_samples_{how}_total") for how in ("failed", "dropped"))
            yield _figure(of, "us of CPU per sample", [turn.cpu[0] / turn.samples * 1e6])
            yield _figure(f"{of}: memory", "MiB", [resident(agent.pid) / MEBIBYTE])
            yield _figure(f"{of}: sent", "bytes per sample", [sent / turn.samples])
            yield _figure(f"{of}: samples that failed or were dropped", "samples", [lost])
            yield _figure(f"{of}: its receiver", "us of CPU per sample", [turn.cpu[1] / turn.samples * 1e6])


def run(scale: Scale) -> Iterator[Figure]:
    say = scale.within(SUBJECT)
    for rows in (size for size in ROWS_ALONE if size <= scale.largest):
        say(f"a collector, {rows:,} rows")
        yield from _alone(rows, scale.rounds)
    directory = shared_directory()
    try:
        say(f"{scale.pages} collectors start")
        with _fleet(scale.pages, directory) as fleet:
            say("one Prometheus, and federation")
            yield from _scraped(fleet, directory)
            say("an agent and its receiver")
            yield from _passed_on(fleet, directory)
            say("all of them end")
    finally:
        shutil.rmtree(directory, ignore_errors=True)

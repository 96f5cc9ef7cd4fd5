"""(c) Rows merged per CPU second: from the bytes of a datagram to the table, with the journal and without.

A row is one of requests together with its row of durations (samples.py).

The reference is the least that any collector in Python must do: decode the msgpack and add the numbers of each row,
without checks and without a journal. ``in all`` is the process of a real collector that receives real datagrams, with
its socket, answers and threads. The other figures call the code in between directly.
"""

import gc
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import partial
from operator import add
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.senders import Senders as KnownSenders
from resty_metrics.journal.records import of_drain
from resty_metrics.journal.store import Store, create
from resty_metrics.process.tuning import GC_THRESHOLD
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import HEADER_BYTES
from support.collector import Collector
from support.nginx import shared_directory

from benchmarks import cpu
from benchmarks.figures import Figure, Reach
from benchmarks.rounds import Series, Spread, Work, measure
from benchmarks.samples import Senders
from benchmarks.scale import Scale

SUBJECT = "merge"
SKETCH = "decode and add"
ROWS = 10_000
LABELS = 4
PER_DRAIN = 4  # datagrams per commit
REACH = {"journal off": 400_000, "journal on": 300_000}


class Sketch:
    """The reference: the least work that merges the rows."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[tuple[str, ...], list[float]]] = {}
        self._senders = Senders(1, ROWS)

    def __call__(self) -> float:
        return cpu.of(partial(self._merge, self._senders.datagrams())) / ROWS

    def _merge(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            for family in msgpack.unpackb(datagram[HEADER_BYTES:], use_list=False)["families"]:
                table = self._tables.setdefault(family["name"], {})
                for row in family["rows"]:
                    key = row[:LABELS]
                    known = table.get(key)
                    table[key] = list(row[LABELS:]) if known is None else [*map(add, known, row[LABELS:])]


class Merge:
    """An intake without a socket. ``journal`` None: nothing is written."""

    def __init__(
        self, workers: int, journal: Store | None, rows: int = ROWS, server: str = "www{}.example.com"
    ) -> None:
        self.intake = Intake(Table(), KnownSenders(), lambda uid: True)
        self._senders = Senders(workers, rows, server)
        self._journal = journal
        self()

    def __call__(self) -> float:
        return cpu.of(partial(self._merge, self._senders.datagrams())) / self._senders.rows

    def _merge(self, datagrams: list[bytes]) -> None:
        for first in range(0, len(datagrams), PER_DRAIN):
            for datagram in datagrams[first : first + PER_DRAIN]:
                self.intake.receive(datagram, 0, 0.0)
            drain = self.intake.take()
            if self._journal is not None:
                self._journal.append([of_drain(drain) or b""])
            self.intake.settle(drain)
        assert self.intake.applied_rows % self._senders.rows == 0, self.intake.results


class Process:
    """A real collector, and workers that wait for its answers."""

    def __init__(self, workers: int, collector: Collector, rows: int = ROWS) -> None:
        self._senders = Senders(workers, rows)
        self._collector = collector
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(str(collector.socket_path))
        self._answers = {name: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for name in self._senders.names}
        self.send()

    def __call__(self) -> float:
        pid = self._collector.pid
        cpu.pin(pid, cpu.SUBJECT)
        before = cpu.seconds(pid)
        self.send()
        return (cpu.seconds(pid) - before) / self._senders.rows

    def send(self) -> None:
        """Send all rows, and wait until they are committed."""
        last: dict[bytes, int] = {}
        for datagram in self._senders.datagrams():
            name = datagram[8:24]
            socket.send_fds(self._socket, [datagram], [self._answers[name][1].fileno()])
            last[name] = int.from_bytes(datagram[32:40], "big")
        for name, sequence in last.items():
            while int.from_bytes(self._answers[name][0].recv(64)[32:40], "big") < sequence:
                pass


def _figure(name: str, measured: Series, reach: int | None) -> Figure:
    rate = Spread(1 / measured.cost.high, 1 / measured.cost.middle, 1 / measured.cost.low)
    reference = (SKETCH, 1 / measured.reference.middle, measured.ratio)
    promised = None if reach is None else Reach(reach, least=True)
    return Figure(SUBJECT, name, "rows per CPU second", rate, len(measured.costs), reference, promised)


def run(scale: Scale) -> Iterator[Figure]:
    os.sched_setaffinity(0, {cpu.LOAD})
    threshold = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD)  # the collector's own
    directory = shared_directory()
    try:
        with (
            tempfile.TemporaryDirectory() as kept,
            Collector(directory / "off.sock", "--state.dir=none") as off,
            Collector(directory / "on.sock", f"--state.dir={directory / 'state'}") as on,
        ):
            create(Path(kept) / "journal", [])
            store = Store(Path(kept) / "journal")
            works: dict[str, Work] = {SKETCH: Sketch(), f"{SKETCH}, once more": Sketch()}
            works |= {"journal off": Merge(1, None), "journal on": Merge(1, store)}
            for workers in (1, 64):
                by = f"{workers} worker{'s'[: workers - 1]}"
                works |= {f"in all, journal off, {by}": Process(workers, off)}
                works |= {f"in all, journal on, {by}": Process(workers, on)}
            measured = measure(works, SKETCH, scale.rounds, scale.within(SUBJECT))
            store.close()
        for name, result in measured.items():
            yield _figure(name, result, REACH.get(name.partition(",")[0]))
    finally:
        gc.set_threshold(*threshold)
        os.sched_setaffinity(0, set(cpu.CPUS))

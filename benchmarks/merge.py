"""Merge: CPU time from the bytes of a batch to the table, and the memory of a row with its rendered text.

Run ``python benchmarks/merge.py``. It prints, it never asserts; times are CPU times (``time.process_time``).
"""

import gc
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgpack  # type: ignore[import-untyped]

from collector.ingest.batch import read_batch
from collector.ingest.intake import Intake
from collector.ingest.streams import Streams
from collector.ingest.wire import HEADER_BYTES, Header, Kind, write_datagram
from collector.journal.records import of_drain
from collector.journal.store import Store, create
from collector.page.requests import render
from collector.table.table import Table

BOUNDS = [5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000, 30000, 60000]
ROWS = 10_000
ROWS_PER_BATCH = 500
ROUNDS = 10
FEWER_COLLECTIONS = 100_000


def make_rows(count: int, seed: int = 1) -> list[list[str | int]]:
    """Rows as a busy site sends them: 17 buckets, most of them small, and three sums."""
    source = random.Random(seed)
    rows: list[list[str | int]] = []
    for number in range(count):
        requests = source.randrange(1, 2000)
        buckets = [0] * 17
        for _ in range(8):
            buckets[min(16, int(source.expovariate(0.3)))] += requests // 8 + 1
        labels = [f"www{number // 40}.example.com", ("GET", "POST")[number % 2], str(200 + number // 2 % 20)]
        sums = [requests * source.randrange(40), requests * 500, requests * source.randrange(20000)]
        rows.append([*labels, *buckets, *sums])
    return rows


def make_body(rows: list[list[str | int]]) -> dict[str, object]:
    family = {
        "name": "http_requests",
        "type": "requests",
        "labels": ["server", "method", "status"],
        "bounds": BOUNDS,
        "columns": ["duration_ms", "request_bytes", "response_bytes"],
        "rows": rows,
    }
    return {"families": [family]}


def make_datagrams(rows: list[list[str | int]], first: int, stream: bytes = bytes(16)) -> list[bytes]:
    datagrams = []
    for sequence, start in enumerate(range(0, len(rows), ROWS_PER_BATCH), first):
        header = Header(1, Kind.BATCH, stream, 1, sequence, sequence)
        datagrams.append(write_datagram(header, make_body(rows[start : start + ROWS_PER_BATCH])))
    return datagrams


def cpu_per_row(work: Callable[[bytes], object], datagrams: list[bytes]) -> float:
    """The best round's CPU seconds per row."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for datagram in datagrams:
            work(datagram)
        best = min(best, time.process_time() - start)
    return best / ROWS


def time_intake(rows: list[list[str | int]]) -> float:
    intake = Intake(Table(), Streams(), lambda uid: True)
    best, sequence = float("inf"), 1
    for _ in range(ROUNDS):
        datagrams = make_datagrams(rows, sequence)
        sequence += len(datagrams)
        start = time.process_time()
        for datagram in datagrams:
            intake.receive(datagram, 0, 0.0)
            intake.commit()
        best = min(best, time.process_time() - start)
    return best / ROWS


def time_journal(rows: list[list[str | int]], per_drain: int) -> float:
    """The same with a journal: record, commit by SQLite, then merge. ``per_drain`` datagrams are one record."""
    intake = Intake(Table(), Streams(), lambda uid: True)
    best, sequence = float("inf"), 1
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal"
        create(path, [])
        journal = Store(path)
        for _ in range(ROUNDS):
            datagrams = make_datagrams(rows, sequence)
            sequence += len(datagrams)
            start = time.process_time()
            for first in range(0, len(datagrams), per_drain):
                for datagram in datagrams[first : first + per_drain]:
                    intake.receive(datagram, 0, 0.0)
                drain = intake.take()
                journal.append([of_drain(drain) or b""])
                intake.settle(drain)
            best = min(best, time.process_time() - start)
        journal.close()
    return best / ROWS


def memory_per_row(datagrams: list[bytes]) -> float:
    intake = Intake(Table(), Streams(), lambda uid: True)
    tracemalloc.start()
    for datagram in datagrams:
        intake.receive(datagram, 0, 0.0)
        intake.commit()
    render(intake.table)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / ROWS


def main() -> None:
    rows = make_rows(ROWS)
    datagrams = make_datagrams(rows, 1)
    decode = cpu_per_row(lambda datagram: msgpack.unpackb(datagram[HEADER_BYTES:], use_list=False), datagrams)
    read = cpu_per_row(lambda datagram: read_batch(datagram[HEADER_BYTES:]), datagrams)
    whole = time_intake(rows)
    gc.set_threshold(FEWER_COLLECTIONS)
    relaxed = time_intake(rows)
    print(f"bytes per row on the wire      {sum(map(len, datagrams)) / ROWS:8.1f}")
    print(f"msgpack decode                 {decode * 1e6:8.3f} us per row")
    print(f"decode and validate            {read * 1e6:8.3f} us per row   {read / decode:5.2f} x decode")
    print(f"datagram to table              {whole * 1e6:8.3f} us per row   {whole / decode:5.2f} x decode")
    print(f"rows merged per CPU second     {1 / whole:8,.0f}")
    print(f"  gc threshold {FEWER_COLLECTIONS:7,}         {1 / relaxed:8,.0f}")
    for per_drain in (1, 4):
        kept = time_journal(rows, per_drain)
        print(
            f"  with a journal, {per_drain} to a commit  {1 / kept:8,.0f}             {kept / relaxed:5.2f} x without"
        )
    print(f"memory per row, text included  {memory_per_row(datagrams):8,.0f} bytes")


if __name__ == "__main__":
    main()

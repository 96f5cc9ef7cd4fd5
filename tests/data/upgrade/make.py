"""Writes what this version leaves behind, for the versions after it to be held to: run once for each release.

    python -m data.upgrade.make VERSION        in tests/; the files config.yml and flags.txt are written by hand

A journal after an orderly end, with a snapshot and a log behind it; the part of the page that was counted; file and
flags as they were understood. tests/upgrade/test_upgrade.py reads what is committed, and never runs this.
"""

import json
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resty_metrics.wire.datagram import Kind, Verdict, write_datagram
from support.collector import Collector
from support.nginx import ROOT, shared_directory
from support.upgrade import counted, shown_of_file, shown_of_flags
from support.worker import Worker

HERE = Path(__file__).parent
GOLDEN = ROOT / "tests" / "wire" / "golden"
SENDERS = (b"an older worker.", b"a later worker..")
SCRAPE = {"X-Prometheus-Scrape-Timeout-Seconds": "10", "User-Agent": "Prometheus/3"}


def bodies() -> Iterator[dict[str, Any]]:
    """Everything that a batch may hold."""
    for path in sorted(GOLDEN.glob("*batch_*.json")):
        yield json.loads(path.read_text())["body"]


def send(collector: Collector, sender: bytes, last: int) -> int:
    """All bodies, as the batches behind ``last``. The last one's number."""
    with Worker(collector.socket_path) as worker:
        worker.sender, worker.sequence = sender, last
        for body in bodies():
            worker.send(worker.next_batch(body))
            assert worker.answer()[::2] == (Verdict.ACK, worker.sequence)
        return worker.sequence


def main(version: str) -> None:
    target, directory = HERE / version, shared_directory()
    collector = Collector(directory / "collector.sock")
    collector.state_dir = directory / "state"
    with collector:
        last = send(collector, SENDERS[0], 0)
        urllib.request.urlopen(urllib.request.Request(f"{collector.url}/metrics", headers=SCRAPE)).read()
        collector.terminate()
        collector.start()  # which begins with a snapshot
        last = send(collector, SENDERS[0], last)
        send(collector, SENDERS[1], 0)
        with Worker(collector.socket_path) as worker:
            worker.sender = SENDERS[1]
            worker.send(write_datagram(worker.header(Kind.BYE, last), {}))
            worker.answer()
        collector.terminate()
        shutil.rmtree(target / "state", ignore_errors=True)
        (target / "state").mkdir(parents=True)
        for path in (directory / "state").iterdir():
            if path.name != "lock":
                shutil.copy(path, target / "state")
        collector.start()
        (target / "page.txt").write_text(counted(collector.page()))
    (target / "senders.json").write_text(json.dumps({"sender": SENDERS[0].hex(), "last": last}) + "\n")
    (target / "config.shown.yml").write_text(shown_of_file(target / "config.yml"))
    (target / "flags.shown.yml").write_text(shown_of_flags((target / "flags.txt").read_text().split()))
    shutil.rmtree(directory)


if __name__ == "__main__":
    main(sys.argv[1])

"""Journals with batches in them: the sum of their counters says how much of them was read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resty_metrics.ingest.intake import Intake
from resty_metrics.journal import snapshot, store
from resty_metrics.journal.files import Directory, Name
from resty_metrics.journal.records import of_drain
from resty_metrics.journal.state import State, capture
from resty_metrics.journal.store import Store
from resty_metrics.journal.tenure import Kept, lock_state, read_state
from resty_metrics.journal.writer import Close, Replace, Report, Writer
from resty_metrics.process.lock import acquire
from resty_metrics.wire.datagram import VERSION, Header, Kind, write_datagram

SENDER = b"s" * 16
ROWS = 31  # of each batch, each of them 1


def total(state: State) -> int:
    """The sum of all counters."""
    return int(sum(row.numbers[0] for family in state.table.families.values() for row in family.rows))


def _counter(name: str, *rows: list[Any]) -> dict[str, Any]:
    return {"name": name, "type": "counter", "help": "", "labels": ["l"], "columns": ["value"], "rows": rows}


@dataclass
class Life:
    """A collector's core: what it counted, and the records of that."""

    state: State = field(default_factory=State)
    sequence: int = 0
    datagram: bytes = b""  # the last one, which its worker may send again

    def __post_init__(self) -> None:
        self.intake = Intake(self.state.table, self.state.senders, lambda _: True)

    def send(self) -> bytes:
        """A batch of ROWS rows in two families. Its record."""
        self.sequence += 1
        header = Header(VERSION, Kind.BATCH, SENDER, 1, self.sequence, self.sequence)
        rows = [[f"value {number}", 1] for number in range(ROWS - 1)]
        families = [_counter("wide_total", *rows), _counter(f"number_{self.sequence % 20}_total", ["x", 1])]
        self.datagram = write_datagram(header, {"families": families})
        self.intake.receive(self.datagram, 0, float(self.sequence))
        drain = self.intake.take()
        record = of_drain(drain)
        self.intake.settle(drain)
        assert record is not None
        return record


def begin(directory: Directory, life: Life) -> Name:
    """A current file with this life's state."""
    name = directory.next()
    store.create(directory.file(name), snapshot.write(capture(life.state, life.state.now)))
    directory.name_current(name)
    return name


def append(log: Store, life: Life, records: int) -> None:
    """So many records of one batch, in as many transactions."""
    for _ in range(records):
        log.append([life.send()], ROWS)


def sides(path: Path) -> Iterator[Path]:
    """A journal file and those beside it."""
    yield from sorted(path.parent.glob(f"{path.name}*"))


def start(directory: Path, run: Path) -> tuple[Kept, bool]:
    """What a collector does at its start and its end, all but the socket. Could it write a new journal?"""
    run.mkdir(exist_ok=True)
    socket_lock = acquire(run / "socket.lock")
    lock, error = lock_state(directory)
    kept = read_state(directory, socket_lock, lock, error)
    reports: list[Report] = []
    if lock is not None:
        assert kept.directory is not None
        writer = Writer(kept.directory, lock.held, reports.append)
        writer.start()
        writer.give(Replace(capture(kept.state, kept.state.now)))
        writer.give(Close())
        writer.join(30)
        lock.release()
        socket_lock.note(None)
    socket_lock.release()
    return kept, bool(reports) and all(report.error is None for report in reports)

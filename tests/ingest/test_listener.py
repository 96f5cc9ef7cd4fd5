"""The socket of a real collector: bad datagrams are counted by reason, good ones before and after count."""

import math
import os
import random
import resource
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from support.collector import Collector
from support.nginx import ROOT, shared_directory
from support.wait import wait_until
from support.worker import Worker, counter

from collector.ingest.wire import MAX_DATAGRAM, Kind, Reason, Verdict, write_datagram

GOLDEN = bytes.fromhex((ROOT / "tests" / "wire" / "golden" / "batch_integers.hex").read_text())


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector(shared_directory() / "collector.sock") as collector:
        yield collector


@pytest.fixture
def worker(collector: Collector) -> Iterator[Worker]:
    with Worker(collector.socket_path) as worker:
        yield worker


def refusals(collector: Collector) -> dict[str, float]:
    return {
        dict(labels)["reason"]: value
        for (name, labels), value in collector.samples().items()
        if name == "resty_metrics_refusals_total"
    }


def good(worker: Worker, collector: Collector) -> None:
    """A good batch is counted and acknowledged; the page is readable in both formats."""
    before = collector.value("good_total") or 0
    worker.send(worker.next_batch(counter("good_total", 1)))
    verdict, _, committed = worker.answer()
    assert (verdict, committed) == (Verdict.ACK, worker.sequence)
    assert collector.value("good_total") == before + 1
    list(parse_openmetrics(collector.page(Accept="application/openmetrics-text")))  # type: ignore[no-untyped-call]


def body(**changes: object) -> dict[str, object]:
    family = counter("bad_total", 1, {"a": "b"})["families"][0] | changes
    return {"families": [{key: value for key, value in family.items() if value is not None}]}


INVALID = [
    ("a negative number", body(rows=[["b", -1]])),
    ("a number beyond 2^53", body(rows=[["b", 2**53 + 1]])),
    ("not a number", body(rows=[["b", math.nan]])),
    ("infinite", body(rows=[["b", math.inf]])),
    ("a number that is a word", body(rows=[["b", "1"]])),
    ("a number that is true", body(rows=[["b", True]])),
    ("a label that is a number", body(rows=[[1, 1]])),
    ("a row too short", body(rows=[["b"]])),
    ("a row too long", body(rows=[["b", 1, 1]])),
    ("a row that is no list", body(rows=["b"])),
    ("a name that is none", body(name="1 bad")),
    ("a label name that is none", body(labels=["a-b"])),
    ("an unknown type", body(type="summary")),
    ("no rows", body(rows=None)),
    ("no families", {}),
    ("families that are a number", {"families": 1}),
    ("one good row and one bad", body(rows=[["b", 1], ["b", -1]])),
]


@pytest.mark.parametrize("body", [body for _, body in INVALID], ids=[name for name, _ in INVALID])
def test_an_invalid_batch_is_dropped_as_a_whole(collector: Collector, worker: Worker, body: dict[str, object]) -> None:
    before = refusals(collector)
    good(worker, collector)
    worker.send(worker.next_batch(body))
    verdict, reason, committed = worker.answer()
    assert (verdict, reason, committed) == (Verdict.DROP, Reason.INVALID, worker.sequence)
    good(worker, collector)
    after = refusals(collector)
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == {"invalid": 1}
    assert collector.value("bad_total", a="b") is None


UNDECODABLE = [
    ("no msgpack", b"\xc1"),
    ("nothing", b""),
    ("half a map", msgpack.packb(counter("bad_total", 1))[:-3]),
    ("something behind", msgpack.packb(counter("bad_total", 1)) + b"\x00"),
    ("a map of four thousand million", b"\xdf\xff\xff\xff\xff"),
    ("very deep", b"\x91" * 5000),
]


@pytest.mark.parametrize("body", [body for _, body in UNDECODABLE], ids=[name for name, _ in UNDECODABLE])
def test_an_undecodable_batch_is_dropped(collector: Collector, worker: Worker, body: bytes) -> None:
    before = refusals(collector)
    good(worker, collector)
    worker.send(worker.next_batch({})[:48] + body)
    verdict, reason, committed = worker.answer()
    assert (verdict, reason, committed) == (Verdict.DROP, Reason.UNDECODABLE, worker.sequence)
    good(worker, collector)
    assert refusals(collector)["undecodable"] == before["undecodable"] + 1


def test_an_unknown_version_is_held_and_its_number_stays_free(collector: Collector, worker: Worker) -> None:
    before = refusals(collector)
    good(worker, collector)
    worker.send(worker.next_batch(counter("good_total", 1), version=2))
    assert worker.answer() == (Verdict.HOLD, Reason.VERSION, worker.sequence - 1)
    worker.sequence -= 1
    good(worker, collector)
    assert refusals(collector)["version"] == before["version"] + 1


def test_every_beginning_of_a_datagram(collector: Collector, worker: Worker) -> None:
    before = refusals(collector)
    for length in range(len(GOLDEN)):
        worker.send(GOLDEN[:length])
        if length % 8 == 0:
            worker.probe()
    worker.probe()
    after = refusals(collector)
    assert after["truncated"] - before["truncated"] == 48
    assert sum(after.values()) - sum(before.values()) >= 48
    good(worker, collector)


def test_random_bytes(collector: Collector, worker: Worker) -> None:
    source = random.Random(7)
    before = refusals(collector)
    for number in range(200):
        worker.send(b"x" + source.randbytes(source.randrange(48, 2000)))
        if number % 8 == 0:
            worker.probe()
    worker.probe()
    assert refusals(collector)["magic"] - before["magic"] == 200
    good(worker, collector)


def test_damaged_datagrams_never_stop_the_good_ones(collector: Collector, worker: Worker) -> None:
    """One byte of a good batch changed, anywhere behind the stream's name: whatever it means, the next one counts."""
    source = random.Random(11)
    for number in range(200):
        with Worker(collector.socket_path) as other:
            datagram = bytearray(other.next_batch(counter("damaged_total", 1, {"a": "b"})))
            datagram[source.randrange(24, len(datagram))] ^= 1 << source.randrange(8)
            other.send(bytes(datagram))
            other.probe()
        if number % 50 == 0:
            good(worker, collector)
    good(worker, collector)


def test_an_oversized_datagram(collector: Collector, worker: Worker) -> None:
    before = refusals(collector)
    good(worker, collector)
    worker.send(worker.next_batch({})[:48] + b"x" * MAX_DATAGRAM)
    worker.sequence -= 1
    good(worker, collector)
    assert refusals(collector)["oversized"] == before["oversized"] + 1


LABELS = [
    ("quotes", 'a"b', 'a"b'),
    ("a newline", "a\nb", "a\nb"),
    ("a backslash", "a\\nb", "a\\nb"),
    ("NUL", "a\0b", "a\\x00b"),
    ("our own separators", "a\x01b\x02c\x1f", r"a\x01b\x02c\x1f"),
    ("braces", 'a="1",b="2"}', 'a="1",b="2"}'),
    ("nothing", "", "_"),
    ("no UTF-8", b"a\xff\xc3(".decode(errors="surrogateescape"), "a\\xff\\xc3("),
    ("a carriage return and a line separator", "a\rb\u2028c", "a\\x0db\u2028c"),
]


@pytest.mark.parametrize(("sent", "shown"), [case[1:] for case in LABELS], ids=[case[0] for case in LABELS])
def test_odd_label_values(collector: Collector, worker: Worker, sent: str, shown: str) -> None:
    name = "odd_total"
    before = collector.value(name, a=shown) or 0
    packed = msgpack.packb(counter(name, 1, {"a": sent}), unicode_errors="surrogateescape")
    worker.send(worker.next_batch({})[:48] + packed)
    assert worker.answer()[0] == Verdict.ACK
    assert collector.value(name, a=shown) == before + 1
    good(worker, collector)


def send_as(uid: int, path: Path, datagram: bytes) -> None:
    """One datagram from a process of another user."""
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, str(path))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_foreign_uid_is_held_and_named_with_its_flag(collector: Collector, worker: Worker) -> None:
    before = refusals(collector)
    good(worker, collector)
    for _ in range(3):
        send_as(12345, collector.socket_path, GOLDEN)
    worker.probe()
    assert refusals(collector)["uid"] == before["uid"] + 3
    assert collector.log().count("--socket.allow-uid=12345") == 1
    good(worker, collector)


def open_descriptors(collector: Collector) -> int:
    return len(list(Path(f"/proc/{collector.pid}/fd").iterdir()))


def test_no_descriptor_is_kept(collector: Collector, worker: Worker) -> None:
    good(worker, collector)
    collector.page()
    before = open_descriptors(collector)
    for number in range(300):
        worker.send(b"not ours")
        worker.send(worker.next_batch(counter("leak_total", 1)), descriptors=1 + number % 3)
        worker.send(write_datagram(worker.header(Kind.HEARTBEAT, number + 1, base=worker.sequence + 1), {}))
        worker.probe()
    wait_until(lambda: open_descriptors(collector) <= before, message="as few descriptors as before")
    assert collector.value("leak_total") == 300


def test_without_a_descriptor_left_a_batch_counts_and_its_resend_is_answered(shared: Path) -> None:
    with Collector(shared / "collector.sock") as collector, Worker(collector.socket_path) as worker:
        good(worker, collector)
        soft, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (3, hard))
        datagram = worker.next_batch(counter("full_total", 1))
        worker.send(datagram)
        wait_until(lambda: open_queue(collector) == 0, message="the datagram's reading")
        resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (soft, hard))
        worker.send(datagram)
        assert worker.answer() == (Verdict.ACK, Reason.NONE, worker.sequence)
        assert collector.value("full_total") == 1
        assert collector.value("resty_metrics_datagrams_without_descriptor_total") == 1


def open_queue(collector: Collector) -> int:
    """Datagrams that wait at the collector's socket: 0 once a sender would see an empty queue."""
    found = subprocess.run(["ss", "-xl"], capture_output=True, text=True, check=True).stdout
    return sum(int(line.split()[2]) for line in found.splitlines() if f".{collector.socket_path.name}." in line)

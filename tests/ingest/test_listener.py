"""The socket of a real collector: bad datagrams are counted by reason, good ones before and after count."""

import contextlib
import fcntl
import math
import os
import pwd
import random
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from resty_metrics.endpoint.binding import look
from resty_metrics.endpoint.credentials import MAX_UID, allowed_uids, read_uid
from resty_metrics.endpoint.healing import find_fault
from resty_metrics.ingest.drain import Drain, Outcome
from resty_metrics.ingest.intake import Intake
from resty_metrics.ingest.listener import DRAIN_DATAGRAMS, Listener
from resty_metrics.ingest.senders import Senders
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import HEADER_BYTES, MAX_DATAGRAM, VERSION, Kind, Reason, Verdict, write_datagram
from support.collector import Collector, Samples
from support.nginx import ROOT, shared_directory
from support.wait import wait_until
from support.worker import Worker, counter

GOLDEN = bytes.fromhex((ROOT / "tests" / "wire" / "golden" / "batch_integers.hex").read_text())


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    directory = shared_directory()
    with Collector(directory / "collector.sock") as collector:
        yield collector
    shutil.rmtree(directory)


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
    verdict, _, committed = worker.answer_to_last_batch()
    assert (verdict, committed) == (Verdict.ACK, worker.sequence)
    assert collector.value("good_total") == before + 1
    assert openmetrics(collector)["good_total", frozenset()] == before + 1


def openmetrics(collector: Collector) -> Samples:
    page = collector.page(Accept="application/openmetrics-text")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_openmetrics(page)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


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


def test_what_is_refused_is_not_in_the_log(socket_path: Path) -> None:
    """Its reason is, once; no byte of it: labels may be anybody's secrets."""
    secret = "hunter2"
    bodies: list[dict[str, Any]] = [
        body(labels=[secret]), body(name=f"bad {secret}"), body(type=secret), body(rows=[[secret, -1]]),
        body(rows=[[secret]]), body(help=[secret]), body(**{secret: -1}), {"families": secret}, {secret: 1},
    ]  # fmt: skip
    with Collector(socket_path, "--log.level=debug") as collector, Worker(socket_path) as worker:
        for bad_body in bodies:
            worker.send(worker.next_batch(bad_body))
        header = worker.header(Kind.BATCH, worker.sequence + 1, base=worker.sequence + 1)
        worker.send(write_datagram(header, {})[:HEADER_BYTES] + b"\xc1" + secret.encode())
        worker.send(secret.encode() * 20)
        worker.probe()
        refused = refusals(collector)
        assert refused["invalid"] >= 6
        assert refused["undecodable"] >= 1
        assert collector.terminate() == 0
        assert "reason=invalid" in collector.log()
        assert secret not in collector.log()


@pytest.mark.parametrize("version", [0, 1, VERSION + 1, 255])
def test_an_unknown_version_is_held_and_its_number_stays_free(
    collector: Collector, worker: Worker, version: int
) -> None:
    before = refusals(collector)
    good(worker, collector)
    worker.send(worker.next_batch(counter("good_total", 1), version=version))
    assert worker.answer() == (Verdict.HOLD, Reason.VERSION, worker.sequence - 1)
    worker.sequence -= 1
    good(worker, collector)
    assert refusals(collector)["version"] == before["version"] + 1


def send_all(worker: Worker, datagrams: Iterable[bytes]) -> None:
    """Send them, and return when all are read. The kernel's queue of datagrams holds ten."""
    for number, datagram in enumerate(datagrams):
        worker.send(datagram)
        if number % 8 == 7:
            worker.probe()
    worker.probe()


def changed(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {reason: after[reason] - before[reason] for reason in after if after[reason] != before[reason]}


def test_every_beginning_of_a_datagram(collector: Collector, worker: Worker) -> None:
    """Each as the sender's next batch, or all but the first would be duplicates that nobody decodes."""
    before = refusals(collector)
    send_all(worker, (GOLDEN[:length] for length in range(HEADER_BYTES)))
    lengths = range(HEADER_BYTES, len(GOLDEN))
    send_all(worker, (worker.next_batch({})[:HEADER_BYTES] + GOLDEN[HEADER_BYTES:length] for length in lengths))
    assert changed(before, refusals(collector)) == {"truncated": HEADER_BYTES, "undecodable": len(lengths)}
    good(worker, collector)


def test_random_bytes(collector: Collector, worker: Worker) -> None:
    source = random.Random(7)
    before = refusals(collector)
    send_all(worker, (b"x" + source.randbytes(source.randrange(48, 2000)) for _ in range(100)))
    send_all(worker, (worker.next_batch({})[:HEADER_BYTES] + source.randbytes(200) for _ in range(100)))
    changes = changed(before, refusals(collector))
    assert changes.pop("magic") == 100
    assert set(changes) <= {"undecodable", "invalid"}
    assert sum(changes.values()) == 100
    good(worker, collector)


def test_a_heartbeat_that_is_out_of_range_is_dropped_and_its_worker_lives(collector: Collector, worker: Worker) -> None:
    before = refusals(collector)
    bodies: list[dict[str, Any]] = [{"worker": -1}, {"gauges": {"rows": "7"}}, {"master": {"pid": True}}]
    for number, body in enumerate(bodies, start=1):
        worker.send(write_datagram(worker.header(Kind.HEARTBEAT, number), body))
        assert worker.answer() == (Verdict.ACK, Reason.NONE, 0)
    assert changed(before, refusals(collector)) == {"invalid": 3}
    good(worker, collector)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.5, 5e-324, 2**63])
def test_a_gauge_may_be_any_double(collector: Collector, worker: Worker, value: float) -> None:
    name, labels = "resty_metrics_worker_rows", frozenset({("worker", "4711")})
    worker.send(write_datagram(worker.header(Kind.HEARTBEAT, 1), {"worker": 4711, "gauges": {"rows": value}}))
    worker.probe()
    for samples in (collector.samples(), openmetrics(collector)):
        assert samples[name, labels] == pytest.approx(value, rel=0, abs=0, nan_ok=True)
    worker.send(write_datagram(worker.header(Kind.BYE, 1), {}))
    worker.probe()
    assert collector.value(name, worker="4711") is None


def test_damaged_datagrams_never_stop_the_good_ones(collector: Collector, worker: Worker) -> None:
    """One byte of a good batch changed, anywhere behind the sender's name: whatever it means, the next one counts."""
    source = random.Random(11)
    for number in range(200):
        with Worker(collector.socket_path) as good_worker:
            datagram = bytearray(good_worker.next_batch(counter("damaged_total", 1, {"a": "b"})))
            datagram[source.randrange(24, len(datagram))] ^= 1 << source.randrange(8)
            good_worker.send(bytes(datagram))
            good_worker.probe()
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


def test_the_largest_datagram(collector: Collector, worker: Worker) -> None:
    body = counter("largest_total", 1)
    room = MAX_DATAGRAM - len(worker.next_batch(body | {"pad": "x" * 60_000})) + 60_000
    worker.sequence = 0
    datagram = worker.next_batch(body | {"pad": "x" * room})
    assert len(datagram) == MAX_DATAGRAM
    worker.send(datagram)
    assert worker.answer() == (Verdict.ACK, Reason.NONE, 1)
    assert collector.value("largest_total") == 1


LABELS = [
    ("quotes", 'a"b', 'a"b'),
    ("a newline", "a\nb", "a\nb"),
    ("a backslash", "a\\nb", "a\\nb"),
    ("NUL", "a\0b", "a\\x00b"),
    ("our own separators", "a\x01b\x02c\x1f", r"a\x01b\x02c\x1f"),
    ("braces", 'a="1",b="2"}', 'a="1",b="2"}'),
    ("nothing", "", "_"),
    ("no UTF-8", b"a\xff\xc3(".decode(errors="surrogateescape"), "a\\xff\\xc3("),
    ("a carriage return and a line separator", "a\rb\u2028c", "a\\x0db\\u2028c"),
]


@pytest.mark.parametrize(("sent", "shown"), [case[1:] for case in LABELS], ids=[case[0] for case in LABELS])
def test_odd_label_values(collector: Collector, worker: Worker, sent: str, shown: str) -> None:
    name = "odd_total"
    before = collector.value(name, a=shown) or 0
    packed = msgpack.packb(counter(name, 1, {"a": sent}), unicode_errors="surrogateescape")
    worker.send(worker.next_batch({})[:48] + packed)
    assert worker.answer()[0] == Verdict.ACK
    assert collector.value(name, a=shown) == before + 1
    assert openmetrics(collector)[name, frozenset({("a", shown)})] == before + 1
    good(worker, collector)


def test_nobody_is_told_the_name_of_a_sender(socket_path: Path) -> None:
    """Whoever knows it can send in its place. It is on no page, and in no line of the log, whatever happens to it."""
    with Collector(socket_path, "--log.level=debug") as collector, Worker(socket_path) as worker:
        worker.send(write_datagram(worker.header(Kind.HEARTBEAT, 1), {"worker": 1, "instance": "edge"}))
        for batch_body in (counter("named_total", 1), body(rows=[["b", -1]]), counter("named_total", 1)):
            worker.send(worker.next_batch(batch_body))
        worker.send(worker.next_batch(counter("named_total", 1), version=VERSION + 1))
        worker.probe()
        pages = [collector.page(path) for path in ("/metrics", "/", "/-/ready", "/-/healthy")]
        assert collector.value("named_total") == 2
        assert collector.terminate() == 0
        output = "\n".join([*pages, collector.log()])
        assert worker.sender.hex() not in output.lower()
        assert repr(worker.sender)[2:-1] not in output


def send_as(uid: int, worker: Worker, datagram: bytes) -> None:
    """One datagram from a process of another user; its answer comes to ``worker``. The child must never return."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            worker.send(datagram)
            failed = 0
        finally:
            os._exit(failed)
    assert os.waitpid(child, 0)[1] == 0


only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@only_root
def test_a_foreign_uid_is_held_and_named_with_its_flag(collector: Collector, worker: Worker) -> None:
    """Held, not dropped: a flag that is missing costs no data."""
    before = refusals(collector)
    good(worker, collector)
    datagram = worker.next_batch(counter("held_total", 1))
    for _ in range(3):
        send_as(12345, worker, datagram)
        assert worker.answer() == (Verdict.HOLD, Reason.UID, worker.sequence - 1)
    assert changed(before, refusals(collector)) == {"uid": 3}
    assert collector.value("held_total") is None
    assert collector.log().count("--socket.allow-uid=12345") == 1
    worker.send(datagram)
    assert worker.answer() == (Verdict.ACK, Reason.NONE, worker.sequence)
    assert collector.value("held_total") == 1
    good(worker, collector)


@only_root
def test_a_uid_that_the_flag_names_may_send(shared: Path) -> None:
    allowed = Collector(shared / "collector.sock", "--socket.allow-uid=12345", "--socket.allow-uid=12346")
    with allowed as collector, Worker(collector.socket_path) as worker:
        for uid in (12345, 12346):
            send_as(uid, worker, worker.next_batch(counter("allowed_total", 1)))
            assert worker.answer() == (Verdict.ACK, Reason.NONE, worker.sequence)
        send_as(12347, worker, worker.next_batch(counter("allowed_total", 1)))
        assert worker.answer() == (Verdict.HOLD, Reason.UID, 2)
        assert collector.value("allowed_total") == 2


def test_who_may_send() -> None:
    uids = allowed_uids([4242])
    known = {user.pw_uid for user in pwd.getpwall() if user.pw_name in ("nginx", "www-data", "nobody", "openresty")}
    assert uids == {0, os.geteuid(), 4242} | known


@pytest.mark.parametrize(
    ("text", "uid"),
    [("0", 0), ("12345", 12345), ("root", 0), (str(MAX_UID), MAX_UID), (str(MAX_UID + 1), None), ("-1", None),
     ("", None), ("no-such-user", None), ("\u0661", None), ("1_0", None)],
)  # fmt: skip
def test_read_uid(text: str, uid: int | None) -> None:
    if uid is None:
        with pytest.raises(ValueError, match=re.escape(repr(text))):
            read_uid(text)
    else:
        assert read_uid(text) == uid


def open_descriptors(collector: Collector) -> int:
    return len(list(Path(f"/proc/{collector.pid}/fd").iterdir()))


def test_no_descriptor_is_kept(collector: Collector, worker: Worker) -> None:
    good(worker, collector)
    collector.page()
    before = open_descriptors(collector)
    for number in range(300):
        worker.send(b"not ours")
        worker.send(b"x" * (MAX_DATAGRAM + 1))
        worker.send(worker.next_batch(counter("leak_total", 1)), descriptors=1 + number % 3)
        worker.send(write_datagram(worker.header(Kind.HEARTBEAT, number + 1, base=worker.sequence + 1), {}))
        worker.probe()
    wait_until(lambda: open_descriptors(collector) <= before, message="as few descriptors as before")
    assert collector.value("leak_total") == 300


def a_file() -> tuple[int, ...]:
    return (os.open(__file__, os.O_RDONLY),)


def a_pipe() -> tuple[int, ...]:
    reading, ours = os.pipe()
    return ours, reading


def a_tcp_socket() -> tuple[int, ...]:
    return (socket.socket().detach(),)


def a_socket_whose_other_end_is_closed() -> tuple[int, ...]:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.close()
    return (ours.detach(),)


def a_full_socket_that_blocks() -> tuple[int, ...]:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    while True:
        try:
            ours.send(b"x", socket.MSG_DONTWAIT)
        except BlockingIOError:
            return ours.detach(), peer.detach()


STRANGE = [a_file, a_pipe, a_tcp_socket, a_socket_whose_other_end_is_closed, a_full_socket_that_blocks]


@pytest.mark.parametrize("make", STRANGE, ids=lambda make: make.__name__)
def test_a_strange_descriptor_harms_nobody_else(
    collector: Collector, worker: Worker, make: Callable[[], tuple[int, ...]]
) -> None:
    """It comes in one drain with a good batch: that one is answered all the same, and nothing stays open."""
    good(worker, collector)
    before, failed = open_descriptors(collector), collector.value("resty_metrics_answers_failed_total")
    assert failed is not None
    descriptors = make()
    with Worker(collector.socket_path) as stranger, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(collector.socket_path))
        with stopped(collector):
            socket.send_fds(sender, [stranger.next_batch(counter("strange_total", 1))], [descriptors[0]])
            worker.send(worker.next_batch(counter("good_total", 1)))
    assert worker.answer() == (Verdict.ACK, Reason.NONE, worker.sequence)
    assert collector.value("resty_metrics_answers_failed_total") == failed + 1
    wait_until(lambda: open_descriptors(collector) <= before, message="as few descriptors as before")
    assert "Traceback" not in collector.log()
    for descriptor in descriptors:
        os.close(descriptor)


LINGERS_SECONDS = 60


def lingering() -> tuple[list[socket.socket], int]:
    """A TCP socket whose last close waits for a peer that reads nothing; and the ends that have to stay open."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        server.bind(("127.0.0.1", 0))
        server.listen()
        ours = socket.create_connection(server.getsockname())
        peer = server.accept()[0]
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(65_536))
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGERS_SECONDS))
    return [peer], ours.detach()


def by_itself(descriptor: int) -> tuple[list[socket.socket], list[int]]:
    return [], [descriptor]


def among_many(descriptor: int) -> tuple[list[socket.socket], list[int]]:
    """More than any receiver has to expect: the kernel closes what it has no room for."""
    return [], [0, 0, 0, 0, descriptor]


def in_the_queue_of_one_that_can_be_answered(descriptor: int) -> tuple[list[socket.socket], list[int]]:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    socket.send_fds(peer, [b"x"], [descriptor])
    os.close(descriptor)
    return [peer], [ours.detach()]


@pytest.mark.parametrize("pack", [by_itself, among_many, in_the_queue_of_one_that_can_be_answered])
def test_a_descriptor_that_is_slow_to_close_holds_up_nobody(
    shared: Path, pack: Callable[[int], tuple[list[socket.socket], list[int]]]
) -> None:
    """Not the one who sends next, nor a scrape, nor the end."""
    with contextlib.ExitStack() as kept, Collector(shared / "collector.sock") as collector:
        peers, descriptor = lingering()
        more, passed = pack(descriptor)
        for peer in (*peers, *more):
            kept.enter_context(peer)
        with Worker(collector.socket_path) as stranger, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(collector.socket_path))
            with stopped(collector):
                socket.send_fds(sender, [stranger.next_batch(counter("strange_total", 1))], passed)
                for descriptor in {*passed} - {0}:
                    os.close(descriptor)  # the collector's is the last
        with Worker(collector.socket_path) as worker:
            for _ in range(3):
                good(worker, collector)
        assert collector.value("strange_total") == 1


@contextmanager
def stopped(collector: Collector) -> Iterator[None]:
    """What is sent meanwhile comes in one drain."""
    collector.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        collector.signal(signal.SIGCONT)


def unread(sender: socket.socket) -> int:
    """Bytes that were sent and that the receiver has not taken yet."""
    size: int = struct.unpack("i", fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)))[0]
    return size


def test_without_a_descriptor_left_a_batch_counts_and_its_resend_is_answered(shared: Path) -> None:
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    answers, passed = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with Collector(shared / "collector.sock") as collector, Worker(collector.socket_path) as worker:
        with sender, answers, passed:
            sender.connect(str(collector.socket_path))
            good(worker, collector)
            soft, hard = resource.prlimit(collector.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (3, hard))
            datagram = worker.next_batch(counter("full_total", 1))
            socket.send_fds(sender, [datagram], [passed.fileno()])
            wait_until(lambda: unread(sender) == 0, message="the datagram's reading")
            resource.prlimit(collector.pid, resource.RLIMIT_NOFILE, (soft, hard))
            worker.send(datagram)
            before = (Verdict.ACK, Reason.NONE, worker.sequence - 1)
            answer = worker.answer()
            if answer == before:  # the resend was read before the batch was written: the next answer says that it is
                answer = worker.answer()
            assert answer == (Verdict.ACK, Reason.NONE, worker.sequence)
            with pytest.raises(BlockingIOError):
                answers.recv(64)
        assert collector.value("full_total") == 1
        assert collector.value("resty_metrics_datagrams_total", result="duplicate") == 1
        assert collector.value("resty_metrics_datagrams_without_descriptor_total") == 1


class Memory:
    """What is kept is safe at once."""

    full = False

    def keep(self, drain: Drain, then: Callable[[], Iterator[None]]) -> None:
        for _ in then():
            pass


def listening(path: Path, mode: int = 0o666) -> Listener:
    listener = Listener(path, mode, Intake(Table(), Senders(), lambda _: True), Memory(), lambda: 0.0)
    listener.bind()
    return listener


def is_ours(listener: Listener) -> bool:
    assert listener.endpoint is not None
    return find_fault(listener.endpoint.identity, look(listener.path)) is None


def own_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("place", ["senders.Senders.place", "intake.read_batch", "intake.Intake._batch"])
def test_a_bug_costs_one_datagram_and_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    """Those behind it in the same drain, of other workers, are counted and answered."""
    listener = listening(tmp_path / "c.sock")
    with Worker(tmp_path / "c.sock") as bad, Worker(tmp_path / "c.sock") as good:
        before = own_descriptors()
        with monkeypatch.context() as broken:
            broken.setattr(f"resty_metrics.ingest.{place}", lambda *arguments: 1 / 0)
            for _ in range(3):
                bad.send(bad.next_batch(counter("c_total", 1)))
            listener.drain()
        bad.send(write_datagram(bad.header(Kind.PROBE, 1), {}))
        good.send(good.next_batch(counter("c_total", 1)))
        listener.drain()
        assert good.answer() == (Verdict.ACK, Reason.NONE, 1)
        wait_until(lambda: own_descriptors() <= before, message="the descriptors' closing")
    assert caplog.text.count("because of a bug") == 3
    assert "ZeroDivisionError" in caplog.text
    listener.close()


def test_rows_that_a_bug_keeps_from_the_table_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listening(tmp_path / "c.sock")
    with Worker(tmp_path / "c.sock") as worker:
        with monkeypatch.context() as broken:
            broken.setattr("resty_metrics.table.families.Family.merge", lambda *arguments: 1 / 0)
            worker.send(worker.next_batch(counter("bad_total", 1)))
            listener.drain()
        worker.send(worker.next_batch(counter("good_total", 1)))
        listener.drain()
        assert [worker.answer()[2] for _ in range(2)] == [1, 2]
    assert "cannot count some rows because of a bug" in caplog.text
    listener.close()


@pytest.mark.parametrize("mode", [0o666, 0o660, 0o600])
def test_the_socket_has_its_mode_whatever_the_umask_is(tmp_path: Path, mode: int) -> None:
    before = os.umask(0o077)
    try:
        listener = listening(tmp_path / "c.sock", mode)
    finally:
        os.umask(before)
    status = (tmp_path / "c.sock").lstat()
    assert stat.S_ISSOCK(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == mode
    assert is_ours(listener)
    listener.close()
    assert [path.name for path in tmp_path.iterdir()] == ["c.sock"]


def test_what_is_queued_is_answered_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In as many drains as it takes."""
    monkeypatch.setattr("resty_metrics.ingest.listener.DRAIN_DATAGRAMS", 2)
    listener = listening(tmp_path / "c.sock")
    with Worker(tmp_path / "c.sock") as worker:
        for _ in range(5):
            worker.send(worker.next_batch(counter("queued_total", 1)))
        listener.close()
        assert [worker.answer()[2] for _ in range(3)] == [2, 4, 5]


@pytest.mark.parametrize(("seconds", "most"), [(60.0, DRAIN_DATAGRAMS), (-1.0, 1)])
def test_a_queue_that_never_gets_empty_does_not_keep_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, most: int
) -> None:
    """For each datagram that is read there is another: the wake-up ends by their number, or by its time."""
    monkeypatch.setattr("resty_metrics.ingest.listener.DRAIN_SECONDS", seconds)
    listener = listening(tmp_path / "c.sock")
    with Worker(tmp_path / "c.sock") as worker:
        receive, read = Intake.receive, []

        def receive_and_send(intake: Intake, datagram: bytes, *more: Any) -> Outcome:
            worker.send_if_there_is_room(worker.next_batch(counter("endless_total", 1)))
            read.append(datagram)
            assert len(read) <= DRAIN_DATAGRAMS, "the wake-up does not end"
            return receive(intake, datagram, *more)

        monkeypatch.setattr(Intake, "receive", receive_and_send)
        worker.send(worker.next_batch(counter("endless_total", 1)))
        assert not listener.drain()
        assert len(read) == most
        monkeypatch.undo()
        listener.close()


def test_what_dead_collectors_left_goes_and_nothing_else(tmp_path: Path) -> None:
    for name in (".c.sock.1", ".c.sock.99999", ".c.sock.x", ".d.sock.1", ".c_sock.1", "c.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
            left.bind(str(tmp_path / name))
    (tmp_path / ".c.sock.2").write_text("no socket")
    listener = listening(tmp_path / "c.sock")
    assert {path.name for path in tmp_path.iterdir()} == {"c.sock", ".c.sock.x", ".d.sock.1", ".c_sock.1", ".c.sock.2"}
    assert is_ours(listener)
    listener.close()


def test_a_path_that_cannot_be_taken_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "c.sock").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(IsADirectoryError):
        listening(tmp_path / "c.sock")
    assert [path.name for path in tmp_path.iterdir()] == ["c.sock"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before

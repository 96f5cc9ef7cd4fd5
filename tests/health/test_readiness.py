"""What keeps workers from being counted: judged from plain values, and as a running collector says it."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from resty_metrics.health.readiness import Arrivals, Growth, SendingUser, closed, faults
from resty_metrics.ingest.senders import SENDER_CAP
from resty_metrics.kernel.access import Node
from resty_metrics.wire.datagram import Reason, Verdict
from support.client import ask
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until
from support.worker import Worker, counter

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
WORKER, STRANGER = SendingUser(33, frozenset({33, 500})), SendingUser(101, None)
ABOVE = Node("/", 0, 0, stat.S_IFDIR | 0o755)


def way(directory: int, socket: int, gid: int = 0, *, acl: bool = False) -> list[Node]:
    """The way to a socket of the collector's: the modes of its directory and its own."""
    return [
        ABOVE,
        Node("/run/c", 900, gid, stat.S_IFDIR | directory, acl),
        Node("/run/c/c.sock", 900, gid, stat.S_IFSOCK | socket),
    ]


@pytest.mark.parametrize(
    ("there", "users", "obstacle"),
    [
        ([], [WORKER], None),
        (way(0o755, 0o666), [WORKER], None),
        (way(0o700, 0o666), [WORKER], "/run/c"),
        (way(0o755, 0o600), [WORKER], "/run/c/c.sock"),
        (way(0o755, 0o644), [WORKER, STRANGER], "/run/c/c.sock"),
        (way(0o750, 0o660, 500), [WORKER], None),
        (way(0o750, 0o660, 501), [WORKER], "/run/c"),
        (way(0o750, 0o660, 501), [WORKER, STRANGER], None),
        (way(0o705, 0o606), [STRANGER], None),
        (way(0o700, 0o666), [STRANGER], "/run/c"),
        (way(0o700, 0o666), [SendingUser(900, frozenset())], None),
        (way(0o700, 0o666), [SendingUser(0, frozenset())], None),
        (way(0o700, 0o666), [WORKER, SendingUser(900, frozenset())], None),
        (way(0o700, 0o666, acl=True), [WORKER], None),
        (way(0o700, 0o666), [], "/run/c"),
        (way(0o755, 0o666), [], None),
    ],
)
def test_a_way_that_no_sender_passes(there: Sequence[Node], users: Sequence[SendingUser], obstacle: str | None) -> None:
    stopped = closed(there, users)
    assert (None if stopped is None else stopped.node.path) == obstacle


OPEN, SHUT = way(0o755, 0o666), way(0o700, 0o666)
UID, CAP, VERSION = frozenset({"uid"}), frozenset({"sender_cap"}), frozenset({"version"})
MAY_NOT = "every worker is refused: uid 101 may not send. Allow the user of nginx's workers with"
AT_THE_CAP = "new workers are refused: 4,096 workers are alive"
ANOTHER = "every worker is refused: it speaks another version. Bring the Lua module and the collector to one release."
NOBODY_REACHES = "no worker reaches the socket: none of the users that may send can search /run/c (mode 0700"


@pytest.mark.parametrize(
    ("arrivals", "there", "begins"),
    [
        (Arrivals(), OPEN, []),
        (Arrivals(accepted=True), SHUT, []),
        (Arrivals(), SHUT, [NOBODY_REACHES]),
        (Arrivals(refused=UID, uids=frozenset({101})), OPEN, [MAY_NOT]),
        (Arrivals(True, UID, frozenset({101})), OPEN, []),
        (Arrivals(refused=CAP), OPEN, [AT_THE_CAP]),
        (Arrivals(True, CAP), OPEN, [AT_THE_CAP]),
        (Arrivals(refused=VERSION), OPEN, [ANOTHER]),
        (Arrivals(True, VERSION), OPEN, []),
        (Arrivals(refused=frozenset({"not_ready"})), OPEN, []),
        (
            Arrivals(refused=UID, uids=frozenset(range(9))),
            OPEN,
            ["every worker is refused: uid 0, 1, 2, 3, 4, ..."],
        ),
    ],
)
def test_faults(arrivals: Arrivals, there: Sequence[Node], begins: Sequence[str]) -> None:
    found = faults(arrivals, there, [WORKER])
    assert len(found) == len(begins)
    assert all(text.startswith(beginning) for text, beginning in zip(found, begins, strict=True))


def test_a_counter_that_grew_is_recent_for_a_while() -> None:
    growth: Growth[str] = Growth()
    growth.observe({"a": 1}, 10.0)
    growth.observe({"a": 1, "b": 0}, 20.0)
    assert growth.within(10.0, 20.0) == {"a"}
    assert growth.within(9.0, 20.0) == set()
    growth.observe({"a": 2, "b": 1}, 30.0)
    assert growth.within(0.0, 30.0) == {"a", "b"}


SITE = "server {{ listen 127.0.0.1:{port}; server_name one.example; location / {{ return 200; }} }}"


def readiness(collector: Collector) -> str:
    """Its text; the page can be served, so the status is 200."""
    return collector.page("/-/ready")


@only_root
@pytest.mark.slow
def test_all_workers_refused_until_their_user_is_allowed(shared: Path, socket_path: Path) -> None:
    configuration = shared / "resty-metrics.yml"
    configuration.write_text("socket: {}\n")
    words = ("--web.enable-lifecycle", f"--config.file={configuration}")
    port = free_port()
    nginx = Nginx(socket_path, SITE.format(port=port), workers=1)
    nginx.conf.write_text(nginx.conf.read_text().replace("user www-data;", "user daemon;"))
    with Collector(socket_path, *words) as collector, nginx:
        assert "degraded" not in readiness(collector)
        ask(port)
        wait_until(lambda: "uid 1 may not send" in readiness(collector), 40, "the refusal")
        configuration.write_text("socket: {allow_uid: [1]}\n")
        collector.reload()
        wait_until(lambda: "degraded" not in readiness(collector), 40, "readiness")


@only_root
@pytest.mark.slow
def test_a_directory_above_that_no_worker_passes(shared: Path) -> None:
    above = shared / "above"
    above.mkdir(mode=0o700)
    with Collector(above / "run" / "collector.sock") as collector:
        wait_until(lambda: f"can search {above} (mode 0700" in readiness(collector), message="the obstacle")
        assert f"Run: chmod o+x {above}" in readiness(collector)
        above.chmod(0o711)
        wait_until(lambda: "degraded" not in readiness(collector), message="readiness")


@only_root
@pytest.mark.slow
def test_a_socket_that_no_worker_may_write(socket_path: Path) -> None:
    with Collector(socket_path, "--socket.mode=0600") as collector:
        wait_until(lambda: "Set --socket.mode=0666" in readiness(collector), message="the obstacle")
        with Worker(socket_path) as worker:  # root's
            worker.send(worker.next_batch(counter("one_total", 1)))
            wait_until(lambda: "degraded" not in readiness(collector), message="readiness")


@pytest.mark.slow
def test_a_worker_of_another_version(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        worker.send(worker.next_batch(counter("one_total", 1), version=99))
        assert worker.answer()[:2] == (Verdict.HOLD, Reason.VERSION)
        wait_until(lambda: "another version" in readiness(collector), message="the refusal")


@pytest.mark.slow
def test_the_cap_of_senders(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        for _ in range(SENDER_CAP):
            worker.sender, worker.sequence = os.urandom(16), 0
            worker.send(worker.next_batch(counter("one_total", 1)))
        wait_until(lambda: collector.value("one_total") == SENDER_CAP, message="all users")
        assert "degraded" not in readiness(collector)
        worker.sender, worker.sequence = os.urandom(16), 0
        worker.send(worker.next_batch(counter("one_total", 1)))
        wait_until(lambda: "new workers are refused: 4,096 workers are alive" in readiness(collector), message="it")

"""What /-/ready says of a running collector whose workers are not counted."""

import os
from pathlib import Path

import pytest
from resty_metrics.ingest.senders import SENDER_CAP
from resty_metrics.wire.datagram import Reason, Verdict
from support.client import ask
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until
from support.worker import Worker, counter

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
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
        wait_until(lambda: "--socket.allow-uid=1" in readiness(collector), 40, "the refusal")
        wait_until(lambda: "of daemon (uid 1)." in readiness(collector), 10, "the name of the user")
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
        assert f"chmod o+x {above}" in readiness(collector)
        (line,) = [line for line in collector.log().splitlines() if "level=warning" in line]
        assert f"none of the users that may send can search {above} (mode 0700" in line
        assert f"chmod o+x {above}" in line
        above.chmod(0o711)
        wait_until(lambda: "degraded" not in readiness(collector), message="readiness")


@only_root
@pytest.mark.slow
def test_a_socket_that_no_worker_may_write(socket_path: Path) -> None:
    with Collector(socket_path, "--socket.mode=0600") as collector:
        wait_until(lambda: "--socket.mode=0666" in readiness(collector), message="the obstacle")
        with Worker(socket_path) as worker:  # root's
            worker.send(worker.next_batch(counter("one_total", 1)))
            wait_until(lambda: "degraded" not in readiness(collector), message="readiness")


@pytest.mark.slow
def test_a_worker_of_another_version(socket_path: Path) -> None:
    with Collector(socket_path) as collector, Worker(socket_path) as worker:
        worker.send(worker.next_batch(counter("one_total", 1), version=99))
        assert worker.answer()[:2] == (Verdict.HOLD, Reason.VERSION)
        wait_until(lambda: "Install the same release" in readiness(collector), message="the refusal")


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
        wait_until(lambda: "4,096 workers are alive" in readiness(collector), message="the cap")

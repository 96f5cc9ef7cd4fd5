"""The page that must count the request of the proof, where it cannot be had."""

import socket
from dataclasses import replace
from pathlib import Path
from threading import Thread

import bcrypt
import pytest
from resty_metrics.commands.doctor.settings import Settings, own_settings
from resty_metrics.commands.install import request
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.targets import Target
from resty_metrics.config.load import Inputs
from resty_metrics.config.values import TcpAddress
from support.collector import Collector


def settings(port: int, **more: Path) -> Settings:
    return own_settings(Inputs({"web_listen_address": (TcpAddress("127.0.0.1", port),), **more}, None), None)


def test_a_page_with_users_is_said_to_be_one(socket_path: Path, tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text(f"basic_auth_users: {{prometheus: '{bcrypt.hashpw(b'right', bcrypt.gensalt(4)).decode()}'}}")
    with Collector(socket_path, f"--web.config.file={file}", user=("prometheus", "right")) as collector:
        for more in ({}, {"web_config_file": file}):
            with pytest.raises(RefusedError, match=f":{collector.port}/metrics requires a user and a password"):
                request.page(settings(collector.port, **more))


def test_what_is_no_page(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 15\r\n\r\n<html> { </html")

        thread = Thread(target=serve)
        thread.start()
        with pytest.raises(RefusedError, match="is not a page of a collector"):
            request.page(settings(listening.getsockname()[1]))
        thread.join()


def target(host: str) -> Target:
    return Target(host, 80, None, tls=False, http2=False, proxy_protocol=False, server="server a")


def test_an_address_of_another_machine_is_none_of_nginxs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shared address that has moved: nothing is sent there."""

    class Elsewhere(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.1", 1

        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.7", 80

    made = Elsewhere()
    monkeypatch.setattr(socket, "create_connection", lambda *_: made)
    reached, failures = request.reachable([target("192.0.2.7")])
    assert reached == ()
    assert list(failures.values()) == ["192.0.2.7:80 (server a): that address now belongs to another machine"]
    assert made.fileno() == -1


def test_no_more_addresses_are_tried_than_needed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        every = [replace(target("127.0.0.1"), port=port, server=f"server {number}") for number in range(99)]
        reached, failures = request.reachable(every)
        assert reached == tuple(every[: request.MOST_TARGETS])
        assert failures == {}

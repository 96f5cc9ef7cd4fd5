"""The label ``server`` is the name of the server block that answers, whatever kinds of names there are."""

import random
from pathlib import Path

import pytest
from support.client import ask
from support.collector import Collector
from support.nginx import Nginx
from support.wait import free_port, wait_until

pytestmark = pytest.mark.slow

# The directive of each block, and a host that it answers.
NAMED = [(f"server_name s{number}.example;", f"s{number}.example") for number in range(40)]
KINDS = [
    *NAMED,
    ("server_name *.wild.example;", "x.wild.example"),
    ("server_name .dotted.example;", "dotted.example"),
    ("server_name trailing.*;", "trailing.net"),
    ("server_name ~^re(?<digit>[0-9]).$;", "re7x"),
    ("server_name two.example three.example;", "three.example"),
    ('server_name "";', ""),
    ("server_name _;", "_"),
]
BLOCK = "server {{ listen 127.0.0.1:{port}{default}; {names} location / {{ return {status}; }} }}\n"


def blocks(port: int, other: int, swap: bool) -> str:
    """All servers on one port, and on another one a block of each name once more, and one without any name."""
    kinds = KINDS[::-1] if swap else KINDS
    texts = [BLOCK.format(port=other, default=" default_server", names="", status=204)]
    for names, _ in kinds:
        texts.append(BLOCK.format(port=port, default="", names=names, status=200))
        texts.append(BLOCK.format(port=other, default="", names=names, status=201))
    return "".join(texts)


def test_each_request_counts_for_the_server_that_answers(socket_path: Path) -> None:
    """Two blocks may have one name. A reload puts the same names at other places of memory."""
    port, other = free_port(), free_port()
    hosts = [host for _, host in KINDS] + ["nobody.example"]
    order = random.Random(1)
    nginx = Nginx(socket_path, blocks(port, other, swap=False), workers=2)
    with Collector(socket_path) as collector, nginx:
        for swap in (True, False):
            for host in order.choices(hosts, k=400):
                ask(order.choice([port, other]), "/", Host=host)
            nginx.configure(blocks(port, other, swap))
            nginx.reload()
        for host in hosts:
            ask(other, "/", Host=host)
        try:
            wait_until(lambda: collector.request_counts() == nginx.access_counts(), message="page == access_log")
        except AssertionError:
            assert collector.request_counts() == nginx.access_counts()
        counts = nginx.access_counts()
        assert {server for server, _, _ in counts} >= {"s0.example", "_", "~^re(?<digit>[0-9]).$", "two.example"}
        assert nginx.errors() == []

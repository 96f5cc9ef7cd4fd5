"""Sockets that nginx listens on, from the words of its ``listen`` directives."""

import pytest
from resty_metrics.commands.install import listeners
from resty_metrics.nginx_config.dump import read

NAMES = {"localhost": ("127.0.0.1", "::1")}
A, B = "server_name a;", "server_name b;"


def found(http: str) -> list[tuple[str, str, str]]:
    """Address, flags, and the names of the servers, the default one first."""
    configuration = read(f"# configuration file /n.conf:\nhttp {{ {http} }}\n")
    return [
        (
            one.unix or f"{one.host}:{one.port}",
            " ".join(sorted(one.flags)),
            "".join(
                word.args[0] for server in one.servers for word in server.block or () if word.name == "server_name"
            ),
        )
        for one in listeners.find(configuration, lambda host: NAMES.get(host, ()))
    ]


LISTENERS = [
    (f"server {{ {A} }}", [("127.0.0.1:80", "", "a")]),
    (f"server {{ listen 81; listen *:82; listen 0.0.0.0:83; {A} }}",
     [("127.0.0.1:81", "", "a"), ("127.0.0.1:82", "", "a"), ("127.0.0.1:83", "", "a")]),
    (f"server {{ listen 81; {A} }} server {{ listen *:81; {B} }}", [("127.0.0.1:81", "", "ab")]),
    (f"server {{ listen 81; {A} }} server {{ listen 0.0.0.0:81 default_server; {B} }}",
     [("127.0.0.1:81", "default_server", "ba")]),
    (f"server {{ listen 81; {A} }} server {{ listen *:81 default; {B} }}", [("127.0.0.1:81", "default", "ba")]),
    (f"server {{ listen 81; {A} }} server {{ listen *:81 ssl http2; {B} }}", [("127.0.0.1:81", "http2 ssl", "ab")]),
    (f"server {{ listen [::]:81; {A} }} server {{ listen [0:0::0]:81; {B} }}", [("::1:81", "", "ab")]),
    (f"server {{ listen 127.0.0.1:81; {A} }} server {{ listen 81; {B} }}",
     [("127.0.0.1:81", "", "a"), ("127.0.0.2:81", "", "b")]),
    (f"server {{ listen 127.0.0.1; listen 127.0.0.2:80; {A} }} server {{ {B} }}",
     [("127.0.0.1:80", "", "a"), ("127.0.0.2:80", "", "a"), ("127.0.0.3:80", "", "b")]),
    (f"server {{ listen [::1]:81; {A} }} server {{ listen [::]:81; {B} }}", [("::1:81", "", "a"), (":81", "", "b")]),
    (f"server {{ listen 81-90; {A} }} server {{ listen 85; {B} }}",
     [("127.0.0.1:81", "", "a"), ("127.0.0.1:85", "", "ab")]),
    (f"server {{ listen 81-90; {A} }} server {{ listen 85 default_server; {B} }}",
     [("127.0.0.1:81", "", "a"), ("127.0.0.1:85", "default_server", "ba")]),
    (f"server {{ listen localhost:81; {A} }}", [("127.0.0.1:81", "", "a"), ("::1:81", "", "a")]),
    (f"server {{ listen localhost; {A} }} server {{ listen 127.0.0.1:80; {B} }}",
     [("127.0.0.1:80", "", "ab"), ("::1:80", "", "a")]),
    (f"server {{ listen no.such.name:81; {A} }}", []),
    (f"server {{ listen unix:/x.sock ssl; {A} }} server {{ listen unix:/x.sock; {B} }}", [("/x.sock", "ssl", "ab")]),
    (f"server {{ listen 443 ssl; {A} }} server {{ listen 443 quic reuseport; {B} }}",
     [("127.0.0.1:443", "ssl", "a"), ("127.0.0.1:443", "quic reuseport", "b")]),
]  # fmt: skip


@pytest.mark.parametrize(("http", "expected"), LISTENERS)
def test_listeners(http: str, expected: list[tuple[str, str, str]]) -> None:
    assert found(http) == expected


def test_host_names_are_those_that_are_no_addresses() -> None:
    text = "http { server { listen a.example:1; listen b.example; listen 1.2.3.4:5; listen [::1]:6; listen unix:/x; } }"
    assert listeners.hosts(read(f"# configuration file /n.conf:\n{text}\n")) == {"a.example", "b.example"}

"""Where the request of the proof can go, from nginx's configuration."""

import pytest
from resty_metrics.commands.install import targets
from resty_metrics.commands.install.targets import Coverage
from resty_metrics.nginx_config import hooks
from resty_metrics.nginx_config.dump import read

OWN = "log_by_lua_block { own() }"
OFF = "log_by_lua_file /s/lua/resty/metrics/off.lua;"
NAMES = {"localhost": ("127.0.0.1",)}


def candidates(http: str, outer: bool | None = True) -> targets.Candidates:
    configuration = read(f"# configuration file /n.conf:\nhttp {{ {http} }}\n")
    found = hooks.find(configuration, "/", {"/known.lua": 'require("resty.metrics").log_nothing()', "/dark.lua": None})
    texts = {"/known.lua": 'require("resty.metrics").log_nothing()', "/dark.lua": None}
    coverage = Coverage(found, outer, configuration, "/", texts)
    return targets.find(coverage, lambda host: NAMES.get(host, ()))


def labels(http: str, outer: bool | None = True) -> list[str]:
    return [one.label + (f" as {one.name}" if one.name else "") for one in candidates(http, outer).targets]


TARGETS = [
    ("server { }", ["127.0.0.1:80 (server)"]),
    ("server { listen 8080; server_name a b; }", ["127.0.0.1:8080 (server a b)"]),
    ("server { listen *:81; listen [::]:81; }", ["127.0.0.1:81 (server)", "[::1]:81 (server)"]),
    ("server { listen 10.0.0.1; listen [fe80::1]; }", ["10.0.0.1:80 (server)", "[fe80::1]:80 (server)"]),
    ("server { listen localhost:82 backlog=9; }", ["127.0.0.1:82 (server)"]),
    ("server { listen 443 ssl http2; listen unix:/x.sock; listen 80; }",
     ["127.0.0.1:80 (server)", "unix:/x.sock (server)", "127.0.0.1:443 (TLS) (server)"]),
    ("server { listen 443 quic; }", []),
    ("server { listen 80 http2; }", ["127.0.0.1:80 (HTTP/2) (server)"]),
    ("server { listen 80; http2 on; }", ["127.0.0.1:80 (server)"]),
    ("ssl on; server { listen 443; }", ["127.0.0.1:443 (TLS) (server)"]),
    ("server { listen 80; server_name a; } server { listen 80; server_name b; }", ["127.0.0.1:80 (server a)"]),
    ("server { listen 80; server_name a; } server { listen *:80 default_server; server_name b; }",
     ["127.0.0.1:80 (server b)"]),
    (f"server {{ listen 80; {OWN} }} server {{ listen 80; }}", []),
    (f"server {{ listen 80; {OWN} }} server {{ listen 81; }}", ["127.0.0.1:81 (server)"]),
    (f"server {{ listen 80; location / {{ {OWN} }} }}", ["127.0.0.1:80 (server)"]),
    (f"server {{ listen 80; {OFF} }} server {{ listen 81; }}", ["127.0.0.1:81 (server)"]),
    ("server { listen 80; log_by_lua_file /known.lua; }", []),
    ("server { listen 80; log_by_lua_file /s/lua/resty/metrics/scope.lua; }", ["127.0.0.1:80 (server)"]),
    ("server { listen 80; server_name a; log_by_lua_file /dark.lua; } server { listen 81 ssl; }",
     ["127.0.0.1:81 (TLS) (server)", "127.0.0.1:80 (server a)"]),
    ("server { listen 80; lua_code_cache off; }", []),
    ("server { listen 80; post_action @x; }", []),
    ("post_action @x; server { listen 80; } server { listen 81; post_action off; }", ["127.0.0.1:81 (server)"]),
    ("server { listen 443 ssl; ssl_reject_handshake on; }", []),
    ("server { listen 443 ssl; ssl_reject_handshake on; listen 80; }", ["127.0.0.1:80 (server)"]),
    ("ssl_reject_handshake on; server { listen 443 ssl; } server { listen 443 ssl; server_name _ .b.example; "
     "ssl_reject_handshake off; }", ["127.0.0.1:443 (TLS) (server _ .b.example) as b.example"]),
    ("server { listen 443 ssl; server_name a; } server { listen 443 ssl; server_name *.b ~c; }",
     ["127.0.0.1:443 (TLS) (server a)"]),
    (f"server {{ listen 443 ssl; server_name a; {OWN} }} server {{ listen 443; server_name b; }}",
     ["127.0.0.1:443 (TLS) (server b) as b"]),
    ("server { listen 442 ssl; ssl_certificate_by_lua_block { x() } } server { listen 443 ssl; }",
     ["127.0.0.1:443 (TLS) (server)", "127.0.0.1:442 (TLS) (server)"]),
]  # fmt: skip


@pytest.mark.parametrize(("http", "expected"), TARGETS)
def test_targets(http: str, expected: list[str]) -> None:
    assert labels(http) == expected


def test_a_server_without_a_hook_counts_where_that_of_http_does() -> None:
    counting = 'log_by_lua_block { require("resty.metrics").log() }'
    http = f"server {{ listen 80; server_name a; }} server {{ listen 81; server_name b; {counting} }}"
    assert labels(http, outer=False) == ["127.0.0.1:81 (server b)"]
    assert labels(http, outer=None) == ["127.0.0.1:81 (server b)", "127.0.0.1:80 (server a)"]


def test_the_reasons_name_each_address() -> None:
    http = f"server {{ listen 80; server_name a; {OWN} }} server {{ listen 81 quic; }} server {{ listen 82; {OFF} }}"
    assert candidates(http).against == (
        "127.0.0.1:80 (server a): /n.conf:1: log_by_lua_block does not count requests",
        "127.0.0.1:81 (server): it supports HTTP/3 only",
        "127.0.0.1:82 (server): /n.conf:1: log_by_lua_file leaves its requests out of the count",
    )

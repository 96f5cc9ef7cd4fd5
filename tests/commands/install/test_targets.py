"""What can be asked, from what nginx listens on."""

import pytest
from resty_metrics.commands.install import targets
from resty_metrics.nginx_config import hooks
from resty_metrics.nginx_config.dump import read

OWN = "log_by_lua_block { own() }"


def labels(http: str) -> list[str]:
    found = read(f"# configuration file /n.conf:\nhttp {{ {http} }}\n")
    lacking = [hook for hook in hooks.find(found, "/", {}).all if not hook.counts]
    return [one.label for one in targets.find(found, lacking)]


LISTENS = [
    ("server { }", ["127.0.0.1:80 (server)"]),
    ("server { listen 8080; server_name a b; }", ["127.0.0.1:8080 (server a b)"]),
    ("server { listen *:81; listen [::]:81; }", ["127.0.0.1:81 (server)", "[::1]:81 (server)"]),
    ("server { listen 10.0.0.1; listen [fe80::1]; }", ["10.0.0.1:80 (server)", "[fe80::1]:80 (server)"]),
    ("server { listen 8000-8010; }", ["127.0.0.1:8000 (server)"]),
    ("server { listen localhost:82 backlog=9; }", ["localhost:82 (server)"]),
    ("server { listen 443 ssl http2; listen unix:/x.sock; listen 80; }",
     ["127.0.0.1:80 (server)", "unix:/x.sock (server)", "127.0.0.1:443 (TLS) (server)"]),
    ("server { listen 443 quic; listen 80 http2; }", []),
    ("server { listen 80; server_name a; } server { listen 80; server_name b; }", ["127.0.0.1:80 (server a)"]),
    ("server { listen 80; server_name a; } server { listen 80 default_server; server_name b; }",
     ["127.0.0.1:80 (server b)"]),
    (f"server {{ listen 80; {OWN} }} server {{ listen 80; }}", []),
    (f"server {{ listen 80; {OWN} }} server {{ listen 81; }}", ["127.0.0.1:81 (server)"]),
    (f"server {{ listen 80; location / {{ {OWN} }} }}", ["127.0.0.1:80 (server)"]),
]  # fmt: skip


@pytest.mark.parametrize(("http", "expected"), LISTENS)
def test_addresses(http: str, expected: list[str]) -> None:
    assert labels(http) == expected

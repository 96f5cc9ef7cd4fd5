"""Addresses for the request of the proof: those that nginx listens on, and whose server counts.

The request has no Host header and a method of our own, so nginx itself answers 400 in the address's default server,
before any location. So none of the user's code runs, and hardly any other request is counted as ``method="other",
status="400"``. The log phase runs as for every request.

Sources: nginx's src/http/ngx_http_core_module.c (``ngx_http_core_listen``), src/http/ngx_http_request.c
(``ngx_http_process_request_header``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.hooks import Hook, scope

_ANY = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
_ADDRESS = re.compile(r"(?:(?P<host>\[[^\]]*\]|[^:]+):)?(?P<port>\d+)(?:-\d+)?\Z|(?P<alone>\[[^\]]*\]|[^:]+)\Z")
_DEFAULT = ("default_server", "default")
DEFAULT_PORT = 80


@dataclass(frozen=True, slots=True)
class Target:
    """An address. ``host`` and ``port``, or ``unix``, a path. ``server``: its default server, in words."""

    host: str
    port: int
    unix: str | None
    tls: bool
    proxy_protocol: bool
    server: str

    @property
    def label(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"unix:{self.unix}" if self.unix is not None else f"{host}:{self.port}"
        return f"{where}{' (TLS)' if self.tls else ''} ({self.server})"


def find(configuration: Configuration, shadowing: Sequence[Hook]) -> list[Target]:
    """Return each address whose default server counts, plain ones first. ``shadowing``: the hooks that do not count."""
    lacking = {id(hook.directive) for hook in shadowing}
    chosen: dict[str, tuple[Directive, Sequence[str]]] = {}
    for server in _servers(configuration):
        for words in _listens(server):
            if words[0] not in chosen or any(one in _DEFAULT for one in words[1:]):
                chosen[words[0]] = server, words
    found = [
        target
        for server, words in chosen.values()
        if not any(id(one) in lacking for one in server.block or ()) and (target := _target(words, server)) is not None
    ]
    return sorted(found, key=lambda one: (one.tls, one.proxy_protocol, one.unix is not None))


def _servers(configuration: Configuration) -> list[Directive]:
    inside = (one for http in configuration.blocks("http") for one in http.block or ())
    return [one for one in inside if one.name == "server" and one.block is not None]


def _listens(server: Directive) -> list[Sequence[str]]:
    found = [one.args for one in server.block or () if one.name == "listen" and one.args]
    return [*found] or [(f"*:{DEFAULT_PORT}",)]


def _target(words: Sequence[str], server: Directive) -> Target | None:
    flags = frozenset(words[1:])
    tls, proxied = "ssl" in flags, "proxy_protocol" in flags
    if "quic" in flags or "http3" in flags or ("http2" in flags and not tls):
        return None
    if words[0].startswith("unix:"):
        return Target("", 0, words[0].removeprefix("unix:"), tls, proxied, scope(server))
    match = _ADDRESS.match(words[0])
    if match is None:
        return None
    host = (match["host"] or match["alone"] or "").strip("[]")
    return Target(_ANY.get(host, host), int(match["port"] or DEFAULT_PORT), None, tls, proxied, scope(server))

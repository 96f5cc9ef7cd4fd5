"""Addresses for the request of the proof: those whose server counts a request that nginx gives up before it has a URI.

Such a request is answered by nothing, so no location, error_page or filter of the user's runs; only the log phase does
(see proof.py). It belongs to the default server of its listener, or by TLS to the server that was asked for by name.

Sources: nginx's src/http/ngx_http_request.c (``ngx_http_ssl_servername``, ``ngx_http_post_action``).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from resty_metrics.commands.install import listeners
from resty_metrics.commands.install.listeners import Listener, Resolve
from resty_metrics.nginx_config import hooks
from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.hooks import Hook, Hooks, scope

NAMED = 3  # servers of one listener that are asked for by name
_EXACT_NAME = re.compile(r"\.?(?P<name>[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)")
_HANDSHAKE_BY_LUA = re.compile(r"ssl_\w+_by_lua(_block|_file)?\Z")
_OFF = re.compile(r"resty/metrics/off\.lua|\.\s*log_nothing\b")
_COUNTING = re.compile(r"resty/metrics/(hook|scope)\.lua|\.\s*log(_scope)?\s*[({]")


@dataclass(frozen=True, slots=True)
class Target:
    """An address. ``host`` and ``port``, or ``unix``, a path. ``server``: the server that counts, in words.

    ``http2``: it speaks HTTP/2 alone, without TLS. ``name``: the server that the TLS handshake asks for.
    ``runs_lua``: the handshake runs Lua code of the user's.
    """

    host: str
    port: int
    unix: str | None
    tls: bool
    http2: bool
    proxy_protocol: bool
    server: str
    name: str | None = None
    runs_lua: bool = False

    @property
    def label(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        where = f"unix:{self.unix}" if self.unix is not None else f"{host}:{self.port}"
        words = " (TLS)" if self.tls else " (HTTP/2)" if self.http2 else ""
        return f"{where}{words} ({self.server})"


@dataclass(frozen=True, slots=True)
class Candidates:
    """``targets``: the addresses to try, best first.

    ``against``: why a test request would not be counted, for each other address.
    """

    targets: tuple[Target, ...]
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The hook that will hold in each server. ``outer``: whether that of ``http`` will count; None: not known."""

    hooks_there: Hooks
    outer: bool | None
    configuration: Configuration
    prefix: str
    texts: Mapping[str, str | None]

    def against(self, server: Directive) -> str | None:
        """Return why a request that this server gives up is not counted; None: it is, or may be."""
        hook = self._inner(server) or self.hooks_there.outer
        place = "" if hook is None else f"{hook.directive.place}: {hook.directive.name}"
        if hook is not None and self._is_off(hook.directive):
            return f"{place} leaves its requests out of the count"
        if self.counts(server) is False:
            return "it has no log hook" if hook is None else f"{place} does not count requests"
        if _switch(self.configuration, server, "lua_code_cache") == "off":
            return "lua_code_cache is off in it"
        if _switch(self.configuration, server, "post_action") not in (None, "off"):
            return "post_action would pass the request on"
        return None

    def counts(self, server: Directive) -> bool | None:
        hook = self._inner(server)
        return self.outer if hook is None else hook.counts

    def _inner(self, server: Directive) -> Hook | None:
        own = next((directive for directive in server.block or () if directive.name.startswith("log_by_lua")), None)
        return None if own is None else next((hook for hook in self.hooks_there.inner if hook.directive is own), None)

    def _is_off(self, directive: Directive) -> bool:
        file = directive.args[0] if directive.name.endswith("_file") and directive.args else ""
        text = hooks.code(directive, self.prefix, self.texts) or ""
        if file.endswith("resty/metrics/off.lua"):
            return True
        ours = file.endswith(("resty/metrics/hook.lua", "resty/metrics/scope.lua"))
        return not ours and _OFF.search(text) is not None and _COUNTING.search(text) is None


def find(coverage: Coverage, resolve: Resolve) -> Candidates:
    """Return the addresses, plain ones first, uncertain ones last, and why the others are left out."""
    targets: list[tuple[bool, Target]] = []
    against: list[str] = []
    for listener in listeners.find(coverage.configuration, resolve):
        more, reasons = _of(listener, coverage)
        targets += more
        against += reasons
    targets.sort(key=lambda ranked: _order(*ranked))
    return Candidates(tuple(target for _, target in targets), tuple(against))


def _order(certain: bool, target: Target) -> tuple[bool, ...]:
    return (
        not certain,
        target.runs_lua,
        target.name is not None,
        target.tls,
        target.http2,
        target.proxy_protocol,
        target.unix is not None,
        ":" in target.host,
    )


def _of(listener: Listener, coverage: Coverage) -> tuple[list[tuple[bool, Target]], list[str]]:
    """Return the targets of one listener, each with whether it is certain to count, and why there are no others."""
    default = listener.servers[0]
    target = _target(listener, default, coverage.configuration)
    if listener.udp:
        return [], [f"{target.label}: it supports HTTP/3 only"]
    if not target.host and target.unix is None:
        return [], [f"port {target.port} ({target.server}): each loopback address has a listener of its own"]
    ranked, reasons = [], []
    why = coverage.against(default)
    if target.tls and _rejects(coverage.configuration, default):
        why = "ssl_reject_handshake is on"
    if why is None:
        ranked.append((coverage.counts(default) is True, target))
    else:
        reasons.append(f"{target.label}: {why}")
    if target.tls:
        ranked += islice(_by_name(listener, coverage), NAMED)
    return ranked, [] if ranked else reasons


def _by_name(listener: Listener, coverage: Coverage) -> Iterator[tuple[bool, Target]]:
    """Yield a target for each other server of the listener that TLS reaches by its name."""
    for server in listener.servers[1:]:
        names = (_EXACT_NAME.fullmatch(word) for word in _names(server))
        match = next((exact for exact in names if exact is not None), None)
        if match is None or _rejects(coverage.configuration, server) or coverage.against(server) is not None:
            continue
        yield coverage.counts(server) is True, _target(listener, server, coverage.configuration, match["name"])


def _names(server: Directive) -> Iterator[str]:
    for directive in server.block or ():
        if directive.name == "server_name":
            yield from directive.args


def _target(listener: Listener, server: Directive, configuration: Configuration, name: str | None = None) -> Target:
    tls = "ssl" in listener.flags or _switch(configuration, listener.servers[0], "ssl") == "on"
    return Target(
        host=listener.host,
        port=listener.port,
        unix=listener.unix,
        tls=tls,
        http2="http2" in listener.flags and not tls,
        proxy_protocol="proxy_protocol" in listener.flags,
        server=scope(server),
        name=name,
        runs_lua=tls and _has(configuration, listener.servers, _HANDSHAKE_BY_LUA),
    )


def _rejects(configuration: Configuration, server: Directive) -> bool:
    return _switch(configuration, server, "ssl_reject_handshake") == "on"


def _switch(configuration: Configuration, server: Directive, name: str) -> str | None:
    """Return the argument of a directive that holds in a server: its own, else that of ``http``."""
    for block in (server.block or (), *(http.block or () for http in configuration.blocks("http"))):
        argument = next((directive.args[0] for directive in block if directive.name == name and directive.args), None)
        if argument is not None:
            return argument
    return None


def _has(configuration: Configuration, servers: Sequence[Directive], name: re.Pattern[str]) -> bool:
    blocks = (
        *(directive.block or () for directive in servers),
        *(http.block or () for http in configuration.blocks("http")),
    )
    return any(name.match(directive.name) for block in blocks for directive in block)

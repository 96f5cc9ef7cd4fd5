"""The configuration of one nginx, judged: ``nginx.*``.

Rules:
- A finding about a line names its file and line, and the remedy is the line to write.
- An nginx that does not know us is no fault where another one on the machine does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from resty_metrics.commands.doctor.finding import ALL_REQUESTS, LATE_REQUESTS, Finding, fail, ok, skip, warn
from resty_metrics.nginx_config import code_cache, durations, statements, variables
from resty_metrics.nginx_config.build import OLDEST_NGX_LUA, ngx_lua_version
from resty_metrics.nginx_config.dump import Configuration
from resty_metrics.nginx_config.hooks import TEST, Hook, Hooks, by_place, directives, find, line_for, scope, share_of

RELOAD = "nginx -t && nginx -s reload"  # facts.Instance has the words of one nginx
_RELOAD = f"; then: {RELOAD}"
_INSTALL = "run: sudo resty-metrics install"
_LUA = "first give nginx its Lua module (Debian, Ubuntu: sudo apt install libnginx-mod-http-lua)"
_NAMED = 5
_OWN_HOOK = "include resty-metrics-own-hook.conf instead, and put its line into your own hook"
_OWN_INIT_WORKER = "leave lifecycle.conf out, and put its call into your own hook"
_MAP_HASH = (
    "move the include of upstreams.conf, or the map that stands before this line, behind it: nginx fixes "
    "map_hash_bucket_size and map_hash_max_size at the first map"
)
_SPOOL_TWICE = (
    "include one of resty-metrics.conf and resty-metrics-own-hook.conf, only once, and declare no lua_shared_dict of "
    "this name elsewhere"
)
_HINTS = (
    ("map_hash", "is duplicate", _MAP_HASH),
    (statements.SPOOL, "already", _SPOOL_TWICE),
    ("log_by_lua", "is duplicate", _OWN_HOOK),
    ("init_worker_by_lua", "is duplicate", _OWN_INIT_WORKER),
    # ngx_lua does not name a *_by_lua_block in this message
    ("[emerg] is duplicate", "", f"for a log_by_lua: {_OWN_HOOK}; for an init_worker_by_lua: {_OWN_INIT_WORKER}"),
    ("unknown directive", "lua", "nginx has no Lua: install lua-nginx-module (Debian: libnginx-mod-http-lua)"),
    ("could not open error log", "Permission denied", "run doctor as root"),
)


@dataclass(frozen=True, slots=True)
class Configured:
    """One nginx's configuration, and the files it names. ``texts``: Lua files by path, None where not readable.

    ``aliases``: stated socket paths that are other names of the examined socket.
    """

    configuration: Configuration
    prefix: str
    build: str
    texts: Mapping[str, str | None]
    aliases: frozenset[str]


def refused(message: str) -> Finding:
    """Report that ``nginx -T`` ended with an error; its message is the finding."""
    hints = [hint for first, second, hint in _HINTS if first in message and second in message]
    return fail(
        "nginx.configuration",
        message,
        hints[0] if hints else "correct the configuration: until then nginx rejects each reload",
    )


def check(nginx: Configured, socket_path: str, lua_versions: frozenset[str]) -> list[Finding]:
    """Return all findings about a configuration that could be read."""
    configuration = nginx.configuration
    hooks = find(configuration, nginx.prefix, nginx.texts)
    share = share_of(configuration, nginx.texts)
    shown = ok("nginx.configuration", f"{configuration.main_file} was read as nginx -T shows it")
    if not statements.mentions_us(configuration, nginx.texts):
        return [shown, _include(hooks, share, own_hook=False, has_lua=_has_lua(nginx))]
    return [
        shown,
        _include(hooks, share, statements.has_spool(configuration), has_lua=True),
        *_shadowed(hooks, share, configuration),
        *_code_cache(configuration),
        _spool(configuration, share),
        *_sockets(nginx, socket_path),
        *_lifecycle(nginx),
        *_per_request(configuration),
        *_values(configuration),
        _durations(configuration),
        *_version(nginx.build, lua_versions),
    ]


def _include(hooks: Hooks, share: str, own_hook: bool, has_lua: bool) -> Finding:
    """Check ``nginx.include``.

    ``own_hook``: the include without a hook is there, and nginx refuses the other one beside it.
    """
    if hooks.outer is not None and hooks.outer.counts:
        return ok("nginx.include", f"{hooks.outer.directive.place}: {hooks.outer.directive.name} in http{{}} counts")
    if hooks.outer is not None:
        return _lacking("nginx.include", hooks.outer, share)
    counting = [hook for hook in hooks.all if hook.counts]
    unclear = [hook for hook in hooks.inner if hook.counts is None]
    add = _INSTALL if has_lua else f"{_LUA}; then: {_INSTALL}"
    if own_hook or counting:
        line = line_for("log_by_lua_block", share)
        add = f"add to a log_by_lua_block of http{{}} or of those servers: {line}{_RELOAD}"
    if not counting and not unclear:
        return fail("nginx.include", "nothing in http{} counts requests: the include is missing", add)
    if hooks.bare_servers:
        names = _listed([f"{scope(server)} ({server.place})" for server in hooks.bare_servers])
        return warn("nginx.include", f"{len(hooks.bare_servers)} servers have no hook: {names}", add)
    if not counting:
        return _lacking("nginx.include", unclear[0], share)
    return ok("nginx.include", f"{len(counting)} hooks of servers and locations count")


def _has_lua(nginx: Configured) -> bool:
    """Return whether nginx has Lua: it is built in, loaded, or in use."""
    loads = any(
        directive.name == "load_module" and directive.args and directive.args[0].endswith("ngx_http_lua_module.so")
        for directive in nginx.configuration.directives
    )
    used = any(
        directive.name.startswith("lua_") or "_by_lua" in directive.name
        for http in nginx.configuration.blocks("http")
        for directive in directives(http.block or ())
    )
    return loads or used or ngx_lua_version(nginx.build) is not None


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return "; ".join(names[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _lacking(check: str, hook: Hook, share: str) -> Finding:
    """Report a hook that replaces ours, or may replace it."""
    directive = hook.directive
    place = f"{directive.place}: {directive.name} in {hook.scope}"
    if hook.counts is None:
        proof = ", or run: sudo resty-metrics install, which proves it" if hook.scope == "http" else ""
        return skip(check, f"whether {place} calls our line: {hook.doubt}. To be certain, {TEST}{proof}")
    file = f" of {directive.args[0]}" if directive.name == "log_by_lua_file" else ""
    evidence = f"{place} replaces ours and does not call it: its requests are not counted"
    report = fail if hook.scope == "http" else warn
    return report(check, evidence, f"add as the first line{file}: {line_for(directive.name, share)}{_RELOAD}")


def _shadowed(hooks: Hooks, share: str, configuration: Configuration) -> list[Finding]:
    lacking = by_place(hook for hook in hooks.inner if not hook.counts)
    if lacking:
        parts = frozenset({LATE_REQUESTS, *([ALL_REQUESTS] if _in_all_servers(hooks, configuration) else [])})
        return [replace(_lacking("nginx.shadowed", hook, share), parts=parts) for hook in lacking]
    words = "has a log_by_lua of its own" if not hooks.inner else f"lacks our line ({len(hooks.inner)} have it)"
    return [ok("nginx.shadowed", f"no server or location {words}")]


def _in_all_servers(hooks: Hooks, configuration: Configuration) -> bool:
    """Return whether each server has a hook of its own that does not count, and no location has one that does."""
    replacing = {hook.directive for hook in hooks.inner if hook.counts is False}
    servers = [block for http in configuration.blocks("http") for block in http.block or () if block.name == "server"]
    replaced = all(not replacing.isdisjoint(server.block or ()) for server in servers)
    return bool(servers) and replaced and all(hook.counts is False for hook in hooks.inner)


def _code_cache(configuration: Configuration) -> list[Finding]:
    uncached = code_cache.find(configuration)
    report = fail if uncached.everywhere else warn
    return [
        report(
            "nginx.code-cache",
            f"{directive.place}: lua_code_cache is off in {words}: requests there are not counted",
            f"remove that line{_RELOAD}",
        )
        for directive, words in uncached.places
    ]


def _spool(configuration: Configuration, share: str) -> Finding:
    if statements.has_spool(configuration):
        return ok("nginx.spool", f"lua_shared_dict {statements.SPOOL} is declared")
    return warn(
        "nginx.spool",
        f"lua_shared_dict {statements.SPOOL} is not declared: batches not acknowledged when a worker ends are lost",
        f"write into http{{}}: lua_shared_dict {statements.SPOOL} 8m; (the include has it){_RELOAD}",
    )


def _sockets(nginx: Configured, socket_path: str) -> list[Finding]:
    begun = statements.lifecycle(nginx.configuration, nginx.prefix, nginx.texts).get("socket")
    stated = statements.sockets(nginx.configuration, nginx.prefix, nginx.texts)
    wrong = [setting for setting in stated if setting.value != socket_path and setting.value not in nginx.aliases]
    # Workers use that of lifecycle.conf, if there is one; nginx.lifecycle reports a variable that differs from it.
    used = [setting for setting in stated if begun is None or setting.directive is begun.directive]
    if all(setting not in wrong for setting in used):
        return [ok("nginx.socket", f"workers send to {used[0].value} ({used[0].place})")]
    return [
        fail(
            "nginx.socket",
            f"{setting.place}: workers send to {setting.value}, but the collector listens at {socket_path}",
            f"{_socket_line(setting, socket_path)}, or start the collector with --socket.path={setting.value}",
        )
        for setting in wrong
    ]


def _socket_line(stated: statements.Stated, socket_path: str) -> str:
    if stated.directive is not None:
        return f"write {socket_path} there"
    return f"write into http{{}}: geo $resty_metrics_socket {{ default {socket_path}; }}"


def _lifecycle(nginx: Configured) -> list[Finding]:
    differences = statements.differences(nginx.configuration, nginx.prefix, nginx.texts)
    return [
        warn(
            "nginx.lifecycle",
            f"{begun.place} sets {name} to {begun.value or 'none'}, but {_variable_words(name, stated)}; workers use "
            "the first value",
            "write the same value in both places; in lines that install added: sudo resty-metrics install does it"
            f"{_RELOAD}",
        )
        for name, begun, stated in differences
    ]


def _variable_words(name: str, stated: statements.Stated) -> str:
    if stated.directive is None:
        return f"$resty_metrics_{name} is not set, which means {stated.value or 'none'}"
    return f"{stated.place} sets it to {stated.value or 'none'}"


def _values(configuration: Configuration) -> list[Finding]:
    return [
        warn("nginx.settings", f"{wrong.place}: {wrong.reason}", f"{wrong.remedy}{_RELOAD}")
        for wrong in variables.find(configuration)
    ]


def _per_request(configuration: Configuration) -> list[Finding]:
    return [
        warn(
            "nginx.settings",
            f"{directive.place}: {directive.name} gives {variable} a value for some requests only, but a worker uses "
            "that of its first request for all",
            f"set it once in http{{}}: geo {variable} {{ default ...; }}; for other labels or buckets in a server or "
            f"location, use a scope (docs/labels.md){_RELOAD}",
        )
        for variable, directive in statements.per_request(configuration)
    ]


def _durations(configuration: Configuration) -> Finding:
    """Check ``nginx.durations``.

    doctor does not see which rules Prometheus has, so an OK names the file of ours that needs more labels.
    """
    chosen = durations.find(configuration)
    if chosen.unknown is not None:
        return warn(
            "nginx.durations",
            f'{chosen.place}: there is no label "{chosen.unknown}" of durations; they have the default labels',
            f"choose among server, method, status, status_class, scheme, labels of yours, otel and *{_RELOAD}",
        )
    shown = f"durations have {', '.join(chosen.labels)}"
    if "server" not in chosen.labels:
        return warn(
            "nginx.durations",
            f"{chosen.place}: {shown}: rules, alerts and dashboards find no durations without the label server",
            f"add server there{_RELOAD}",
        )
    lacking = [name for name in durations.OTEL if name not in chosen.labels]
    needed = f"; prometheus/compat/opentelemetry.yml also needs {', '.join(lacking)}: docs/labels.md" if lacking else ""
    return ok("nginx.durations", shown + needed)


def _version(build: str, lua_versions: frozenset[str]) -> list[Finding]:
    version = ngx_lua_version(build)
    words = ".".join(map(str, OLDEST_NGX_LUA))
    if version is None:
        if not lua_versions:
            return [
                skip(
                    "nginx.lua",
                    "nginx -V does not show the version of a dynamic module, and no worker has reported yet",
                )
            ]
        return [ok("nginx.lua", f"the Lua module runs, which requires lua-nginx-module {words} or later")]
    shown = ".".join(map(str, version))
    if version < OLDEST_NGX_LUA:
        return [
            fail("nginx.lua", f"lua-nginx-module {shown} is too old", f"install {words} or later (OpenResty 1.21.4.1)")
        ]
    return [ok("nginx.lua", f"lua-nginx-module {shown}")]

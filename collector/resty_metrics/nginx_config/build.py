"""Facts from ``nginx -V``: prefix, pid file, default user, and the version of lua-nginx-module where it is built in."""

import re
import shlex

OLDEST_NGX_LUA = (0, 10, 21)
_NGX_LUA = re.compile(r"(?:ngx_lua|lua-nginx-module)-v?(\d+)\.(\d+)\.(\d+)")
_FALLBACKS = {
    "prefix": "/usr/local/nginx",
    "pid-path": "logs/nginx.pid",
    "error-log-path": "logs/error.log",
    "user": "nobody",
}


def ngx_lua_version(build: str) -> tuple[int, ...] | None:
    """Return the version of lua-nginx-module; None where the output does not show it, as with a dynamic module."""
    match = _NGX_LUA.search(build)
    return None if match is None else tuple(map(int, match.groups()))


def setting(build: str, name: str) -> str:
    """Return the value of ``--name=`` among the configure arguments, or nginx's own default."""
    _, _, arguments = build.partition("configure arguments:")
    try:
        words = shlex.split(arguments)
    except ValueError:
        words = arguments.split()
    values = [word.partition("=")[2] for word in words if word.startswith(f"--{name}=")]
    return values[-1] if values else _FALLBACKS[name]


def module_version(code: str) -> str | None:
    """Return ``_VERSION`` of lua/resty/metrics.lua; None where it is missing."""
    match = re.search(r'\b_VERSION\s*=\s*"([^"]*)"', code)
    return None if match is None else match[1]

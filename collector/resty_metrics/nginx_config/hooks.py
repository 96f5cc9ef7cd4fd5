"""Find the ``log_by_lua*`` that holds in each block, and decide whether it calls ours.

nginx takes the innermost hook of ``http``, ``server``, ``location`` and ``if`` in a location, and drops the others
silently. So a hook without our line takes its requests off the page.

Rules:
- Our line is recognised in the code without its comments: it mentions resty.metrics and calls ``log``. A call through a
  variable that was set elsewhere is not recognised; the finding shows the line that was looked for.
- The caller hands in the text of a ``log_by_lua_file``; None: it could not be read, and nothing is claimed about it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.lua_block import without_comments

INSTALLED = "/usr/share/resty-metrics"
_HOOKS = frozenset({"log_by_lua", "log_by_lua_block", "log_by_lua_file"})
_READ = frozenset({"log_by_lua_file", "init_worker_by_lua_file"})
_CONTEXTS = frozenset({"server", "location", "if", "limit_except"})
_OUR_FILE = re.compile(r"resty/metrics/(hook|scope|off)\.lua\Z")
_LINE = '(package.loaded["resty.metrics"] or dofile("{}/lua/resty/metrics/load.lua")).log()'
# The code of log_by_lua is in a string of nginx, which a quote might end.
_LINE_IN_A_STRING = "(package.loaded[ [[resty.metrics]] ] or dofile([[{}/lua/resty/metrics/load.lua]])).log()"
_MENTION = re.compile(r"resty[./]metrics")
_CALL = re.compile(r"\.\s*log(_scope|_nothing)?\s*[({]|resty/metrics/(hook|scope|off)\.lua")


@dataclass(frozen=True, slots=True)
class Hook:
    """A log hook. ``scope``: its block, in words; ``counts``: whether it calls ours, None where that is not known."""

    directive: Directive
    scope: str
    counts: bool | None


@dataclass(frozen=True, slots=True)
class Hooks:
    """All of a configuration. ``bare_servers``: those in which no hook holds at all."""

    outer: Hook | None
    inner: tuple[Hook, ...]
    bare_servers: tuple[Directive, ...]

    @property
    def all(self) -> tuple[Hook, ...]:
        return self.inner if self.outer is None else (self.outer, *self.inner)


def lua_file(directive: Directive, prefix: str) -> str | None:
    """Return the file of a ``*_by_lua_file``, relative to nginx's prefix; None where its name has a variable."""
    if not directive.name.endswith("_by_lua_file") or not directive.args or "$" in directive.args[0]:
        return None
    return str(PurePosixPath(prefix) / directive.args[0])


def directives(block: tuple[Directive, ...]) -> Iterator[Directive]:
    """Yield all directives of a block and of the blocks in it."""
    for one in block:
        yield one
        yield from directives(one.block or ())


def lua_files(configuration: Configuration, prefix: str) -> frozenset[str]:
    """Return the files that must be read before hooks can be judged."""
    of_http = (one for http in configuration.blocks("http") for one in directives(http.block or ()))
    found = (lua_file(one, prefix) for one in of_http if one.name in _READ)
    return frozenset(path for path in found if path is not None)


def code(directive: Directive, prefix: str, texts: Mapping[str, str | None]) -> str | None:
    """Return the Lua code of a directive, without comments; None where it could not be read."""
    if not directive.name.endswith("_by_lua_file"):
        return without_comments(" ".join(directive.args))
    path = lua_file(directive, prefix)
    text = None if path is None else texts.get(path)
    return None if text is None else without_comments(text)


def _counts(directive: Directive, prefix: str, texts: Mapping[str, str | None]) -> bool | None:
    if directive.name == "log_by_lua_file" and _OUR_FILE.search(directive.args[0] if directive.args else ""):
        return True
    text = code(directive, prefix, texts)
    return None if text is None else _MENTION.search(text) is not None and _CALL.search(text) is not None


def line_for(hook: str, share: str) -> str:
    """Return the line to add to a hook of this name, so that it counts."""
    return (_LINE_IN_A_STRING if hook == "log_by_lua" else _LINE).format(share)


def share_of(configuration: Configuration) -> str:
    """Return the directory where the project's files are installed, as the configuration's own lines name it."""
    for http in configuration.blocks("http"):
        for one in directives(http.block or ()):
            match = re.search(r"(/[^\s\"']*)/lua/resty/metrics/\w+\.lua", " ".join(one.args))
            if match is not None:
                return match[1]
    return INSTALLED


def _own(block: tuple[Directive, ...]) -> Directive | None:
    return next((one for one in block if one.name in _HOOKS), None)


def scope(directive: Directive) -> str:
    """Describe a block in words: ``server a.example``, ``location /x``."""
    names = next((one.args for one in directive.block or () if one.name == "server_name"), directive.args)
    return " ".join((directive.name, *names))


def find(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> Hooks:
    """Find every hook, and every server without one."""
    outer: Hook | None = None
    inner: list[Hook] = []
    bare: list[Directive] = []
    for http in configuration.blocks("http"):
        own = _own(http.block or ())
        if own is not None:
            outer = Hook(own, "http", _counts(own, prefix, texts))
        for one in http.block or ():
            if one.name == "server":
                inner += _inside(one, prefix, texts)
                if own is None and _own(one.block or ()) is None:
                    bare.append(one)
    return Hooks(outer, tuple(inner), tuple(bare))


def _inside(block: Directive, prefix: str, texts: Mapping[str, str | None], above: str = "") -> Iterator[Hook]:
    words = f"{above}, {scope(block)}" if above else scope(block)
    own = _own(block.block or ())
    if own is not None:
        yield Hook(own, words, _counts(own, prefix, texts))
    for one in block.block or ():
        if one.name in _CONTEXTS and one.block is not None:
            yield from _inside(one, prefix, texts, words)

"""Find the ``log_by_lua*`` that holds in each block, and decide whether it calls ours.

nginx takes the innermost hook of ``http``, ``server``, ``location`` and ``if`` in a location, and drops the others
silently. So a hook without our line takes its requests off the page.

Rules:
- The code of a hook is followed (``lua_effect``). Code that it loads from other files is not (``lua_loading``); where
  that code may call us, the answer is None: it cannot be told.
- The caller hands in the texts of Lua files by path; None: the file could not be read, and nothing is claimed about it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from resty_metrics.nginx_config import lua_loading, lua_search
from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.lua_block import without_comments
from resty_metrics.nginx_config.lua_calls import OUR_HOOK
from resty_metrics.nginx_config.lua_effect import effect
from resty_metrics.nginx_config.lua_reach import reach

INSTALLED = "/usr/share/resty-metrics"
_HOOKS = frozenset({"log_by_lua", "log_by_lua_block", "log_by_lua_file"})
_FILES = ("log_by_lua_file", "init_by_lua_file", "init_worker_by_lua_file")
_BEGINNING = ("init_by_lua", "init_worker_by_lua")
_CONTEXTS = frozenset({"server", "location", "if", "limit_except"})
_LINE = '(package.loaded["resty.metrics"] or dofile("{}/lua/resty/metrics/load.lua")).log()'
# The code of log_by_lua is in a string of nginx, which a quote might end.
_LINE_IN_A_STRING = "(package.loaded[ [[resty.metrics]] ] or dofile([[{}/lua/resty/metrics/load.lua]])).log()"
_SHARE = re.compile(r"(/[^\s\"']*)/lua/resty/metrics/\w+\.lua")
_ESCAPE = re.compile(r"\\([\\'\"nrt])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t"}
_SHOWN_SCOPES = 3
# No line is named: in a hook that does count, it would count each request twice.
TEST = "send a request there and see whether the page counts it; add nothing before that"


@dataclass(frozen=True, slots=True)
class Hook:
    """A log hook.

    ``scope``: its block, in words; ``counts``: whether it calls ours, None where that cannot be told; ``doubt``: the
    reason for None.
    """

    directive: Directive
    scope: str
    counts: bool | None
    doubt: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """All of a configuration. ``bare_servers``: those in which no hook holds at all."""

    outer: Hook | None
    inner: tuple[Hook, ...]
    bare_servers: tuple[Directive, ...]

    @property
    def all(self) -> tuple[Hook, ...]:
        return self.inner if self.outer is None else (self.outer, *self.inner)


def by_place(hooks: Iterable[Hook]) -> list[Hook]:
    """Return one hook for each place: a file that many servers include has one hook to change.

    Its ``scope`` names the first blocks, and counts the others.
    """
    groups: dict[Directive, list[Hook]] = {}
    for hook in hooks:
        groups.setdefault(hook.directive, []).append(hook)
    return [replace(group[0], scope=_all_of(group)) for group in groups.values()]


def _all_of(group: list[Hook]) -> str:
    scopes = list(dict.fromkeys(hook.scope for hook in group))
    more = len(group) - min(len(scopes), _SHOWN_SCOPES)
    return "; ".join(scopes[:_SHOWN_SCOPES]) + (f" and {more} more" if more else "")


def lua_file(directive: Directive, prefix: str) -> str | None:
    """Return the file of a ``*_by_lua_file``, relative to nginx's prefix; None where its name has a variable."""
    if not directive.name.endswith("_by_lua_file") or not directive.args or "$" in directive.args[0]:
        return None
    return str(PurePosixPath(prefix) / directive.args[0])


def directives(block: tuple[Directive, ...]) -> Iterator[Directive]:
    """Yield all directives of a block and of the blocks in it."""
    for directive in block:
        yield directive
        yield from directives(directive.block or ())


def _of_http(configuration: Configuration) -> Iterator[Directive]:
    for http in configuration.blocks("http"):
        yield from directives(http.block or ())


def lua_files(configuration: Configuration, prefix: str) -> frozenset[str]:
    """Return the files that must be read before hooks can be judged."""
    paths = (lua_file(directive, prefix) for directive in _of_http(configuration) if directive.name in _FILES)
    return frozenset(path for path in paths if path is not None)


def begun(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the code that runs before any hook."""
    first = [directive for directive in _of_http(configuration) if directive.name.startswith(_BEGINNING)]
    sources = (
        source(directive, prefix, texts)
        for directive in sorted(first, key=lambda directive: directive.name.startswith(_BEGINNING[1]))
    )
    return tuple(text for text in sources if text is not None)


def loaded_files(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> frozenset[str]:
    """Return paths at which the code may be that hooks load, and that the texts read so far load in turn.

    A relative path begins at nginx's working directory.
    """
    before = begun(configuration, prefix, texts)
    hooks = (source(directive, prefix, texts) for directive in _of_http(configuration) if directive.name in _HOOKS)
    paths: set[str] = set()
    modules: set[str] = set()
    for text in filter(None, hooks):
        loads = effect(text, *before).reach
        paths |= loads.files
        modules |= loads.modules
    for text in filter(None, (*before, *texts.values())):
        paths |= reach(text).files
        modules |= reach(text).modules
    for name in modules:
        paths.update(lua_search.candidates(name, configuration, prefix))
    return frozenset(paths)


def source(directive: Directive, prefix: str, texts: Mapping[str, str | None]) -> str | None:
    """Return the Lua code of a directive; None where it could not be read."""
    if not directive.name.endswith("_by_lua_file"):
        text = " ".join(directive.args)
        block = directive.name.endswith("_block")
        return text if block else _ESCAPE.sub(lambda match: _CONTROLS.get(match[1], match[1]), text)
    path = lua_file(directive, prefix)
    return None if path is None else texts.get(path)


def code(directive: Directive, prefix: str, texts: Mapping[str, str | None]) -> str | None:
    """Return the Lua code of a directive, without comments; None where it could not be read."""
    text = source(directive, prefix, texts)
    return None if text is None else without_comments(text)


class _Judge:
    """The judge of the hooks of one configuration."""

    def __init__(self, configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> None:
        self._configuration, self._prefix, self._texts = configuration, prefix, texts
        self._begun = begun(configuration, prefix, texts)
        self._init = lua_loading.of_init(self._begun, self._text)

    def hook(self, directive: Directive, scope: str) -> Hook:
        counts, doubt = self._judged(directive)
        return Hook(directive, scope, counts, doubt)

    def _judged(self, directive: Directive) -> tuple[bool | None, str]:
        if directive.name == "log_by_lua_file" and OUR_HOOK.search("".join(directive.args[:1])):
            return True, ""
        text = source(directive, self._prefix, self._texts)
        if text is None:
            variable = "$" in "".join(directive.args[:1])
            return None, "its file's name has a variable" if variable else "its file cannot be read from here"
        outcome = effect(text, *self._begun)
        if outcome.counts is not False:
            return outcome.counts, outcome.doubt
        doubt = lua_loading.doubt(outcome.reach, self._init, self._text)
        return (None if doubt else False), doubt

    def _text(self, name: str, module: bool) -> str | None:
        if not module:
            return lua_search.text_at(name, self._texts)
        return lua_search.text_of(name, self._configuration, self._prefix, self._texts)


def line_for(hook: str, share: str) -> str:
    """Return the line to add to a hook of this name, so that it counts."""
    return (_LINE_IN_A_STRING if hook == "log_by_lua" else _LINE).format(share)


def share_of(configuration: Configuration, texts: Mapping[str, str | None] | None = None) -> str:
    """Return the directory where the project's files are installed, as lines of the user name it."""
    return named_share(configuration, texts or {}) or INSTALLED


def named_share(configuration: Configuration, texts: Mapping[str, str | None]) -> str | None:
    """Return the directory of the project's files that the configuration or a Lua file names; None if none does."""
    words = (word for directive in _of_http(configuration) for word in directive.args)
    for word in (*words, *(text for text in texts.values() if text is not None)):
        match = _SHARE.search(word)
        if match is not None:
            return match[1]
    return None


def _own(block: tuple[Directive, ...]) -> Directive | None:
    return next((directive for directive in block if directive.name in _HOOKS), None)


def scope(directive: Directive) -> str:
    """Describe a block in words: ``server a.example``, ``location /x``."""
    names = next((inner.args for inner in directive.block or () if inner.name == "server_name"), directive.args)
    return " ".join((directive.name, *names))


def find(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> Hooks:
    """Find every hook, and every server without one."""
    judge = _Judge(configuration, prefix, texts)
    outer: Hook | None = None
    inner: list[Hook] = []
    bare: list[Directive] = []
    for http in configuration.blocks("http"):
        own = _own(http.block or ())
        if own is not None:
            outer = judge.hook(own, "http")
        for directive in http.block or ():
            if directive.name == "server":
                inner += _inside(directive, judge)
                if own is None and _own(directive.block or ()) is None:
                    bare.append(directive)
    return Hooks(outer, tuple(inner), tuple(bare))


def _inside(block: Directive, judge: _Judge, above: str = "") -> Iterator[Hook]:
    words = f"{above}, {scope(block)}" if above else scope(block)
    own = _own(block.block or ())
    if own is not None:
        yield judge.hook(own, words)
    for inner in block.block or ():
        if inner.name in _CONTEXTS and inner.block is not None:
            yield from _inside(inner, judge, words)

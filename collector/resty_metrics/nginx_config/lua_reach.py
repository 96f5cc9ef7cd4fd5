"""The other Lua code that a chunk may reach, read from its text, without following it. Pure.

Rule: it errs to the wide side. A ``require`` in a function that nothing calls counts too, and every name of a global
variable that Lua and nginx do not have themselves may lead to what ``init_by_lua`` left behind.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache

from resty_metrics.nginx_config.lua_nodes import Call, Constant, Expression, Function, Local, Loop, Name
from resty_metrics.nginx_config.lua_tokens import LuaError, tokens
from resty_metrics.nginx_config.lua_tree import parse

LONGEST = 64 * 1024  # characters
TOO_LARGE = "is too large to follow"
_LOADERS = frozenset({"require", "dofile", "loadfile"})
_PROTECTED = frozenset({"pcall", "xpcall"})
# Their functions are in all nginx's Lua; "_G", "package" and "getfenv" lead to what other code left there.
_STANDARD = frozenset({
    "...", "assert", "bit", "collectgarbage", "coroutine", "debug", "dofile", "error", "ffi", "getmetatable", "io",
    "ipairs", "jit", "load", "loadfile", "loadstring", "math", "ndk", "newproxy", "next", "ngx", "os", "pairs", "pcall",
    "print", "rawequal", "rawget", "rawlen", "rawset", "require", "select", "setmetatable", "string", "table",
    "tonumber", "tostring", "type", "unpack", "xpcall",
})  # fmt: skip
_OURS = re.compile(r"(?<![\w.-])resty[./]metrics(?!\w)")
_PART = "metrics"
_WHOLE_NAME = re.compile(r"/?[\w-]+(?:[./][\w-]+)+")


@dataclass(frozen=True, slots=True)
class Reach:
    """The code that a chunk leads to.

    ``ours``: it names our module or a file of ours; ``shared``: it uses variables that other code may have set;
    ``doubt``: the reason why ``modules`` and ``files`` may lack some, "" where they do not.
    """

    ours: bool
    shared: bool = False
    modules: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    doubt: str = ""


@lru_cache(maxsize=256)
def reach(code: str) -> Reach:
    """Read a chunk. Code that cannot be parsed reaches all that may be named in it."""
    if len(code) > LONGEST:
        return Reach(_OURS.search(code) is not None, shared=True, doubt=TOO_LARGE)
    try:
        chunk = tokens(code)
        nodes = list(_nodes(parse(chunk)))
    except RecursionError:
        return Reach(ours=True, shared=True)
    except LuaError as error:  # nginx does not run it, unless the limit is ours
        return Reach(error.limit or _PART in code or code.startswith("\x1b"), shared=True)
    modules, files, computed = _loads(nodes)
    return Reach(
        _names_ours([token.text for token in chunk if token.kind == "string"]),
        bool(_free(nodes) - _STANDARD),
        modules,
        files,
        "loads code whose name is not known" if computed else "",
    )


def _names_ours(strings: list[str]) -> bool:
    """Return whether strings have our module's name, or parts that the code may join to it."""
    parts = any(_PART in text and not _WHOLE_NAME.fullmatch(text) for text in strings)
    return any(map(_OURS.search, strings)) or (parts and any("resty" in text for text in strings))


def _nodes(root: object) -> Iterator[object]:
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += node
        elif is_dataclass(node) and not isinstance(node, type):
            yield node
            pending += (getattr(node, field.name) for field in fields(node))


def _free(nodes: list[object]) -> set[str]:
    used = {node.name for node in nodes if isinstance(node, Name)}
    declared = {name for node in nodes if isinstance(node, (Local, Loop)) for name in node.names}
    return used - declared - {name for node in nodes if isinstance(node, Function) for name in node.parameters}


def _loads(nodes: list[object]) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return the modules, the files, and whether code is loaded whose name the text does not have."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    known = 0
    for node in nodes:
        for loader, argument in _named(node):
            if isinstance(argument, Constant) and isinstance(argument.value, str):
                names[loader == "require"].add(argument.value)
                known += 1
            elif argument is None:
                known += 1
    all_of_them = sum(isinstance(node, Name) and node.name in _LOADERS for node in nodes)
    return frozenset(names[True]), frozenset(names[False]), all_of_them > known


def _named(node: object) -> Iterator[tuple[str, Expression | None]]:
    """Yield each loader that a node uses, with the name that it gets; None where the node only names it anew."""
    if isinstance(node, Local):
        for name, value in zip(node.names, node.values, strict=False):
            if isinstance(value, Name) and value.name == name and name in _LOADERS:
                yield name, None
    elif isinstance(node, Call) and isinstance(node.function, Name):
        words = (node.function, *node.arguments)
        words = words[1:] if node.function.name in _PROTECTED else words
        if len(words) > 1 and isinstance(words[0], Name) and words[0].name in _LOADERS:
            yield words[0].name, words[2] if node.function.name == "xpcall" and len(words) > 2 else words[1]

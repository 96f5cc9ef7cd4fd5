"""The other Lua code that a chunk may reach, read from its text, without following it. Pure.

Rule: it errs to the wide side. A ``require`` in a function that nothing calls counts too, and every name of a global
variable that Lua and nginx do not have themselves may lead to what ``init_by_lua`` left behind.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache

from resty_metrics.nginx_config import lua_nodes as lua
from resty_metrics.nginx_config.lua_tokens import LuaError, tokens
from resty_metrics.nginx_config.lua_tree import parse

LONGEST = 64 * 1024  # characters
TOO_LARGE = "is too large to follow"
ANYTHING = "*"
ALL = frozenset({ANYTHING})
_LOADERS = frozenset({"require", "dofile", "loadfile"})
_LOADERS_OF_TEXT = frozenset({"load", "loadstring"})
_PROTECTED = frozenset({"pcall", "xpcall"})
_TABLES = frozenset({
    "bit", "coroutine", "debug", "ffi", "io", "jit", "math", "ndk", "ngx", "os", "string", "table",
})  # fmt: skip
# Their functions are in all nginx's Lua; "_G", "package" and "getfenv" lead to what other code left there.
_STANDARD = _TABLES | {
    "...", "assert", "collectgarbage", "dofile", "error", "getmetatable", "ipairs", "load", "loadfile", "loadstring",
    "newproxy", "next", "pairs", "pcall", "print", "rawequal", "rawget", "rawlen", "rawset", "require", "select",
    "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
}  # fmt: skip
_CHANGEABLE = _TABLES | {"_G", "package"}
_READING = frozenset({"ipairs", "next", "pairs", "print", "rawget", "tostring", "type"})
_SEARCH = frozenset({"cpath", "loaders", "path"})  # of package: they decide which file a module is
_OF_DEBUG = frozenset({"getinfo", "traceback"})  # the others reach any variable
_OURS = re.compile(r"(?<![\w.-])resty[./]metrics(?!\w)")
_PART = "metrics"
_WHOLE_NAME = re.compile(r"/?[\w-]+(?:[./][\w-]+)+")


@dataclass(frozen=True, slots=True)
class Reach:
    """The code that a chunk leads to.

    ``ours``: it names our module or a file of ours; ``shared``: it uses variables that other code may have set;
    ``doubt``: the reason why ``modules`` and ``files`` may lack some, "" where they do not; ``uses``: the names of
    variables and fields that it reads; ``changes``: those of Lua's and nginx's own that it may set. ANYTHING in one of
    them stands for all names.
    """

    ours: bool
    shared: bool = False
    modules: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    doubt: str = ""
    uses: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def reach(code: str) -> Reach:
    """Read a chunk. Code that cannot be parsed reaches all that may be named in it."""
    if len(code) > LONGEST:
        return Reach(_OURS.search(code) is not None, shared=True, doubt=TOO_LARGE, uses=ALL, changes=ALL)
    try:
        block = parse(tokens(code))
        return of_nodes(list(nodes(block)), free(block))
    except RecursionError:
        return Reach(ours=True, shared=True, uses=ALL, changes=ALL)
    except LuaError as error:  # nginx does not run it, unless the limit is ours
        ours = error.limit or _PART in code or code.startswith("\x1b")
        return Reach(ours, shared=True, uses=ALL, changes=ALL)


def of_nodes(code: Collection[object], free_names: Collection[str]) -> Reach:
    """Read statements and expressions, each without those in it. ``free_names``: the global variables that they use."""
    modules, files, computed = _loads(code)
    doubt = "loads code whose name is not known" if computed else ""
    return Reach(
        _names_ours([node.value for node in code if isinstance(node, lua.Constant) and isinstance(node.value, str)]),
        bool(set(free_names) - _STANDARD),
        modules,
        files,
        doubt or ("reads modules or variables whose names are not known" if _reads_any(code) else ""),
        frozenset(_uses(code)) | modules | (_SEARCH if modules else frozenset()),
        frozenset(_changes(code)),
    )


def is_ours(name: str) -> bool:
    """Return whether a module of this name, or the file of it, is ours."""
    return _OURS.match(name) is not None


def meet(changes: Collection[str], uses: Collection[str]) -> bool:
    """Return whether some code may use what other code changes."""
    if ANYTHING in changes or ANYTHING in uses:
        return bool(changes) and bool(uses)
    return not set(changes).isdisjoint(uses)


def _names_ours(strings: list[str]) -> bool:
    """Return whether strings have our module's name, or parts that the code may join to it."""
    parts = any(_PART in text and not _WHOLE_NAME.fullmatch(text) for text in strings)
    return any(map(_OURS.search, strings)) or (parts and any("resty" in text for text in strings))


def nodes(root: object) -> Iterator[object]:
    """Yield a statement or expression and all in it; of a tuple, those of its items."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += node
        elif is_dataclass(node) and not isinstance(node, type):
            yield node
            pending += (getattr(node, field.name) for field in fields(node))


def free(node: object, bound: frozenset[str] = frozenset()) -> set[str]:
    """Return the names of variables that code uses and does not declare where it uses them."""
    match node:
        case lua.Name(name):
            return set() if name in bound else {name}
        case lua.Function(parameters, body):
            return free(body, bound | set(parameters))
        case lua.Loop(names, values, condition, body):
            return free((values, condition), bound) | free(body, bound | set(names))
        case tuple():
            names_used: set[str] = set()
            for item in node:
                names_used |= free(
                    item, bound | set(item.names) if isinstance(item, lua.Local) and item.recursive else bound
                )
                bound |= set(item.names) if isinstance(item, lua.Local) else set()
            return names_used
        case _ if is_dataclass(node):
            return set().union(*(free(getattr(node, field.name), bound) for field in fields(node)))
    return set()


def _root(node: lua.Expression) -> str | None:
    while isinstance(node, lua.Index):
        node = node.table
    return node.name if isinstance(node, lua.Name) else None


def _key(index: lua.Index) -> str:
    return index.key.value if isinstance(index.key, lua.Constant) and isinstance(index.key.value, str) else ANYTHING


def _tables(code: Collection[object]) -> set[str]:
    """Return the variables that may hold a table of Lua or nginx."""
    tables = set(_CHANGEABLE)
    before = 0
    while before != len(tables):
        before = len(tables)
        tables |= {name for node in code for name, value in _assigned(node) if _root(value) in tables}
    return tables


def _passes(node: lua.Call | lua.Table, tables: set[str]) -> bool:
    """Return whether a call or a table gets one of the tables as a whole."""
    values = node.arguments if isinstance(node, lua.Call) else node.values
    return any(isinstance(value, lua.Name) and value.name in tables for value in values)


def _uses(code: Collection[object]) -> Iterator[str]:
    """Yield names of variables, fields, methods and modules, and the operators, which a metatable may define."""
    tables = _tables(code)
    for node in code:
        match node:
            case lua.Name(name):
                yield name
            case lua.Index() if _key(node) != ANYTHING or _root(node) in tables:
                yield _key(node)
            case lua.Operation(operator):
                yield operator
            case lua.Call(_, _, method):
                yield method or "()"
        if isinstance(node, (lua.Call, lua.Table)) and _passes(node, tables):
            yield ANYTHING


def _reads_any(code: Collection[object]) -> bool:
    """Return whether code reads loaded modules, or variables of other functions, without a name that is known."""
    named = {id(node.table) for node in code if isinstance(node, lua.Index) and _key(node) != ANYTHING}
    for node in code:
        if isinstance(node, lua.Index) and isinstance(node.table, lua.Name):
            if node.table.name == "debug" and _key(node) not in _OF_DEBUG:
                return True
            if (node.table.name, _key(node)) == ("package", "loaded") and id(node) not in named:
                return True
    return False


def _changes(code: Collection[object]) -> Iterator[str]:
    tables = _tables(code)
    for node in code:
        match node:
            case lua.Assign(targets):
                for target in targets:
                    if isinstance(target, lua.Index) and _root(target) in tables:
                        yield _key(target)
                    elif isinstance(target, lua.Name) and target.name in _STANDARD:
                        yield target.name
            case lua.Call(lua.Name("getmetatable"), (lua.Constant(),)):
                yield ANYTHING
            case lua.Call(lua.Name(name)) if name in _READING:
                pass
            case lua.Index(lua.Name("debug")) if _key(node) not in _OF_DEBUG:
                yield ANYTHING
            case lua.Call() | lua.Table() if _passes(node, tables):
                yield ANYTHING


def _assigned(node: object) -> Iterator[tuple[str, lua.Expression]]:
    if isinstance(node, lua.Local):
        yield from zip(node.names, node.values, strict=False)
    elif isinstance(node, lua.Assign):
        for target, value in zip(node.targets, node.values, strict=False):
            if isinstance(target, lua.Name):
                yield target.name, value


def _loads(code: Collection[object]) -> tuple[frozenset[str], frozenset[str], bool]:
    """Return the modules, the files, and whether code is loaded whose name the text does not have."""
    names: dict[bool, set[str]] = {True: set(), False: set()}
    known = 0
    for node in code:
        for loader, argument in _named(node):
            if isinstance(argument, lua.Constant) and isinstance(argument.value, str):
                names[loader == "require"].add(argument.value)
                known += 1
            elif argument is None:
                known += 1
    used = [node.name for node in code if isinstance(node, lua.Name)]
    computed = sum(name in _LOADERS for name in used) > known or not _LOADERS_OF_TEXT.isdisjoint(used)
    return frozenset(names[True]), frozenset(names[False]), computed


def _named(node: object) -> Iterator[tuple[str, lua.Expression | None]]:
    """Yield each loader that a node uses, with the name that it gets; None where the node only names it anew."""
    if isinstance(node, lua.Local):
        for name, value in zip(node.names, node.values, strict=False):
            if isinstance(value, lua.Name) and value.name == name and name in _LOADERS:
                yield name, None
    elif isinstance(node, lua.Call) and isinstance(node.function, lua.Name):
        words = (node.function, *node.arguments)
        words = words[1:] if node.function.name in _PROTECTED else words
        if len(words) > 1 and isinstance(words[0], lua.Name) and words[0].name in _LOADERS:
            yield words[0].name, words[2] if node.function.name == "xpcall" and len(words) > 2 else words[1]

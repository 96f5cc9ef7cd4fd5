"""The values that an expression of Lua may have, as far as our line is concerned. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from resty_metrics.nginx_config.lua_nodes import Function

MODULE = "resty.metrics"
_COUNTING = frozenset({"log", "log_scope", "log_nothing"})


class Part(Enum):
    """A part of our module, or a value that is known by its kind alone."""

    MODULE = "the module"
    LOADED = "the module, or nil where nothing has loaded it"
    LOG = "a function that counts"
    LOADED_LOG = "log of LOADED"
    LOADER = "a function that returns the module"
    OTHER = "not ours"
    CONTEXT = "a value of ngx.ctx, where code of other phases may have put it"
    UNKNOWN = "may be ours"


@dataclass(frozen=True, slots=True)
class Known:
    """A constant."""

    value: str | bool | None


@dataclass(frozen=True, slots=True)
class Global:
    """A global variable that the code does not assign, or a field of one: ``ngx.timer.at``."""

    path: str


@dataclass(frozen=True, slots=True, eq=False)
class Closure:
    """A function that the code defines. ``scope``: the cells of the variables that it sees."""

    function: Function
    scope: Mapping[str, int]


Value = Part | Known | Global | Closure
GLOBALS = Global("_G")
OURS = frozenset({Part.MODULE, Part.LOADED, Part.LOG, Part.LOADED_LOG, Part.LOADER})


def truth(value: Value) -> bool | None:
    """Return whether the value is true in a condition; None where that is not known."""
    if isinstance(value, Known):
        return value.value not in (None, False)
    if isinstance(value, Closure) or value in (Part.MODULE, Part.LOG, Part.LOADER):
        return True
    return None


def equal(first: Value, second: Value) -> bool | None:
    """Return whether two values are equal; None where that is not known, as for numbers."""
    values = [value.value for value in (first, second) if isinstance(value, Known)]
    if len(values) == 2:
        numeric = any(isinstance(value, str) and value[:1] in "0123456789." for value in values)
        return None if numeric else values[0] == values[1]
    unknown = [value for value in (first, second) if not isinstance(value, Known)]
    return False if values == [None] and truth(unknown[0]) else None


def kind(value: Value) -> str | None:
    """Return what Lua's ``type`` returns; None where that is not known."""
    if isinstance(value, Closure) or value in (Part.LOG, Part.LOADER):
        return "function"
    if value is Part.MODULE:
        return "table"
    return "nil" if value == Known(None) else "boolean" if value in (Known(True), Known(False)) else None


def either(first: Value, second: Value) -> Value:
    """Return the value of a variable that has one of two values."""
    if first == second:
        return first
    if may_be_ours((first, second)):
        return Part.UNKNOWN
    return Part.CONTEXT if Part.CONTEXT in (first, second) else Part.OTHER


def may_be_ours(values: Iterable[Value]) -> bool:
    return any(value in OURS or value is Part.UNKNOWN or isinstance(value, Closure) for value in values)


def field(table: Value, key: Value) -> Value:
    """Return a field of a table."""
    name = key.value if isinstance(key, Known) and isinstance(key.value, str) else None
    if table in (Part.MODULE, Part.LOADED):
        log = Part.LOG if table is Part.MODULE else Part.LOADED_LOG
        return Part.UNKNOWN if name is None else log if name in _COUNTING else Part.OTHER
    if isinstance(table, Global):
        return _of_global(table.path, name)
    return table if table in (Part.UNKNOWN, Part.CONTEXT) else Part.OTHER


def _of_global(path: str, name: str | None) -> Value:
    if path == "ngx.ctx":
        return Part.CONTEXT
    if name is None:
        return Part.UNKNOWN if path in ("_G", "package.loaded") else Part.OTHER
    if path == "_G":
        return Global(name)
    if path == "package.loaded":
        return Part.LOADED if name == MODULE else Part.OTHER
    return Global(f"{path}.{name}")

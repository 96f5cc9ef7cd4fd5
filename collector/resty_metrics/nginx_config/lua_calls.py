"""The effects of the functions that Lua and nginx have themselves, as far as our line is concerned. Pure.

Source of the paths: lua/resty/metrics/load.lua and the hooks beside it.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from resty_metrics.nginx_config.lua_state import Values
from resty_metrics.nginx_config.lua_values import (
    MODULE,
    OURS,
    Closure,
    Global,
    Known,
    Part,
    Value,
    kind,
    may_be_ours,
    truth,
)

if TYPE_CHECKING:
    from resty_metrics.nginx_config.lua_interpreter import Interpreter

OUR_HOOK = re.compile(r"(?:\A|/)resty/metrics/(?:hook|scope|off)\.lua\Z")
_OUR_LOADER = re.compile(r"(?:\A|/)resty/metrics/load\.lua\Z")
_MODULES = frozenset({MODULE, f"{MODULE}.load"})
_HOOKS = frozenset({f"{MODULE}.hook", f"{MODULE}.scope", f"{MODULE}.off"})
# They call no function that they are given.
_HARMLESS = frozenset({
    "getmetatable", "ipairs", "next", "pairs", "print", "rawequal", "rawget", "select",
    "table.insert", "table.unpack", "tonumber", "tostring", "unpack", "ngx.log",
})  # fmt: skip
# nginx refuses them in the log phase with an error. Source: the contexts in lua-nginx-module's README.
_DISABLED = re.compile(
    r"ngx\.(?:say|print|flush|eof|exec|redirect|sleep|send_headers|on_abort|run_worker_thread|location\.capture\w*"
    r"|thread\.\w+|socket\.\w+|req\.(?:read_body|discard_body|socket|init_body|append_body|finish_body|set_\w+"
    r"|clear_header))\Z"
)
_UNKNOWN_CODE = "it loads code whose name is not known"


def call(code: "Interpreter", function: Value, arguments: Values) -> Values:
    """Call a function that the code does not define, and return what it returns."""
    match function:
        case Part.LOG:
            code.course.count()
        case Part.LOADED_LOG:
            code.course.count("resty.metrics may not be loaded there")
        case Part.LOADER:
            return (Part.MODULE,)
        case Part.UNKNOWN:
            code.course.count("it calls a function that may be ours")
            return (Part.UNKNOWN,)
        case Part.CONTEXT:
            code.course.escape(*arguments)
            code.course.context = True
            return (Part.CONTEXT,)
        case Known():
            code.course.fail(guess=True)  # no constant can be called
            return ()
        case Global(path) if _DISABLED.match(path):
            code.course.may_fail()
            return _foreign(code, arguments)
        case Global(path) if path in _CALLS:
            return _CALLS[path](code, arguments)
        case Global(path) if path in _HARMLESS:
            code.course.escape(*arguments)
            return (Part.UNKNOWN,) if may_be_ours(arguments) else (Part.OTHER,)
        case _:
            return _foreign(code, arguments)
    return (Part.OTHER,)


def _foreign(code: "Interpreter", arguments: Values) -> Values:
    """Call a function of others, which may call the functions that it is given, or fail."""
    code.course.escape(*arguments)
    code.course.guessed |= len(code.course.errors) > 1
    for value in arguments:
        if isinstance(value, Closure) or value in (Part.LOG, Part.LOADED_LOG, Part.LOADER):
            code.perhaps(value)
        elif value in OURS:
            code.course.count("it gives our module to a function of others")
    return (Part.UNKNOWN,) if any(value in OURS or value is Part.UNKNOWN for value in arguments) else (Part.OTHER,)


def _text(arguments: Values) -> str | None:
    first = arguments[0] if arguments else None
    return first.value if isinstance(first, Known) and isinstance(first.value, str) else None


def _require(code: "Interpreter", arguments: Values) -> Values:
    name = _text(arguments)
    if name in _MODULES:
        return (Part.MODULE,)
    if name is None or name.replace("/", ".") in _MODULES:
        code.course.dynamic = True
        return (Part.UNKNOWN,)
    if name in _HOOKS:
        code.course.count("require runs a hook of ours once only")
    code.course.modules.add(name)
    return (Part.OTHER,)


def _loadfile(code: "Interpreter", arguments: Values) -> Values:
    path = _text(arguments)
    if path is None:
        code.course.dynamic = True
        return (Part.UNKNOWN,)
    if OUR_HOOK.search(path):
        return (Part.LOG,)
    if _OUR_LOADER.search(path):
        return (Part.LOADER,)
    code.course.files.add(path)
    return (Part.OTHER,)


def _dofile(code: "Interpreter", arguments: Values) -> Values:
    (function,) = _loadfile(code, arguments)
    if function is Part.UNKNOWN:
        code.course.count(_UNKNOWN_CODE)
        return (Part.UNKNOWN,)
    return code.apply(function, ())


def _load(code: "Interpreter", _arguments: Values) -> Values:
    code.course.dynamic = True
    return (Part.UNKNOWN,)


def _fail(code: "Interpreter", arguments: Values) -> Values:
    code.course.escape(*arguments)
    code.course.fail()
    return ()


def _assert(code: "Interpreter", arguments: Values) -> Values:
    known = truth(arguments[0]) if arguments else False
    code.course.escape(*arguments[1:])
    if known is False:
        code.course.fail()
    elif known is None:
        code.course.may_fail()
    return arguments


def _type(_code: "Interpreter", arguments: Values) -> Values:
    name = kind(arguments[0]) if arguments else None
    return (Part.OTHER,) if name is None else (Known(name),)


def _pcall(code: "Interpreter", arguments: Values) -> Values:
    return code.protected(arguments[0], arguments[1:]) if arguments else (Part.OTHER,)


def _xpcall(code: "Interpreter", arguments: Values) -> Values:
    for handler in arguments[1:2]:
        code.course.escape(handler)
        code.perhaps(handler)
    return code.protected(arguments[0], arguments[2:]) if arguments else (Part.OTHER,)


def _setfenv(code: "Interpreter", arguments: Values) -> Values:
    code.course.tampered = True
    return _foreign(code, arguments)


# ngx.exit and its like are errors in the log phase.
_CALLS: Mapping[str, Callable[["Interpreter", Values], Values]] = {
    "require": _require, "dofile": _dofile, "loadfile": _loadfile, "load": _load, "loadstring": _load, "error": _fail,
    "assert": _assert, "pcall": _pcall, "xpcall": _xpcall, "type": _type, "ngx.exit": _fail, "os.exit": _fail,
    "setfenv": _setfenv,
}  # fmt: skip

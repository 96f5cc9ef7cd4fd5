"""Decide whether Lua code calls ``log`` of our module, by following what the code does. Pure.

Rules:
- The answer is True where each way through the code makes the call. It is False only where neither the code nor
  what ``init_by_lua`` left for it names our module: a call may hide in a table, behind an alias or a metatable. Else it
  is None.
- A branch whose condition is not known is followed both ways. A function is followed where it is called. Code of other
  files is not followed: ``modules`` and ``files`` name it.
- Code of others is taken to return, and not to call a function that it was not given.
"""

from dataclasses import dataclass
from functools import lru_cache

from resty_metrics.nginx_config.lua_course import UnsureError
from resty_metrics.nginx_config.lua_interpreter import Interpreter
from resty_metrics.nginx_config.lua_reach import LONGEST, TOO_LARGE, reach
from resty_metrics.nginx_config.lua_tokens import LuaError, Token, tokens
from resty_metrics.nginx_config.lua_tree import parse

_DYNAMIC = "it loads code whose name is not known"
_DEPENDS = "whether it calls ours depends on a condition"
_NOT_SEEN = "it names resty.metrics, and no call of log is seen"
_GLOBALS = "it uses global variables, and init_by_lua names resty.metrics"


@dataclass(frozen=True, slots=True)
class Effect:
    """The answer for one chunk.

    ``doubt``: the reason of None, in words; ``modules`` and ``files``: the other code that it loads.
    """

    counts: bool | None
    doubt: str = ""
    modules: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()


@lru_cache(maxsize=256)
def effect(code: str, *before: str) -> Effect:
    """Decide about a chunk. ``before``: chunks that ran in the same Lua machine, and may have set global variables."""
    interpreter = Interpreter()
    for text in before:
        interpreter = _begun(interpreter, text)
    try:
        counts = interpreter.run(parse(_tokens(code)))
        doubt = next(iter(interpreter.course.doubts), _DEPENDS) if counts is None else ""
    except (LuaError, UnsureError) as error:
        counts, doubt = None, str(error)
    except RecursionError:
        counts, doubt = None, "its Lua is too deep to be followed"
    if counts is not True:
        hidden = _hidden(code, before) or (_DYNAMIC if interpreter.course.dynamic else "")
        counts, doubt = (None, doubt or hidden) if hidden else (False, "")
    return Effect(counts, doubt, frozenset(interpreter.course.modules), frozenset(interpreter.course.files))


def _hidden(code: str, before: tuple[str, ...]) -> str:
    """Return the reason why a call of ours may hide in the code, "" if none can."""
    own = reach(code)
    if own.doubt or own.ours:
        return f"it {own.doubt}" if own.doubt else _NOT_SEEN
    return _GLOBALS if own.shared and any(reach(text).ours for text in before) else ""


def _begun(interpreter: Interpreter, text: str) -> Interpreter:
    """Follow code of ``init_by_lua``. Where it cannot be followed, nothing is known of what it and others left."""
    try:
        interpreter.begin(parse(_tokens(text)))
    except (LuaError, UnsureError, RecursionError):
        return Interpreter()
    return interpreter


def _tokens(code: str) -> list[Token]:
    if len(code) > LONGEST:
        raise UnsureError(f"it {TOO_LARGE}")
    return tokens(code)

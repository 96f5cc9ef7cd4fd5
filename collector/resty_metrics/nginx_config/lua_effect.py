"""Decide whether Lua code calls ``log`` of our module, by following what the code does. Pure.

Rules:
- The answer is True where each way through the code makes the call, False where none does, else None.
- A branch whose condition is not known is followed both ways. A function is followed where it is called. Code of other
  files is not followed: ``modules`` and ``files`` name it.
- Code of others is taken to return, and not to call a function that it was not given.
"""

from dataclasses import dataclass
from functools import lru_cache

from resty_metrics.nginx_config.lua_course import UnsureError
from resty_metrics.nginx_config.lua_interpreter import Interpreter
from resty_metrics.nginx_config.lua_tokens import LuaError, Token, tokens
from resty_metrics.nginx_config.lua_tree import parse

_LONGEST = 200_000  # characters
_DEPENDS = "whether it calls ours depends on a condition"
_WORD = "metrics"


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
    unclear = "".join(_begun(interpreter, text) for text in before)
    try:
        counts = interpreter.run(parse(_tokens(code)))
        doubt = next(iter(interpreter.course.doubts), _DEPENDS) if counts is None else ""
    except (LuaError, UnsureError) as error:
        counts, doubt = None, str(error)
    except RecursionError:
        counts, doubt = None, "its Lua is too deep to be followed"
    if counts is None and not interpreter.course.dynamic and not any(map(_mentions, (code, *before))):
        counts, doubt = False, ""
    if counts is False and unclear:
        counts, doubt = None, unclear
    return Effect(counts, doubt, frozenset(interpreter.course.modules), frozenset(interpreter.course.files))


def _begun(interpreter: Interpreter, text: str) -> str:
    """Follow code of ``init_by_lua``; return the reason why it may be ours that the hook uses of it, "" if none."""
    try:
        interpreter.begin(parse(_tokens(text)))
    except (LuaError, UnsureError, RecursionError):
        return "init_by_lua has code that cannot be followed, and names resty.metrics" if _mentions(text) else ""
    return ""


def _tokens(code: str) -> list[Token]:
    if len(code) > _LONGEST:
        raise UnsureError("its Lua is too long to be followed")
    return tokens(code)


def _mentions(code: str) -> bool:
    """Return whether a string in the code has a part of our module's name; True where the code cannot be read."""
    try:
        return any(token.kind == "string" and _WORD in token.text for token in _tokens(code))
    except (LuaError, UnsureError):
        return True

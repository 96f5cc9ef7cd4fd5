"""Decide whether Lua code calls ``log`` of our module, by following what the code does. Pure.

Rules:
- The answer is True where each way through the code makes the call, False where none does, else None.
- A branch whose condition is not known is followed both ways. A function is followed where it is called. Code of other
  files is not followed: ``modules`` and ``files`` name it.
- Code of others is taken to return, and not to call a function that it was not given.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from resty_metrics.nginx_config.lua_interpreter import Interpreter, UnsureError
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
def effect(code: str) -> Effect:
    """Decide about a chunk."""
    if len(code) > _LONGEST:
        return Effect(None, "its Lua is too long to be followed")
    try:
        found = tokens(code)
    except LuaError as error:
        return Effect(None, str(error))
    interpreter = Interpreter()
    counts, doubt = _followed(interpreter, found)
    if counts is None and not interpreter.dynamic and not _mentions(found):
        counts, doubt = False, ""
    return Effect(counts, doubt, frozenset(interpreter.modules), frozenset(interpreter.files))


def _followed(interpreter: Interpreter, found: list[Token]) -> tuple[bool | None, str]:
    try:
        counts = interpreter.run(parse(found))
    except (LuaError, UnsureError) as error:
        return None, str(error)
    except RecursionError:
        return None, "its Lua is too deep to be followed"
    doubts = interpreter.doubts or [_DEPENDS]
    return counts, doubts[0] if counts is None else ""


def _mentions(found: Iterable[Token]) -> bool:
    return any(token.kind == "string" and _WORD in token.text for token in found)

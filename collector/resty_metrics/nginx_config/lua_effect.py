"""Decide whether Lua code calls ``log`` of our module, by following what the code does. Pure.

Rules:
- The answer is True where each way through the code makes the call. It is False only where no code that may run makes
  it: code behind a ``return`` does not run, and a text is no call. Else it is None.
- A call may hide where code is not followed: behind a function in a table or a metatable, in code that is loaded from a
  text, in a variable that ``init_by_lua`` set, in a function of Lua or nginx that it replaced.
- A branch whose condition is not known is followed both ways. A function is followed where it is called. Code of other
  files is not followed: ``modules`` and ``files`` name it.
- Code of others is taken to return, and not to call a function that it was not given.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

from resty_metrics.nginx_config.lua_course import UnsureError
from resty_metrics.nginx_config.lua_interpreter import Interpreter
from resty_metrics.nginx_config.lua_reach import LONGEST, TOO_LARGE, Reach, meet, of_nodes, reach
from resty_metrics.nginx_config.lua_tokens import LuaError, Token, tokens
from resty_metrics.nginx_config.lua_tree import parse

_DYNAMIC = "it loads code whose name is not known"
_CONTEXT = "it calls a function of ngx.ctx, which code of another phase may have put there"
_DEPENDS = "whether it calls ours depends on a condition"
_NOT_SEEN = "it names resty.metrics, and no call of log is seen"
_GLOBALS = "it uses global variables, and init_by_lua names resty.metrics"


@dataclass(frozen=True, slots=True)
class Effect:
    """The answer for one chunk.

    ``doubt``: the reason of None, in words; ``reach``: the other code and the variables that it uses.
    """

    counts: bool | None
    doubt: str
    reach: Reach


@lru_cache(maxsize=256)
def effect(code: str, *before: str) -> Effect:
    """Decide about a chunk. ``before``: chunks that ran in the same Lua machine, and may have set global variables."""
    interpreter = Interpreter()
    for text in before:
        interpreter = _begun(interpreter, text)
    course = interpreter.course
    try:
        counts = interpreter.run(parse(_tokens(code)))
        doubt = next(iter(course.doubts), _DEPENDS) if counts is None else ""
    except (LuaError, UnsureError) as error:
        counts, doubt, course.guessed = None, str(error), True
    except RecursionError:
        counts, doubt, course.guessed = None, "its Lua is too deep to be followed", True
    own = reach(code) if course.guessed else of_nodes(course.live.values(), course.free)
    modules = own.modules | course.modules
    own = replace(own, modules=modules, files=own.files | course.files, uses=own.uses | modules)
    if counts is not True:
        unseen = counts is None or course.guessed or course.escaped
        hidden = _hidden(own, unseen=unseen, before=before) or (
            _DYNAMIC if course.dynamic else _CONTEXT if course.context else ""
        )
        counts, doubt = (None, doubt or hidden) if hidden else (False, "")
    return Effect(counts, doubt, own)


def _hidden(own: Reach, *, unseen: bool, before: tuple[str, ...]) -> str:
    """Return the reason why a call of ours may hide, "" if none can. ``unseen``: not all calls were followed."""
    if own.doubt:
        return f"it {own.doubt}"
    if own.ours and unseen:
        return _NOT_SEEN
    begun = [reach(text) for text in before]
    uses_theirs = own.shared or any(meet(code.changes, own.uses) for code in begun)
    return _GLOBALS if uses_theirs and any(code.ours or code.doubt for code in begun) else ""


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

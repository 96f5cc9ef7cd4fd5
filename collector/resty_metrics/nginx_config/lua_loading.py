"""The other Lua code that a hook leads to: modules and files that it loads, and those that these load in turn. Pure.

Rules:
- None of that code is followed. Code that names resty.metrics may call us.
- Code whose text was not found may call us, and may replace any function of Lua or nginx. Libraries of known names are
  taken to do neither.
"""

import re
from collections.abc import Callable, Sequence

from resty_metrics.nginx_config.lua_reach import ALL, Reach, is_ours, meet, reach

# LuaJIT's, those of OpenResty's bundle, and a few others. Anybody may name a module of his own "resty.something".
_LIBRARIES = re.compile(
    r"(?:resty\.(?:aes|core|dns|limit|lock|lrucache|md5|memcached|mysql|random|redis|sha\d*|shell|signal|string"
    r"|tablepool|upload|upstream|websocket)|ngx|cjson|table|string|math|ffi|bit|jit|lfs|socket|prometheus|os|io)(?:\.|\Z)"
)
_OUR_FILE = re.compile(r"(?:\A|/)resty/metrics/\w+\.lua\Z")
_MISSING = "missing"

TextOf = Callable[[str, bool], str | None]  # of a module (True) or file (False) by its name; None: it was not found


def of_init(texts: Sequence[str], text_of: TextOf) -> Reach:
    """Return what the code of ``init_by_lua`` leads to, with its own names and doubts."""
    chunks = [reach(text) for text in texts]
    doubts = (chunk.doubt or ("names resty.metrics" if chunk.ours else "") for chunk in chunks)
    return _loaded(chunks, text_of, [doubt for doubt in doubts if doubt])


def doubt(own: Reach, init: Reach, text_of: TextOf) -> str:
    """Return why code that does not call ours itself may do so through other code; "" if it cannot."""
    loaded = _loaded([own], text_of, [])
    if loaded.doubt:
        return f"it {loaded.doubt}"
    uses_theirs = own.shared or loaded.shared or meet(init.changes, own.uses | loaded.uses)
    if init.doubt and (uses_theirs or loaded.modules & init.modules):
        return f"it uses variables or modules that init_by_lua may have changed, and init_by_lua {init.doubt}"
    return ""


def _loaded(roots: Sequence[Reach], text_of: TextOf, doubts: Sequence[str]) -> Reach:
    """Return what the other code of some chunks leads to.

    ``doubt``: the first reason why it may call ours; ``changes``: those of the chunks too; ``modules``: all modules,
    without libraries.
    """
    pending = [code for root in roots for code in _named(root)]
    queued, reasons = set(pending), list(doubts)
    shared, uses = False, frozenset[str]()
    changes = frozenset[str]().union(*(root.changes for root in roots))
    for name, module in pending:
        loads = _read(name, module, text_of)
        if loads is None:
            continue
        library = module and _LIBRARIES.match(name) is not None
        changes |= loads.changes
        if loads.ours or (loads.doubt and not library):
            reasons.append(_because(name, module, "names resty.metrics" if loads.ours else loads.doubt))
        if not library:
            shared, uses = shared or loads.shared, uses | loads.uses
            more = [code for code in _named(loads) if code not in queued]
            queued.update(more)
            pending += more
    modules = frozenset(name for name, module in pending if module and not _LIBRARIES.match(name))
    return Reach(False, shared, modules, doubt=next(iter(reasons), ""), uses=uses, changes=changes)


def _read(name: str, module: bool, text_of: TextOf) -> Reach | None:
    """Read a module or a file; None: it is ours, or a library that was not found."""
    text = text_of(name, module)
    if is_ours(name) if module else _OUR_FILE.search(name):
        return None
    if text is not None:
        return reach(text)
    return None if module and _LIBRARIES.match(name) else Reach(ours=False, changes=ALL, doubt=_MISSING)


def _named(code: Reach) -> list[tuple[str, bool]]:
    """Return the modules and files that code loads, with True for a module."""
    return [(name, True) for name in sorted(code.modules)] + [(path, False) for path in sorted(code.files)]


def _because(name: str, module: bool, words: str) -> str:
    """Return why code of this name may call ours."""
    if words == _MISSING:
        words = "whose file was not found" if module else "which cannot be read from here"
    else:
        words = f"which {words}"
    return f"uses the module {name}, {words}" if module else f"runs {name}, {words}"

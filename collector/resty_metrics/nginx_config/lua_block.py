"""Lua inside nginx's configuration: find the end of a ``*_by_lua_block``, and separate code from comments.

Source: lua-nginx-module's ngx_http_lua_lex.rl (comments, quotes and long brackets hide braces). crossplane's own reader
of Lua blocks knows no long brackets and not all directives; this one is registered in its place.
"""

import re
from collections.abc import Iterable, Iterator

from crossplane.lexer import register_external_lexer  # type: ignore[import-untyped]

Token = tuple[str, int, bool]  # text, line, whether it was quoted

DIRECTIVES = tuple(
    f"{phase}_by_lua_block"
    for phase in (
        "access", "balancer", "body_filter", "content", "exit_worker", "header_filter", "init", "init_worker", "log",
        "precontent", "preread", "proxy_ssl_certificate", "proxy_ssl_verify", "rewrite", "server_rewrite", "set",
        "ssl_certificate", "ssl_client_hello", "ssl_session_fetch", "ssl_session_store",
    )
)  # fmt: skip

_LINE_COMMENT = "\n"
_TAIL = 64  # characters to look back at; no long bracket has more equal signs
_LONG = re.compile(r"\[(=*)\[\Z")
_LONG_AT_START = re.compile(r"--\[(=*)\[\Z")
_PIECE = re.compile(
    r"""
    --\[(?P<comment>=*)\[ .*? (?:\](?P=comment)\] | \Z)
    | --[^\n]*
    | (?P<kept> "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \[(?P<string>=*)\[ .*? (?:\](?P=string)\] | \Z) )
    """,
    re.DOTALL | re.VERBOSE,
)


def without_comments(code: str) -> str:
    """Return the code without comments: a line of ours that is commented out does not count."""
    return _PIECE.sub(lambda match: match["kept"] or " ", code)


def _opened(code: str) -> str | None:
    """Return the end mark of the string or comment that begins at the end of ``code``; None where none begins."""
    if code[-1:] in ('"', "'"):
        return code[-1]
    if code.endswith("--"):
        return _LINE_COMMENT
    long = _LONG.search(code)
    return None if long is None else f"]{long[1]}]"


def _still(closing: str, code: str) -> str:
    """Return the end mark to wait for. A comment proves to be a long one only when its bracket is complete."""
    long = _LONG_AT_START.search(code) if closing == _LINE_COMMENT else None
    return closing if long is None else f"]{long[1]}]"


def read_block(characters: Iterable[str]) -> str:
    """Read the code up to the brace that closes the block, and consume that brace.

    ``characters`` begin behind the opening brace. Raises ValueError where they end before that.
    """
    code: list[str] = []
    tail, depth = "", 0
    closing: str | None = None
    escaped = False
    for character in characters:
        if closing is None and character == "}" and depth == 0:
            break
        code.append(character)
        tail = tail[-_TAIL:] + character
        if escaped:
            escaped = False
        elif closing is None:
            depth += (character == "{") - (character == "}")
            closing = _opened(tail)
        elif closing in ('"', "'") and character == "\\":
            escaped = True
        elif tail.endswith(closing):
            closing, tail = None, ""
        else:
            closing = _still(closing, tail)
    else:
        raise ValueError("a Lua block has no end")
    return "".join(code)


class _Position:
    """crossplane's characters (an escape and what it escapes come as one), single, with the line of the last."""

    def __init__(self, pairs: Iterator[tuple[str, int]]) -> None:
        self.line = 0
        self._pairs = pairs

    def __iter__(self) -> Iterator[str]:
        for text, line in self._pairs:
            self.line = line
            yield from text


def _before_brace(characters: Iterable[str]) -> str:
    """Read up to the opening brace, and consume it. A comment of nginx may stand before it, with braces of its own."""
    before, in_comment = " ", False
    for character in characters:
        if in_comment:
            in_comment = character != "\n"
        elif character == "#" and before[-1].isspace():
            in_comment = True
        elif character == "{":
            break
        else:
            before += character
    return before


def lex(pairs: Iterator[tuple[str, int]], directive: str) -> Iterator[Token]:
    """Extend crossplane: yield the block's code as one quoted token, then the end of the directive."""
    position = _Position(pairs)
    characters = iter(position)
    for word in _before_brace(characters).split():  # set_by_lua_block alone has an argument
        yield word, position.line, False
    yield read_block(characters), position.line, True
    yield ";", position.line, False


def register() -> None:
    """Make crossplane read Lua blocks this way, in this process."""
    register_external_lexer(directives=DIRECTIVES, lexer=lex)

"""The tokens of Lua code, as LuaJIT reads them. Pure.

Source: LuaJIT's src/lj_lex.c. A keyword and an operator are both ``symbol``; a string is decoded.
"""

import re
from typing import NamedTuple

KEYWORDS = frozenset({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
})  # fmt: skip
# What is not closed has one way to match, so that the time grows with the length alone.
_TOKEN = re.compile(
    r"""
    (?P<gap> \s+ | --\[(?P<comment>=*)\[ .*? \](?P=comment)\] | --(?!\[=*\[)[^\n]* )
    | (?P<name> [^\W\d][\w\u0080-\U0010ffff]* | [\u0080-\U0010ffff][\w\u0080-\U0010ffff]* )
    | (?P<number> 0[xX][0-9a-fA-F.]+(?:[pP][+-]?\d+)?\w* | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\w* )
    | (?P<short> "(?:\\z\s*(?!\s)|\\[^z]|[^"\\\n])*" | '(?:\\z\s*(?!\s)|\\[^z]|[^'\\\n])*' )
    | \[(?P<level>=*)\[ (?P<long> .*? ) \](?P=level)\]
    | (?!(?:--)?\[=*\[) (?P<symbol> \.\.\. | \.\. | == | ~= | <= | >= | :: | [-+*/%^\#=<>;:,.(){}\[\]] )
    """,
    re.ASCII | re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(
    r"\\(?:z\s*|x(?P<hex>[0-9a-fA-F]{2})|(?P<decimal>\d{1,3})|u\{(?P<code>[0-9a-fA-F]{1,6})\}|(.))",
    re.ASCII | re.DOTALL,
)
_CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_CHARACTER = 0x10FFFF


class LuaError(Exception):
    """Code that this reader does not understand; the message says why, in words that follow its file's name.

    ``limit``: LuaJIT may take it.
    """

    def __init__(self, words: str, *, limit: bool = False) -> None:
        super().__init__(words)
        self.limit = limit


class Token(NamedTuple):
    """A token. ``kind``: name, number, string, symbol or end; ``first``: on its line."""

    kind: str
    text: str
    first: bool = False


END = Token("end", "")


def tokens(code: str) -> list[Token]:
    """Return the tokens of a chunk, with END as the last. Raises LuaError."""
    if code.startswith("\x1b"):
        raise LuaError("it is bytecode")
    at = code.find("\n") if code.startswith("#") else 0  # the first line of a script
    chunk: list[Token] = []
    end = at
    while 0 <= at < len(code):
        match = _TOKEN.match(code, at)
        if match is None:
            raise LuaError("its Lua cannot be parsed")
        token = _token(match)
        if token is not None:
            chunk.append(token._replace(first="\n" in code[end : match.start()]))
            end = match.end()
        at = match.end()
    return [*chunk, END]


def _token(match: re.Match[str]) -> Token | None:
    if match["gap"] is not None:
        return None
    if match["name"] is not None:
        return Token("symbol" if match["name"] in KEYWORDS else "name", match["name"])
    if match["short"] is not None:
        return Token("string", _ESCAPE.sub(_unescaped, match["short"][1:-1]))
    if match["long"] is not None:
        return Token("string", match["long"].removeprefix("\r").removeprefix("\n"))
    return Token("symbol", match["symbol"]) if match["number"] is None else Token("number", match["number"])


def _unescaped(match: re.Match[str]) -> str:
    number = match["hex"] or match["code"]
    if number is not None or match["decimal"] is not None:
        code = int(number, 16) if number is not None else int(match["decimal"])
        return chr(code) if code <= _LAST_CHARACTER else ""
    return "" if match[4] is None else _CONTROLS.get(match[4], match[4])

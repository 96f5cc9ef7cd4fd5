"""An addition of ours in a file that another tool has written anew: other blanks, line ends or quotes. Pure."""

import re
from collections.abc import Iterator

from resty_metrics.nginx_config.dump import Configuration

_STATEMENT = re.compile(r"[^;{}]+(?:\{[^{}]*\}|;)")
_PIECE = re.compile(r"[{};]|[^\s{};]+")
_MARKS = "{};"


def without(text: str, added: str) -> str:
    """Return a text without the statements that were added, where each is found exactly once outside of comments."""
    for statement in _STATEMENT.findall(added):
        found = [one for one in re.finditer(_pattern(statement), text) if not _in_comment(text, one.start())]
        if len(found) == 1:
            text = _cut(text, found[0].start(), found[0].end())
    return text


def places(configuration: Configuration, path: str, share: str) -> list[str]:
    """Return the places in a file that include files of the directory."""
    mine = (one for one in configuration.includes if one.file == path and one.pattern.startswith(f"{share}/"))
    return list(dict.fromkeys(one.place for one in mine))


def _pattern(statement: str) -> str:
    return "".join(_pieces(_PIECE.findall(statement)))


def _pieces(pieces: list[str]) -> Iterator[str]:
    yield r"(?<![^\s;{}])"
    for before, piece in zip(["", *pieces], pieces, strict=False):
        if before:
            yield r"\s*" if before in _MARKS or piece in _MARKS else r"\s+"
        yield re.escape(piece) if piece in _MARKS else rf"[\"']?{re.escape(piece)}[\"']?"


def _in_comment(text: str, at: int) -> bool:
    return "#" in text[text.rfind("\n", 0, at) + 1 : at]


def _cut(text: str, start: int, end: int) -> str:
    """Cut a piece, and its lines where nothing else is on them."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last + 1
    if text[first:start].strip() or text[end:last].strip():
        return text[:start] + text[end:]
    return text[:first] + text[last:]

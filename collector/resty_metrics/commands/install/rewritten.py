"""Lines of ours in a file that another tool wrote in another form: other blanks, line ends or quotes. Pure.

Rules:
- A line of ours is a statement of nginx, or a block with everything in it, at any depth. Two texts are the same
  statement if their tokens are the same: words without their quotes, and the characters that divide words.
- The rest of the file is not divided into tokens: a Lua block there may have quotes and braces that nginx does not see.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from resty_metrics.nginx_config.directive import Directive
from resty_metrics.nginx_config.dump import Configuration, read
from resty_metrics.nginx_config.hooks import directives

# Divide words also without blanks, in Lua too: ``dofile("/x").init_worker {socket="/y"}``.
_DIVIDING = "{};()=,"
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|[{};()=,]|[^\s{};()=,"\']+', re.ASCII | re.DOTALL)
_QUOTES = "\"'"


def without(text: str, added: str) -> str:
    """Return a text without the statements that were added, where each is found exactly once outside of comments.

    Both are of one character a byte, so that no byte of another encoding looks like a blank.
    """
    for statement in _statements(added):
        matches = re.finditer(_pattern(statement), text, re.ASCII)
        places = [match for match in matches if not _in_comment(text, match.start())]
        if len(places) == 1:
            text = _cut(text, places[0].start(), places[0].end())
    return text


def contains(added: str, text: str) -> bool:
    """Return whether the tokens of ``text``, a word or the code of a block, stand in what was added."""
    whole, part = _tokens(added), _tokens(text)
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))


def places_left(configuration: Configuration, path: str, share: str, after: str) -> list[str]:
    """Return the places in a file that name files of the directory, and still would in the text ``after``.

    Raises ConfigurationError where that text is no configuration.
    """
    mark = f"# configuration file {path}:\n"
    left = Counter(text for text, _ in _uses(read(f"{mark}{after}\n"), path, share))
    return list(dict.fromkeys(place for text, place in _uses(configuration, path, share) if left[text]))


def _uses(configuration: Configuration, path: str, share: str) -> Iterator[tuple[str, str]]:
    """Yield each text in a file that names the directory, and its place."""
    for include in configuration.includes:
        if include.file == path and include.pattern.startswith(f"{share}/"):
            yield include.pattern, include.place
    for directive in directives(configuration.directives):
        if directive.file == path and _names(directive, share):
            yield " ".join((directive.name, *directive.args)), directive.place


def _names(directive: Directive, share: str) -> bool:
    return any(f"{share}/" in word for word in directive.args)


def _tokens(text: str) -> list[str]:
    return [token.strip(_QUOTES) for token in _TOKEN.findall(text)]


def _statements(text: str) -> Iterator[list[str]]:
    """Yield the tokens of each statement of the outermost level."""
    statement: list[str] = []
    depth = 0
    for token in _TOKEN.findall(text):
        statement.append(token)
        depth += (token == "{") - (token == "}")
        if depth == 0 and token in ("}", ";"):
            yield statement
            statement = []


def _pattern(statement: Sequence[str]) -> str:
    return r"(?<![^\s;{}])" + "".join(_pieces(statement))


def _pieces(statement: Sequence[str]) -> Iterator[str]:
    for before, token in zip(["", *statement], statement, strict=False):
        if before:
            yield r"\s*" if before in _DIVIDING or token in _DIVIDING else r"\s+"
        yield re.escape(token) if token in _DIVIDING else rf"[\"']?{re.escape(token.strip(_QUOTES))}[\"']?"


def _in_comment(text: str, at: int) -> bool:
    return "#" in text[text.rfind("\n", 0, at) + 1 : at]


def _cut(text: str, start: int, end: int) -> str:
    """Cut a piece, and its lines where nothing else is on them."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    last = len(text) if last < 0 else last + 1
    if text[first:start].strip() or text[end:last].strip():
        return text[:start] + text[end:]
    return text[:first] + text[last:]

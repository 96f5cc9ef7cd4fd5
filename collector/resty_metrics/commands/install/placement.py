"""The place of the include: a file of its own where ``http{}`` includes a directory, else a line behind ``http {``.

Rules:
- A file of its own is used only where exactly one include names it, and that include is in ``http{}``: Debian's
  ``include /etc/nginx/conf.d/*.conf;``.
- A line is added to the text as it is, byte by byte. The result is parsed again and must be the same configuration with
  our include in ``http{}``; otherwise nothing is changed and a person has to do it.
- The order in ``http{}`` does not matter: nginx merges ``http`` into its servers after reading all of it. The include
  has no ``map``, since nginx fixes ``map_hash_bucket_size`` and ``map_hash_max_size`` at the first one.
  ``upstreams.conf`` has one, so it is added where ``precedes`` allows.

Source: nginx's src/http/ngx_http.c (``ngx_http_block``, ``ngx_http_merge_servers``) and
src/http/modules/ngx_http_map_module.c (``ngx_http_map_block``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.dump import Configuration, ConfigurationError, Directive, read

FILE_NAME = "resty-metrics.conf"
HEADER = "# Written by resty-metrics install; resty-metrics uninstall removes it."
INDENT = "    "
_WILDCARD = re.compile(r"[*?\[]")
_OPENING = re.compile(r"(?<![^\s;{}])http(?:\s|#[^\n]*\n)*\{")
_ONLY_A_COMMENT = re.compile(r"[ \t]*(?:#[^\n]*?)?(?P<end>\r?\n)")


@dataclass(frozen=True, slots=True)
class Line:
    """The place of the ``http`` directive."""

    file: str
    line: int


def files(configuration: Configuration) -> list[str]:
    """Return the paths that a file of ours may have, best first."""
    paths = []
    for include in configuration.includes:
        pattern = PurePosixPath(include.pattern)
        path = str(pattern.parent / FILE_NAME)
        of_a_directory = _WILDCARD.search(pattern.name) and not _WILDCARD.search(str(pattern.parent))
        alone = [other_include for other_include in configuration.includes if other_include.names(path)] == [include]
        if include.context == ("http",) and of_a_directory and pattern.name.endswith(".conf") and alone:
            paths.append(path)
    return paths


def precedes(configuration: Configuration, directive: Directive, own_file: str) -> bool:
    """Return whether nginx surely reads a directive before a file of ours at this path."""
    include = next((candidate for candidate in configuration.includes if candidate.names(own_file)), None)
    if include is None:
        return False
    if directive.file == include.file:
        return directive.line < include.line
    return include.names(directive.file) and directive.file < own_file


def line(configuration: Configuration) -> Line | None:
    """Return the place of ``http``; None where there is no ``http{}``."""
    blocks = configuration.blocks("http")
    return Line(blocks[0].file, blocks[0].line) if blocks else None


def own_file(statements: Sequence[str]) -> bytes:
    """Return the text of a file of ours."""
    return "".join(f"{statement}\n" for statement in (HEADER, *statements)).encode("utf-8", "surrogateescape")


def added(text: bytes, place: Line, statements: Sequence[str]) -> tuple[bytes, bytes]:
    """Return the file with the statements behind ``http {``, and the text that was added. Raises RefusedError."""
    characters = text.decode("latin-1")
    statements = [statement.encode("utf-8", "surrogateescape").decode("latin-1") for statement in statements]
    start = _start_of(characters, place.line)
    opening = _OPENING.search(characters, start)
    if opening is None or characters.count("\n", start, opening.start()) > 0:
        raise _by_hand(place, statements)
    at, piece = _piece(characters, opening.end(), statements)
    new = characters[:at] + piece + characters[at:]
    if not _same_but_for(statements, place.file, characters, new):
        raise _by_hand(place, statements)
    return new.encode("latin-1"), piece.encode("latin-1")


def _start_of(text: str, line: int) -> int:
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return start


def _piece(text: str, brace: int, statements: Sequence[str]) -> tuple[int, str]:
    """Return the place and the text to add.

    The text has lines of its own below the brace's line if only a comment follows the brace there; else it goes on that
    line.
    """
    rest = _ONLY_A_COMMENT.match(text, brace)
    if rest is None:
        return brace, "".join(f" {statement}" for statement in statements)
    return rest.end(), "".join(f"{INDENT}{statement}{rest['end']}" for statement in statements)


def _by_hand(place: Line, statements: Sequence[str]) -> RefusedError:
    return RefusedError(
        f"{place.file}:{place.line}: cannot tell where http{{}} begins. Add after its opening brace, "
        f"and run this again: {' '.join(statements)}"
    )


def _same_but_for(statements: Sequence[str], file: str, before: str, after: str) -> bool:
    """Return whether ``after`` is ``before`` with the statements at the beginning of ``http{}``."""
    try:
        old, new, ours = (_read(file, text) for text in (before, after, f"http {{ {' '.join(statements)} }}"))
    except ConfigurationError:
        return False
    http, added_block = new.blocks("http"), ours.blocks("http")[0].block or ()
    if len(http) != 1 or _shape((http[0].block or ())[: len(added_block)]) != _shape(added_block):
        return False
    rest = [
        directive if directive is not http[0] else _without(directive, len(added_block)) for directive in new.directives
    ]
    included = [(include.pattern, include.context) for include in (*ours.includes, *old.includes)]
    return _shape(rest) == _shape(old.directives) and sorted(included) == sorted(
        (include.pattern, include.context) for include in new.includes
    )


def _read(file: str, text: str) -> Configuration:
    return read(f"# configuration file {file}:\n{text}\n")


def _without(block: Directive, first: int) -> Directive:
    return Directive(block.name, block.args, block.file, block.line, (block.block or ())[first:])


def _shape(block: Sequence[Directive]) -> list[object]:
    return [
        (directive.name, directive.args, None if directive.block is None else _shape(directive.block))
        for directive in block
    ]

"""The output of ``nginx -T`` as one tree, includes put in their places. Pure.

Rules:
- What nginx showed is judged, never the files on disk, which may be newer or in another mount namespace.
- Every directive knows its file and line.
- A path is absolute here. Bytes that are not UTF-8 are surrogates (``surrogateescape``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import crossplane  # type: ignore[import-untyped]

from resty_metrics.nginx_config import lua_block, marks
from resty_metrics.nginx_config.directive import ConfigurationError, Directive, Include
from resty_metrics.nginx_config.text import narrow, wide

__all__ = ["Configuration", "ConfigurationError", "Directive", "Include", "read"]

# crossplane finds its extensions only before a blank; nginx needs no blank before the brace.
_TIGHT_BLOCK = re.compile(r"(_by_lua_block)\{")
_DEEPEST = 32

Block = tuple[Directive, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration that nginx read.

    ``main_file``: the first file; ``includes``: each ``include`` that was replaced.
    """

    main_file: str
    directives: Block
    includes: tuple[Include, ...] = ()

    def blocks(self, name: str) -> list[Directive]:
        """Return the blocks of the outermost level with this name."""
        return [directive for directive in self.directives if directive.name == name and directive.block is not None]


def read(dump: str, directory: str = "/") -> Configuration:
    """Parse a dump into a tree. ``directory``: where nginx's relative paths begin. Raises ConfigurationError."""
    lua_block.register()
    parsed = marks.files(dump, directory, _parse)
    main_file = next(iter(parsed))
    files = _Files(main_file, parsed, [])
    directives = files.resolved(parsed[main_file], ())
    return Configuration(main_file, directives, tuple(dict.fromkeys(files.includes)))


@dataclass(frozen=True, slots=True)
class _Files:
    """The parsed files. ``includes``: those that were replaced so far."""

    main_file: str
    parsed: Mapping[str, Block]
    includes: list[Include]

    def resolved(self, block: Block, context: tuple[str, ...], depth: int = 0) -> Block:
        """Return a block with its includes replaced."""
        directives: list[Directive] = []
        for directive in block:
            if depth > _DEEPEST:
                raise ConfigurationError(f"{directive.file}: blocks or includes more than {_DEEPEST} deep")
            if directive.name == "include" and directive.args:
                directives += self._included(directive, context, depth)
            elif directive.block is None:
                directives.append(directive)
            else:
                directives.append(
                    replace(directive, block=self.resolved(directive.block, (*context, directive.name), depth + 1))
                )
        return tuple(directives)

    def _included(self, directive: Directive, context: tuple[str, ...], depth: int) -> list[Directive]:
        directives: list[Directive] = []
        (include,) = marks.includes((directive,), self.main_file, context)
        self.includes.append(include)
        for path in self.parsed:
            if include.names(path):
                directives += self.resolved(self.parsed[path], context, depth + 1)
        return directives


def _parse(path: str, text: str) -> Block:
    try:
        payload = crossplane.parse_string(
            _TIGHT_BLOCK.sub(r"\1 {", narrow(text)), filename=path, single=True, check_ctx=False, check_args=False
        )
    except Exception as error:  # a third party's parser may raise anything
        raise ConfigurationError(f"{path}: {error}") from error
    if payload["errors"]:
        first = payload["errors"][0]
        raise ConfigurationError(f"{path}:{first.get('line') or '?'}: {first['error']}")
    return _block(payload["config"][0]["parsed"], path)


def _block(parsed: list[dict[str, Any]], path: str) -> Block:
    """Return the directives of a block. crossplane gives a comment among arguments as one more directive."""
    return tuple(_directive(entry, path) for entry in parsed if entry["directive"] != "#")


def _directive(parsed: dict[str, Any], path: str) -> Directive:
    block = _block(parsed["block"], path) if "block" in parsed else None
    return Directive(wide(parsed["directive"]), tuple(map(wide, parsed["args"])), path, parsed["line"], block)

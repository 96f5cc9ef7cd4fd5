"""The output of ``nginx -T`` as one tree, includes put in their places.

Source of the format: nginx's src/core/nginx.c (``ngx_dump_config``): for each file a line ``# configuration file
PATH:``, its bytes, an empty line. The first is the main file; a file that is included twice is shown once.

Rules:
- What nginx showed is judged, never the files on disk, which may be newer or in another mount namespace.
- Every directive knows its file and line.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

import crossplane  # type: ignore[import-untyped]

from resty_metrics.nginx_config import lua_block

_MARK = re.compile(r"^# configuration file (?P<path>/.*):$", re.MULTILINE)
# crossplane finds its extensions only before a blank; nginx needs no blank before the brace.
_TIGHT_BLOCK = re.compile(r"(_by_lua_block)\{")
_DEEPEST = 32


class ConfigurationError(Exception):
    """A dump that could not be read; the message names the place."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive. ``block`` None: it has none (the code of a Lua block is its last argument)."""

    name: str
    args: tuple[str, ...]
    file: str
    line: int
    block: "tuple[Directive, ...] | None" = None

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Include:
    """An ``include``.

    ``pattern``: the absolute pattern of files; ``context``: the blocks around it, outermost first.
    """

    pattern: str
    context: tuple[str, ...]
    file: str
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def names(self, path: str) -> bool:
        return path == self.pattern or _matches(PurePosixPath(path), PurePosixPath(self.pattern))


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration that nginx read.

    ``main_file``: the first file; ``includes``: each ``include`` that was replaced.
    """

    main_file: str
    directives: tuple[Directive, ...]
    includes: tuple[Include, ...] = ()

    def blocks(self, name: str) -> list[Directive]:
        """Return the blocks of the outermost level with this name."""
        return [one for one in self.directives if one.name == name and one.block is not None]


def split(dump: str) -> dict[str, str]:
    """Return texts by path, the main file first."""
    marks = list(_MARK.finditer(dump))
    ends = [*(mark.start() for mark in marks), len(dump)][1:]
    return {mark["path"]: dump[mark.end() + 1 : end] for mark, end in zip(marks, ends, strict=True)}


def read(dump: str) -> Configuration:
    """Parse a dump into a tree. Raises ConfigurationError."""
    lua_block.register()
    texts = split(dump)
    if not texts:
        raise ConfigurationError("nginx -T showed no configuration file")
    parsed = {path: _parse(path, text) for path, text in texts.items()}
    main_file = next(iter(texts))
    files = _Files(main_file, parsed, [])
    directives = _directives(parsed[main_file], main_file, files, ())
    return Configuration(main_file, directives, tuple(dict.fromkeys(files.includes)))


@dataclass(frozen=True, slots=True)
class _Files:
    main_file: str
    parsed: Mapping[str, list[dict[str, Any]]]
    includes: list[Include]

    def included(self, pattern: str, context: tuple[str, ...], file: str, line: int) -> list[str]:
        """Return the shown files that an include names, by path or pattern, relative to the main file's directory."""
        include = Include(str(PurePosixPath(self.main_file).parent / pattern), context, file, line)
        self.includes.append(include)
        return [path for path in self.parsed if include.names(path)]


def _matches(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    """Match as glob(3) does: a star matches neither a slash nor a leading dot."""
    if len(path.parts) != len(pattern.parts):
        return False
    return all(
        fnmatchcase(part, wanted) and (wanted.startswith(".") or not part.startswith("."))
        for part, wanted in zip(path.parts, pattern.parts, strict=True)
    )


def _parse(path: str, text: str) -> list[dict[str, Any]]:
    try:
        payload = crossplane.parse_string(
            _TIGHT_BLOCK.sub(r"\1 {", text), filename=path, single=True, check_ctx=False, check_args=False
        )
    except Exception as error:  # a third party's parser may raise anything
        raise ConfigurationError(f"{path}: {error}") from error
    if payload["errors"]:
        first = payload["errors"][0]
        raise ConfigurationError(f"{path}:{first.get('line') or '?'}: {first['error']}")
    parsed: list[dict[str, Any]] = payload["config"][0]["parsed"]
    return parsed


def _directives(
    parsed: list[dict[str, Any]], file: str, files: _Files, context: tuple[str, ...], depth: int = 0
) -> tuple[Directive, ...]:
    if depth > _DEEPEST:
        raise ConfigurationError(f"{file}: blocks or includes more than {_DEEPEST} deep")
    found: list[Directive] = []
    for one in parsed:
        name, args, line = one["directive"], tuple(one["args"]), one["line"]
        if name == "include" and args:
            for path in files.included(args[0], context, file, line):
                found.extend(_directives(files.parsed[path], path, files, context, depth + 1))
            continue
        block = None if "block" not in one else _directives(one["block"], file, files, (*context, name), depth + 1)
        found.append(Directive(name, args, file, line, block))
    return tuple(found)

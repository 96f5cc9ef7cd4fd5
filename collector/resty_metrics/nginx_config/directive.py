"""Directives of nginx, and the files that ``include`` names. Pure."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


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


def _matches(path: PurePosixPath, pattern: PurePosixPath) -> bool:
    """Match as glob(3) does: a star matches neither a slash nor a leading dot, and a backslash quotes a character."""
    if len(path.parts) != len(pattern.parts):
        return False
    return all(
        fnmatchcase(part, _ESCAPE.sub(r"[\1]", glob)) and (glob.startswith(".") or not part.startswith("."))
        for part, glob in zip(path.parts, pattern.parts, strict=True)
    )

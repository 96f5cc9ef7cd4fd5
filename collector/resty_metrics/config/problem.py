"""What is wrong with a configuration."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_USERINFO = re.compile(r"//\S*@")


def discreet(text: str) -> str:
    """Return ``text`` without what looks like user and password of a URL."""
    return _USERINFO.sub("//***@", text)


@dataclass(frozen=True, slots=True)
class Problem:
    """``line``: from 1; None: not of one line. ``key``: as in ``sources[0].url``; empty: not of one key."""

    line: int | None
    key: str
    words: str

    def text(self, file: str) -> str:
        """Return ``FILE:LINE: KEY: what to do``, as compilers have it."""
        where = file if self.line is None else f"{file}:{self.line}"
        return discreet(": ".join(part for part in (where, self.key, self.words) if part))


class ConfigError(Exception):
    """A configuration with problems: all that were found, in the order of the file's lines.

    ``file``: empty for what flags say. The text has a line for each problem.
    """

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.key)))
        super().__init__("\n".join(problem.text(file) for problem in self.problems))

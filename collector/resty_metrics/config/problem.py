"""The problems of a configuration."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_USERINFO = re.compile(r"//\S*@")


def discreet(text: str) -> str:
    """Return ``text`` with everything masked that looks like the user and password of a URL."""
    return _USERINFO.sub("//***@", text)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem. ``line``: from 1; None if it concerns no single line. ``words``: what to do.

    ``key``: for example ``sources[0].url``; empty if it concerns no single key.
    """

    line: int | None
    key: str
    words: str

    def text(self, file: str) -> str:
        """Return ``FILE:LINE: KEY: what to do``, the form of compilers' messages."""
        where = file if self.line is None else f"{file}:{self.line}"
        return discreet(": ".join(part for part in (where, self.key, self.words) if part))


class ConfigError(Exception):
    """The error of a configuration with problems: all of them, in the order of the file's lines.

    ``file``: empty if the problems are in the flags. The text has a line for each problem.
    """

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line or 0, problem.key)))
        super().__init__("\n".join(problem.text(file) for problem in self.problems))

"""YAML as text, mappings and lists, with the line of each key.

Rules:
- Scalars stay the text that was written: ``0660`` is a mode and not 432, ``on`` may be a name. The reader of a key
  decides what its text means, in the file as in a flag.
- A key without a value (``socket:``) counts as not given.
- A problem never quotes a value, which may be a secret.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from resty_metrics.config.problem import Problem

Path = tuple[str | int, ...]
MOST_VALUES = 100_000

_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # YAML can write these as escapes; no path and no name contains them
_QUOTED = re.compile(r"'[^']{2,}'")


@dataclass(slots=True)
class Document:
    """A document. ``tree``: str, dict or list; None if empty or invalid. ``lines``: of each key and item, from 1."""

    tree: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int | None:
        """Return the line of a key, or for a missing key that of the nearest key around it; None if there is none."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path)


def name_of(path: Path) -> str:
    """Return ``sources[0].url`` for ``("sources", 0, "url")``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def parse(text: str) -> Document:
    """Read YAML. Errors in it become problems of the document."""
    document = Document()
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            values = _Values(document)
            document.tree = values.of(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        words = _QUOTED.sub("something else", " ".join(filter(None, (error.context, error.problem))))
        document.problems.append(Problem(None if mark is None else mark.line + 1, "", f"invalid YAML: {words}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(Problem(line, "", "invalid YAML: it contains a character that cannot be printed"))
    except RecursionError:
        document.problems.append(Problem(None, "", "nested too deeply"))
    except OverflowError:
        document.problems.append(
            Problem(None, "", f"more than {MOST_VALUES} values (an alias counts as all that it stands for)")
        )
    return document


class _Values:
    """The conversion of nodes to values. Raises OverflowError if there are too many."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._remaining = MOST_VALUES

    def of(self, node: yaml.Node, path: Path) -> Any:
        self._remaining -= 1
        if self._remaining < 0:
            raise OverflowError
        self._document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.of(item, (*path, at)) for at, item in enumerate(node.value)]
        if _NO_TEXT.search(node.value):
            self._problem(node, path, "contains NUL or half of a surrogate pair: give text")
            return None
        return None if node.value == "" and node.start_mark.index == node.end_mark.index else node.value

    def _pairs(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, path, "a key must be a word, not a list or a mapping")
                continue
            name = key.value
            if _NO_TEXT.search(name):
                self._problem(key, path, "a key contains NUL or half of a surrogate pair")
                continue
            if name in first:
                self._problem(key, (*path, name), f"duplicate key, first given in line {first[name]}")
                continue
            first[name] = line
            self._document.lines[(*path, name)] = line
            read = self.of(value, (*path, name))
            if read is not None:
                yield name, read

    def _problem(self, node: yaml.Node, path: Path, words: str) -> None:
        self._document.problems.append(Problem(node.start_mark.line + 1, name_of(path), words))

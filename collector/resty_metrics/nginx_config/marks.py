"""Divide the output of ``nginx -T`` into files. Pure.

Source of the format: nginx's src/core/nginx.c (``ngx_dump_config``): for each file a line ``# configuration file
PATH:`` (a *mark*), its bytes, an empty line. The first is the main file; the others come in the order in which nginx
opened them, each once.

Rules:
- A comment in a file may look like a mark. A mark begins a file only where the text before it is complete, and where an
  ``include`` of a file that was shown before names its path.
- Of several marks with one path the last that can begin a file does, but one behind an empty line goes before others.
- Where the files would not be in the order in which nginx opens them, a mark among them is a comment.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from resty_metrics.nginx_config.directive import ConfigurationError, Directive, Include

_MARK = re.compile(r"^# configuration file (?P<path>.+):$", re.MULTILINE)
_MOST_TRIES = 64
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# More than a text includes: those in comments and strings too.
_INCLUDE = re.compile(r"\binclude\b(?P<words>[^;]*);")

Block = tuple[Directive, ...]
Parse = Callable[[str, str], Block]


def files(dump: str, directory: str, parse: Parse) -> dict[str, Block]:
    """Return the parsed files by absolute path, the main file first. Raises ConfigurationError.

    ``directory``: relative paths begin there; ``parse``: parses the text of a path.
    """
    marks = list(_MARK.finditer(dump))
    if not marks:
        raise ConfigurationError("nginx -T showed no configuration file")
    paths = [str(PurePosixPath(directory) / mark["path"]) for mark in marks]
    comments: set[int] = set()
    first: dict[str, Block] | None = None
    failure: ConfigurationError | None = None
    for _ in range(_MOST_TRIES):
        division = _Division(dump, marks, paths, comments)
        try:
            division.divide(parse)
        except ConfigurationError as error:
            failure, wrong = failure or error, division.replaceable()
        else:
            first, wrong = first or division.files, division.out_of_place()
            if not wrong:
                return division.files
        if not wrong:
            break
        comments |= wrong
    if first is None:
        raise failure or ConfigurationError("nginx -T showed no configuration file")
    return first


def includes(block: Block, main_file: str, context: tuple[str, ...] = ()) -> Iterator[Include]:
    """Yield the includes of a file. nginx looks for their files beside the main file."""
    for directive in block:
        if directive.name == "include" and directive.args:
            yield Include(_beside(main_file, directive.args[0]), context, directive.file, directive.line)
        yield from includes(directive.block or (), main_file, (*context, directive.name))


def _beside(main_file: str, pattern: str) -> str:
    return str(PurePosixPath(main_file).parent / pattern)


def _patterns(words: str) -> Iterator[str]:
    """Yield what may be the pattern of an include: all of its words, which quotes may hold together, or the last."""
    for pattern in {words, *words.split()[-1:]}:
        yield _ESCAPE.sub(r"\1", pattern.strip("\"'"))


class _Division:
    """A division of a dump into files. ``comments``: marks, by index, that are known to be comments."""

    def __init__(
        self, dump: str, marks: Sequence[re.Match[str]], paths: Sequence[str], comments: Collection[int]
    ) -> None:
        self.files: dict[str, Block] = {}
        self._dump, self._marks, self._paths = dump, marks, paths
        self._open = [at for at in range(1, len(paths)) if at not in comments and paths[at] != paths[0]]
        ranked = sorted(self._open, key=lambda at: (dump.endswith("\n\n", 0, marks[at].start()), at))
        self._chosen = {paths[at]: at for at in ranked}
        self._refused: set[int] = set()
        self._patterns: list[Include] = []

    def divide(self, parse: Parse) -> None:
        """Divide and parse. Raises ConfigurationError."""
        now, begin = self._paths[0], self._marks[0].end() + 1
        for at in sorted(self._chosen.values()):
            block = self._before(at, now, self._dump[begin : self._marks[at].start()], parse)
            if block is None:
                self._refused.add(at)
            else:
                self._add(now, block)
                now, begin = self._paths[at], self._marks[at].end() + 1
        self._add(now, parse(now, self._dump[begin:]))

    def _before(self, at: int, path: str, text: str, parse: Parse) -> Block | None:
        """Return the file before a mark; None where the mark begins no file."""
        patterns = (
            _beside(self._paths[0], pattern)
            for match in _INCLUDE.finditer(text)
            for pattern in _patterns(match["words"].strip())
        )
        if not self._named(at, (Include(pattern, (), path, 0) for pattern in patterns)):
            return None  # without parsing the text
        try:
            block = parse(path, text)
        except ConfigurationError:
            return None
        return block if self._named(at, includes(block, self._paths[0])) else None

    def _named(self, at: int, more: Iterator[Include]) -> bool:
        return any(include.names(self._paths[at]) for include in (*self._patterns, *more))

    def _add(self, path: str, block: Block) -> None:
        self.files[path] = block
        self._patterns += includes(block, self._paths[0])

    def replaceable(self) -> set[int]:
        """Return the last mark for whose path there is another one; empty where there is none."""
        repeated = {self._paths[at] for at in self._open if self._chosen[self._paths[at]] != at}
        return set(sorted(self._chosen[path] for path in repeated)[-1:])

    def out_of_place(self) -> set[int]:
        """Return marks that are comments, as the order of the files shows; empty where all is in order."""
        repeated = {self._paths[at] for at in self._open if self._chosen[self._paths[at]] != at}
        refused = {at for at in self._refused if self._paths[at] in repeated}
        pairs = zip(self.files, _opened(self.files), strict=False)
        early, late = next((pair for pair in pairs if pair[0] != pair[1]), (None, None))
        if refused or early is None or late is None:
            return refused
        return {self._chosen[late if late in repeated else early]}


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def _opened(parsed: Mapping[str, Block]) -> list[str]:
    """Return the paths in the order in which nginx opens them."""
    main_file = next(iter(parsed))
    order: dict[str, None] = {}

    def follow(path: str) -> None:
        if path in order:
            return
        order[path] = None
        for include in includes(parsed[path], main_file):
            for named in sorted((candidate for candidate in parsed if include.names(candidate)), key=_bytes):
                follow(named)

    follow(main_file)
    return list(order)

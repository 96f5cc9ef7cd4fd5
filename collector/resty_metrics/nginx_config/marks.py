"""Divide the output of ``nginx -T`` into files. Pure.

Source of the format: nginx's src/core/nginx.c (``ngx_dump_config``): for each file a line ``# configuration file
PATH:``, its bytes, an empty line. The first is the main file; the others come in the order in which nginx opened them,
each once.

Rules:
- A comment in a file may look like such a line. A line begins a file only where the text before it is complete, and
  where an ``include`` of a file that was shown before names its path.
- Where two lines name one path, the later one is tried first: the comment often stands in a file that is shown earlier.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import PurePosixPath

from resty_metrics.nginx_config.directive import ConfigurationError, Directive, Include

_MARK = re.compile(r"^# configuration file (?P<path>.+):$", re.MULTILINE)
_MOST_WAYS = 64

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
    ways = list(islice(_ways(paths), _MOST_WAYS))
    failure: ConfigurationError | None = None
    first: dict[str, Block] | None = None
    for way in ways:
        try:
            found = _divided(dump, marks, paths, way, parse)
        except ConfigurationError as error:
            failure = failure or error
            continue
        if len(ways) == 1 or list(_opened(found)) == list(found):
            return found
        first = first or found
    if first is None:
        raise failure or ConfigurationError("nginx -T showed no configuration file")
    return first


def includes(block: Block, main_file: str, context: tuple[str, ...] = ()) -> Iterator[Include]:
    """Yield the includes of a file. nginx looks for their files beside the main file."""
    for one in block:
        if one.name == "include" and one.args:
            pattern = str(PurePosixPath(main_file).parent / one.args[0])
            yield Include(pattern, context, one.file, one.line)
        yield from includes(one.block or (), main_file, (*context, one.name))


def _ways(paths: Sequence[str]) -> Iterator[Mapping[str, int]]:
    """Yield, for each path, the mark that may begin its file."""
    places: dict[str, list[int]] = {}
    for at, path in enumerate(paths):
        if path != paths[0]:
            places.setdefault(path, []).append(at)
    for chosen in product(*(reversed(one) for one in places.values())):
        yield dict(zip(places, chosen, strict=True))


def _divided(
    dump: str, marks: Sequence[re.Match[str]], paths: Sequence[str], way: Mapping[str, int], parse: Parse
) -> dict[str, Block]:
    main_file, now, begin = paths[0], paths[0], marks[0].end() + 1
    found: dict[str, Block] = {}
    patterns: list[Include] = []
    for at, mark in enumerate(marks[1:], 1):
        if way.get(paths[at]) != at:
            continue
        try:
            block = parse(now, dump[begin : mark.start()])
        except ConfigurationError:
            continue
        more = [*includes(block, main_file)]
        if any(one.names(paths[at]) for one in (*patterns, *more)):
            found[now] = block
            patterns += more
            now, begin = paths[at], mark.end() + 1
    found[now] = parse(now, dump[begin:])
    return found


def _opened(parsed: Mapping[str, Block]) -> dict[str, None]:
    """Return the paths in the order in which nginx opens them."""
    main_file = next(iter(parsed))
    order: dict[str, None] = {}

    def follow(path: str) -> None:
        if path in order:
            return
        order[path] = None
        for include in includes(parsed[path], main_file):
            for named in sorted(one for one in parsed if include.names(one)):
                follow(named)

    follow(main_file)
    return order

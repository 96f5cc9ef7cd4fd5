"""The command that started an nginx, taken from its master's title, so that ``-T`` reads the same configuration.

Source: nginx's src/os/unix/ngx_process_cycle.c (``ngx_master_process_cycle``): the master's title is ``nginx: master
process`` and its arguments, joined by blanks; the borders between them are lost.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

MASTER = "nginx: master process "
WORKER = "nginx: worker process"
PROGRAMS = frozenset({"nginx", "nginx-debug", "openresty"})
_FLAGS = "?hvVtTq"
_VALUES = "pcges"
_FOR_A_MOMENT = frozenset("?hvVtTs")  # with one of them nginx ends at once
_TAKES_VALUE = re.compile(rf"-[{_FLAGS}]*[{_VALUES}]")
_OPTION = re.compile(rf"-(?=.)(?P<flags>[{_FLAGS}]*)(?:(?P<letter>[{_VALUES}])(?P<value>.*))?", re.DOTALL)
_PREFIX = re.compile(rf"(?P<option>-[{_FLAGS}]*p)(?P<value>.*)", re.DOTALL)
_ERRORS = ("[emerg]", "[alert]", "[crit]")


def is_master(title: str) -> bool:
    return title.startswith(MASTER)


def serving(title: str) -> bool:
    """Return whether the title is that of a worker that is not shutting down."""
    return title.startswith(WORKER) and "shutting down" not in title


def of_master(title: str) -> list[str]:
    """Return the program and its arguments.

    A value extends to the next option: the value of ``-g daemon off;`` has a blank.
    """
    words: list[str] = []
    for word in title.removeprefix(MASTER).split():
        if len(words) > 2 and _TAKES_VALUE.fullmatch(words[-2]) and not _OPTION.fullmatch(word):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def reason(stderr: str) -> str:
    """Return the part of nginx's messages that says why it failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    grave = [line for line in lines if any(level in line for level in _ERRORS)]
    return "; ".join(grave or lines[-1:]) or "it said nothing"


def options(words: Sequence[str]) -> dict[str, str]:
    """Return the options by letter, with their values, as nginx reads them.

    Several letters may stand behind one dash; of an option that is given twice the later one holds. Source: nginx's
    src/core/nginx.c (``ngx_get_options``).
    """
    by_letter: dict[str, str] = {}
    programs = [at for at, word in enumerate(words) if PurePosixPath(word).name in PROGRAMS]
    rest = iter(words[(programs[-1] if programs else 0) + 1 :])
    for word in rest:
        match = _OPTION.fullmatch(word)
        if match is None:
            continue
        by_letter.update(dict.fromkeys(match["flags"], ""))
        value = match["value"] or (next(rest, None) if match["letter"] else None)
        if value is not None:
            by_letter[match["letter"]] = value
    return by_letter


def value_of(words: Sequence[str], option: str) -> str | None:
    """Return the value of ``-p`` or its like, as in ``-p /x``, ``-p/x``, ``-qp /x``; None where it is missing."""
    return options(words).get(option[1])


def stays(words: Sequence[str]) -> bool:
    """Return whether a command starts nginx, rather than tests its configuration or sends it a signal."""
    return not _FOR_A_MOMENT & options(words).keys()


def with_absolute_prefix(words: Sequence[str], directory: str) -> list[str]:
    """Return the command with its ``-p`` made absolute, so that it may run anywhere."""
    command = list(words)
    for at, word in enumerate(command[1:], 1):
        match = _PREFIX.fullmatch(word)
        if match is not None and match["value"]:
            command[at] = match["option"] + _absolute(match["value"], directory)
        elif match is not None and at + 1 < len(command):
            command[at + 1] = _absolute(command[at + 1], directory)
    return command


def _absolute(path: str, directory: str) -> str:
    return str(PurePosixPath(directory) / path)

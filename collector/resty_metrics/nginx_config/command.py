"""The command that started an nginx, taken from its master's title, so that ``-T`` reads the same configuration.

Source: nginx's src/os/unix/ngx_process_cycle.c (``ngx_master_process_cycle``): the master's title is ``nginx: master
process`` and its arguments, joined by blanks; the borders between them are lost.
"""

from collections.abc import Sequence

MASTER = "nginx: master process "
WORKER = "nginx: worker process"
_WITH_VALUE = ("-c", "-e", "-g", "-p")
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
        if len(words) > 2 and words[-2] in _WITH_VALUE and word not in _WITH_VALUE:
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


def reason(stderr: str) -> str:
    """Return the part of nginx's messages that says why it failed."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    grave = [line for line in lines if any(level in line for level in _ERRORS)]
    return "; ".join(grave or lines[-1:]) or "it said nothing"


def value_of(words: Sequence[str], option: str) -> str | None:
    """Return the value of ``-p`` or ``-c``, written as ``-p /x`` or ``-p/x``; None where the option is missing."""
    for at, word in enumerate(words):
        if word == option and at + 1 < len(words):
            return words[at + 1]
        if word.startswith(option) and len(word) > len(option) and not word.startswith("--"):
            return word.removeprefix(option)
    return None

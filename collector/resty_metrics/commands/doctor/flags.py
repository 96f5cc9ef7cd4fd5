"""The flags of a running collector, from its command line and environment: so that doctor alone needs none.

Rules:
- As the command line is read by click: a flag wins over its variable, the last of a flag that is not repeatable holds,
  a repeatable one's variable is split at blanks.
- A value is text here; who uses it reads it as ``serve`` does.
"""

from collections.abc import Mapping, Sequence

from resty_metrics.config.declared import flags_of
from resty_metrics.config.names import name, variable

__all__ = ["REPEATABLE", "SHARED", "name", "of", "serves", "variable"]

_SETTINGS = flags_of("doctor")
SHARED = tuple(_SETTINGS)
REPEATABLE = frozenset(flag for flag, setting in _SETTINGS.items() if setting.repeatable)
SERVE = "serve"


def serves(arguments: Sequence[str]) -> bool:
    """Tell whether this is the command line of ``serve``."""
    return SERVE in arguments


def of(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the values of the shared flags that were given. That of a switch is ``true``, or its variable's."""
    by_flag: dict[str, tuple[str, ...]] = {}
    for flag in SHARED:
        values = _on_command_line(arguments, flag) or _in_environment(environment, flag)
        if values:
            by_flag[flag] = values if flag in REPEATABLE else values[-1:]
    return by_flag


def _on_command_line(arguments: Sequence[str], flag: str) -> tuple[str, ...]:
    if _SETTINGS[flag].switch:
        return ("true",) if flag in arguments else ()
    values = []
    for at, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            values.append(word.partition("=")[2])
        elif word == flag and at + 1 < len(arguments):
            values.append(arguments[at + 1])
    return tuple(values)


def _in_environment(environment: Mapping[str, str], flag: str) -> tuple[str, ...]:
    text = environment.get(variable(flag), "")
    if flag in REPEATABLE:
        return tuple(text.split())
    return (text,) if text else ()

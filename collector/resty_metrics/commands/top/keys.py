"""Keys as a terminal sends them, and their effect on the view.

Source of the sequences: ECMA-48, as xterm and its like send them (``ESC [ A`` and ``ESC O A`` are the arrow up).

Rule: a key that means nothing does nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from resty_metrics.commands.top.tables import COLUMNS, NAMES

_KEY = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|\x1b.?|[^\x1b]", re.DOTALL)
_SPECIAL = {
    "\x1b[A": "up", "\x1bOA": "up", "k": "up",
    "\x1b[B": "down", "\x1bOB": "down", "j": "down",
    "\x1b[C": ">", "\x1bOC": ">",
    "\x1b[D": "<", "\x1bOD": "<",
    "\x1b[5~": "page up", "\x1b[6~": "page down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "g": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "G": "end",
    " ": "pause", "p": "pause", "\t": "next", "\x1b[Z": "previous",
    "q": "quit", "Q": "quit", "\x03": "quit", "r": "reverse", "?": "help",
    "1": "1", "2": "2", "3": "3", "4": "4", "<": "<", ",": "<", ">": ">", ".": ">",
}  # fmt: skip
_MOVES = ("up", "down", "page up", "page down", "home", "end")


@dataclass(frozen=True, slots=True)
class State:
    """The state of the view. ``sort``: key of a column, None for the table's own; ``top``: the first visible row.

    ``top`` may be beyond the last row. ``help``: the keys are shown instead of the table.
    """

    view: str = NAMES[0]
    sort: str | None = None
    reverse: bool = False
    paused: bool = False
    top: int = 0
    quit: bool = False
    help: bool = False


def read(typed: str) -> Iterator[str]:
    """Yield the names of the typed keys that mean something."""
    for match in _KEY.finditer(typed):
        if match[0] in _SPECIAL:
            yield _SPECIAL[match[0]]


def pressed(state: State, key: str, sorted_by: str | None, rows: int, height: int) -> State:
    """Return the state after a key.

    ``sorted_by``: the column that the table is sorted by, None before anything is shown; ``rows``: the number of rows,
    of which ``height`` are visible.
    """
    if state.help:
        state = replace(state, help=False)
        if key in _MOVES:  # there are no rows to move in
            return state
    elif key == "help":
        return replace(state, help=True)
    last = max(0, rows - height)
    top = min(state.top, last)
    moves = {"up": top - 1, "down": top + 1, "page up": top - height, "page down": top + height, "home": 0, "end": last}
    if key in moves:
        return replace(state, top=min(max(0, moves[key]), last))
    if key in ("<", ">") and sorted_by is not None:
        keys = [column.key for column in COLUMNS[state.view]]
        at = keys.index(sorted_by) + (1 if key == ">" else -1)
        return replace(state, sort=keys[at % len(keys)], reverse=False, top=0)
    if key in ("next", "previous"):
        at = NAMES.index(state.view) + (1 if key == "next" else -1)
        return _seeing(state, at % len(NAMES))
    if key.isdecimal():
        return _seeing(state, int(key) - 1)
    match key:
        case "reverse":
            return replace(state, reverse=not state.reverse, top=0)
        case "pause":
            return replace(state, paused=not state.paused)
        case "quit":
            return replace(state, quit=True)
    return state


def _seeing(state: State, at: int) -> State:
    """Switch to another table, at its top and in its usual order."""
    if NAMES[at] == state.view:
        return state
    return replace(state, view=NAMES[at], sort=None, reverse=False, top=0)

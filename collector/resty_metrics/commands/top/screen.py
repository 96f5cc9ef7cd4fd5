"""The content of the screen, as lines. Pure, from the measurements and the typed keys.

Rules:
- The screen has the size of the terminal. Words that do not fit go into the next line, except in a table.
- Warnings take at most a third of it; the last line gives the number of the others.
- If the page cannot be read, the screen says so, and for how long; the last known values stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from resty_metrics.commands.doctor.report import printable
from resty_metrics.commands.top import figures, health, layout
from resty_metrics.commands.top.keys import State
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.tables import COLUMNS, NAMES, Cell, Table, table, total
from resty_metrics.commands.top.warnings import Trouble, warnings
from resty_metrics.live.words import problems
from resty_metrics.process.command_line import DEFAULT_SOCKET

_WORKS_STYLE = {True: "green", False: "bold red", None: "dim"}
_STYLE: Mapping[str, str] = {"critical": "bold red", "warning": "bold yellow"}
_BAD = "bold red"
_BETWEEN = "  "
PIPE_WIDTH = 160
_FOOT = ("? keys", "q quit")
_KEYS = (
    ("1 2 3 4, Tab", "show another table"),
    ("< >, left, right", "sort by the column to the left, to the right"),
    ("r", "reverse the order"),
    ("up, down, Page Up, Page Down, Home, End", "scroll"),
    ("space", "pause: freeze the screen; measuring continues"),
    ("?", "show or hide these keys"),
    ("q, Ctrl-C", "quit"),
)


@dataclass(frozen=True, slots=True)
class Polling:
    """The state of reading a page. ``error``: the reason why the last attempt failed, None if it did not.

    ``for_seconds``: the time since attempts began to fail; ``interval``: seconds between two of them;
    ``socket_path``: for commands.
    """

    address: str
    interval: float
    error: Trouble | None = None
    for_seconds: float = 0.0
    socket_path: str = DEFAULT_SOCKET


@dataclass(frozen=True, slots=True)
class Screen:
    """The lines of a screen. ``height``: the number of visible table rows, of ``rows`` in all."""

    lines: Sequence[Text]
    sorted_by: str | None
    rows: int
    height: int


def drawn(view: View | None, polling: Polling, state: State, width: int, height: int) -> Screen:
    """Draw the screen."""
    head = _head(view, polling, state, width)
    troubles = _troubles(view, polling, width, max(2, height // 3))
    lines = [*head, *troubles]
    if view is None or state.help:
        lines += _help(width) if state.help else []
        return Screen([*_filled(lines, height - 1)[: height - 1], _foot("", width)][:height], None, 0, 0)
    lines.append(_tabs(state, width))
    shown = table(state.view, view)
    room = max(1, height - len(lines) - 2)
    rows = shown.ordered(state.sort, state.reverse)
    top = min(state.top, max(0, len(rows) - room))
    visible = rows[top : top + room]
    lines += _body(shown, visible, state, width)
    place = f"{top + 1}-{top + len(visible)} of {len(rows)}" if len(rows) > room else ""
    keys = [*_filled(lines, height - 1)[: height - 1], _foot(place, width)]
    return Screen(keys, shown.columns[_at(shown, state)].key, len(rows), room)


def report(view: View, polling: Polling, state: State, width: int) -> list[Text]:
    """Draw the report once, as long as it is: for scripts and mails."""
    shown = table(state.view, view)
    body = _body(shown, shown.ordered(state.sort, state.reverse), state, width)
    lines = [*_head(view, polling, state, width), *_troubles(view, polling, width, None), Text(), *body]
    for line in lines:
        line.rstrip()
    return lines


def _at(shown: Table, state: State) -> int:
    return next((i for i, column in enumerate(shown.columns) if column.key == state.sort), shown.first)


def _filled(lines: Sequence[Text], height: int) -> list[Text]:
    return [*lines, *(Text() for _ in range(height - len(lines)))]


def _packed(pieces: Iterable[Text], width: int) -> list[Text]:
    """Put as many pieces into each line as fit."""
    lines: list[Text] = []
    for piece in pieces:
        piece.truncate(width, overflow="ellipsis")
        if lines and lines[-1].cell_len + len(_BETWEEN) + piece.cell_len <= width:
            lines[-1].append(_BETWEEN)
        else:
            lines.append(Text())
        lines[-1].append_text(piece)
    return lines


def _head(view: View | None, polling: Polling, state: State, width: int) -> list[Text]:
    interval = Text("PAUSED", "bold reverse") if state.paused else Text(f"every {polling.interval:g} s")
    pieces = [Text("resty-metrics top", "bold"), Text(printable(polling.address)), interval]
    if view is not None and view.seconds:
        pieces.append(Text(f"rates over {view.seconds:.0f} s"))
    severities = [] if view is None else [trouble.severity for trouble in warnings(view, polling.socket_path)]
    if severities:
        pieces.append(Text(problems(severities), _STYLE["critical" if "critical" in severities else "warning"]))
    lines = _packed(pieces, width)
    if view is None:
        return lines
    words = (
        Text.assemble(f"{printable(word.subject)}: ", (word.says, _WORKS_STYLE[word.works]))
        for word in health.words(view.page)
    )
    return [*lines, *_packed(_traffic(view), width), *_packed(words, width)]


def _traffic(view: View) -> list[Text]:
    """Return the figures of all servers together, and the number of nginx's connections."""
    totals = total(view)
    columns = {column.key: column for column in COLUMNS["servers"]}

    def figure(key: str, words: str, usual: str = "") -> Text:
        column, cell = columns[key], totals[key]
        return Text(words.format(figures.marked(cell, column)), _BAD if column.marks(cell) else usual)

    known = [
        figure("rate", "{} req/s", "bold"),
        figure("5xx", "{} 5xx"),
        figure("p50", "p50 {}"),
        figure("p99", "p99 {}"),
        figure("in", "in {} B/s"),
        figure("out", "out {} B/s"),
    ]
    if view.nginx_rate is not None:
        known.append(Text(f"nginx itself {figures.rate(view.nginx_rate)} req/s"))
    if view.connections is not None:
        known.append(Text(f"{view.connections:.0f} connections"))
    return known


def _troubles(view: View | None, polling: Polling, width: int, most: int | None) -> list[Text]:
    """Return each warning with its remedy. ``most``: the greatest number of lines."""
    troubles = [] if view is None else warnings(view, polling.socket_path)
    if polling.error is not None:
        evidence = f"{polling.error.evidence}, for {figures.seconds(polling.for_seconds)}"
        troubles.insert(0, Trouble(evidence, f"{polling.error.remedy}; retrying every {polling.interval:g} s"))
    blocks = [
        _wrapped(f"! {printable(trouble.evidence)} -> {printable(trouble.remedy)}", width, _STYLE[trouble.severity])
        for trouble in troubles
    ]
    lines: list[Text] = []
    for i, block in enumerate(blocks):
        last = i + 1 == len(blocks)
        if most is not None and i > 0 and len(lines) + len(block) + (not last) > most:
            more = len(blocks) - i
            return [
                *lines,
                Text(layout.cut(f"! and {more} more. Add --once to see all of them", width), "bold yellow"),
            ]
        lines += block
    return lines


def _wrapped(text: str, width: int, style: str) -> list[Text]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and cell_len(lines[-1]) + 1 + cell_len(word) > width:
            lines.append("  ")
        lines[-1] += word if lines[-1] in ("", "  ") else f" {word}"
    return [Text(layout.cut(line, width), style) for line in lines]


def _tabs(state: State, width: int) -> Text:
    line = Text()
    for i, name in enumerate(NAMES):
        chosen = name == state.view
        line.append(_BETWEEN * (i > 0)).append(f"[{i + 1}] {name}", "bold reverse" if chosen else "")
    line.truncate(width)
    return line


def _body(shown: Table, rows: Sequence[tuple[Cell, ...]], state: State, width: int) -> list[Text]:
    at = _at(shown, state)
    fields = layout.fields(shown, rows, width, at)
    descending = (shown.columns[at].kind == "text") == state.reverse
    lines = [layout.heading(fields, at, descending), *(layout.row(fields, cells) for cells in rows)]
    if not rows:
        lines += _packed([Text(shown.empty, "dim")], width)
    for line in lines:
        line.truncate(width)
    return lines


def _help(width: int) -> list[Text]:
    """Return the keys, one a line."""
    room = max(len(keys) for keys, _ in _KEYS) + len(_BETWEEN)
    return [Text(layout.cut(f"{keys:<{room}}{effect}", width)) for keys, effect in _KEYS]


def _foot(place: str, width: int) -> Text:
    pieces = [Text(hint, "dim") for hint in _FOOT]
    if place:
        pieces.insert(0, Text(place, "bold"))
    return _packed(pieces, width)[0]

"""The course of Lua code while it is followed: where it is, and what is known there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from resty_metrics.nginx_config.lua_state import Exits, State, Values, joined
from resty_metrics.nginx_config.lua_values import Global, Part, Value

_MOST_STEPS = 20_000
_MOST_COPIES = 300_000  # values in all copies of states together
_LONGEST_TEXT = 4096  # characters of a string that the code joins
_WIDEST = 1000  # variables that are visible in a place; LuaJIT has 200 in a function
_TOO_LARGE = "it is too large to follow"

Scope = dict[str, int]


class UnsureError(Exception):
    """Code that is too large to be followed."""


@dataclass(slots=True)
class _Begun:
    """The chunks that ran before: the code that they load, and the global variables that they leave behind."""

    modules: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    names: set[int | str] = field(default_factory=set)


class Course:
    """``state`` None: nothing gets here. ``modules`` and ``files``: the other code that is loaded.

    ``dynamic``: code is loaded whose name is not known; ``tampered``: the code changes our module; ``errors``,
    ``returns``, ``breaks``: the states in which protected calls, functions and loops are left, innermost last.
    """

    def __init__(self) -> None:
        self.state: State | None = State()
        self.doubts: list[str] = []
        self.modules: set[str] = set()
        self.files: set[str] = set()
        self.dynamic = self.tampered = False
        self.begun = _Begun()
        self.errors = [Exits()]
        self.returns = [Exits()]
        self.breaks: list[Exits] = []
        self._steps = self._cells = self._copies = 0

    def end(self) -> State | None:
        """Return the state behind all ways through the chunk."""
        return self.joined([self.state, *self.returns[0].states, *self.errors[0].states])

    def begin_anew(self) -> None:
        """Keep what a chunk left behind, for the next chunk in the same Lua machine."""
        end = self.end() or State()
        self.state = State(values=end.values)
        self.errors, self.returns = [Exits()], [Exits()]
        self.doubts.clear()
        self.begun.modules |= self.modules
        self.begun.files |= self.files
        self.begun.names |= {cell for cell in end.values if isinstance(cell, str)}
        self.modules, self.files = set(), set()
        self._steps = self._copies = 0

    def count(self, doubt: str = "") -> None:
        """Record a call of ours. With a doubt it may be one."""
        if self.state is None:
            return
        if not doubt and not self.tampered:
            self.state.counted = True
        elif self.state.counted is not True:
            self.state.counted = None
            self.doubts.append(doubt or "it changes our module")

    def fail(self) -> None:
        """Leave the code with an error."""
        self.leave(self.errors[-1])

    def may_fail(self) -> None:
        """Leave the code with an error on one of two ways."""
        state = self.copied()
        if state is not None:
            self.errors[-1].states.append(state)

    def leave(self, exits: Exits, values: Values = ()) -> None:
        if self.state is not None:
            exits.states.append(self.state)
            exits.values.append(values)
        self.state = None

    def step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise UnsureError(_TOO_LARGE)

    def copied(self) -> State | None:
        """Return a copy of the state. Raises UnsureError where too much was copied."""
        if self.state is None:
            return None
        self._copies += len(self.state.values) + 1
        if self._copies > _MOST_COPIES:
            raise UnsureError(_TOO_LARGE)
        return self.state.copy()

    def joined(self, states: Sequence[State | None]) -> State | None:
        """Return the state behind several ways. Raises UnsureError where too much was joined."""
        self._copies += sum(len(state.values) for state in states if state is not None)
        if self._copies > _MOST_COPIES:
            raise UnsureError(_TOO_LARGE)
        return joined(states)

    def text(self, first: object, second: object) -> str:
        """Return two texts as one. Raises UnsureError where it is too long."""
        text = f"{first}{second}"
        if len(text) > _LONGEST_TEXT:
            raise UnsureError(_TOO_LARGE)
        return text

    def declare(self, name: str, value: Value, scope: Scope) -> None:
        self._cells += 1
        if len(scope) > _WIDEST:
            raise UnsureError(_TOO_LARGE)
        scope[name] = self._cells
        self.set(self._cells, value)

    def set(self, cell: int | str, value: Value) -> None:
        if self.state is not None:
            self.state.values[cell] = value

    def variable(self, cell: int | str) -> Value:
        if cell in self.begun.names:
            self.modules |= self.begun.modules
            self.files |= self.begun.files
        absent = Global(cell) if isinstance(cell, str) else Part.OTHER
        return absent if self.state is None else self.state.values.get(cell, absent)

"""The state of Lua code at one place, and the ways on which the place is reached. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from resty_metrics.nginx_config.lua_values import Global, Known, Part, Value, either

Values = tuple[Value, ...]


@dataclass(slots=True)
class State:
    """``counted`` None: on some ways to this place. ``values``: by cell for locals, by name for assigned globals."""

    counted: bool | None = False
    values: dict[int | str, Value] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(self.counted, dict(self.values))

    def same(self, before: "State", newest: int) -> bool:
        """Return whether two states differ in no global variable, and in no local one up to the newest."""
        cells = [cell for cell in self.values.keys() | before.values.keys() if isinstance(cell, str) or cell <= newest]
        return self.counted is before.counted and all(
            self.values.get(cell) == before.values.get(cell) for cell in cells
        )


@dataclass(slots=True)
class Exits:
    """The states in which a function, a protected call or a loop is left."""

    states: list[State] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)


def joined(states: Iterable[State | None]) -> State | None:
    """Return the state behind several ways; None if none of them gets there."""
    reached = [state for state in states if state is not None]
    if not reached:
        return None
    first, *rest = reached
    result = first.copy()
    for state in rest:
        result.counted = result.counted if result.counted is state.counted else None
        for cell in result.values.keys() | state.values.keys():
            absent = Global(cell) if isinstance(cell, str) else Part.OTHER
            result.values[cell] = either(result.values.get(cell, absent), state.values.get(cell, absent))
    return result


def merged(ways: Sequence[Values]) -> Values:
    """Return the values of a call that may return in several ways."""
    result = ways[0] if ways else ()
    for way in ways[1:]:
        pairs = zip_longest(result, way, fillvalue=Known(None))
        result = tuple(either(first, second) for first, second in pairs)
    return result

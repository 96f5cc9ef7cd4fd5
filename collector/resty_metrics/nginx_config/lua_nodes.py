"""The statements and expressions of Lua code. Pure.

They hold what decides which functions are called: names, fields, constants, functions, branches, loops.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant. A number is its text."""

    value: str | bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A local or global variable; ``...`` is one too."""

    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """A field of a table."""

    table: "Expression"
    key: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A call. ``method``: the name behind a colon."""

    function: "Expression"
    arguments: "tuple[Expression, ...]"
    method: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is defined here."""

    parameters: tuple[str, ...]
    body: "Block"


@dataclass(frozen=True, slots=True)
class Table:
    """A table constructor: its keys and values, in the order of their evaluation."""

    values: "tuple[Expression, ...]"


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator and its operands."""

    operator: str
    operands: "tuple[Expression, ...]"


Expression = Constant | Name | Index | Call | Function | Table | Operation


@dataclass(frozen=True, slots=True)
class Local:
    """``local names = values``. ``recursive``: the names are visible in the values."""

    names: tuple[str, ...]
    values: tuple[Expression, ...]
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class Assign:
    """``targets = values``."""

    targets: tuple[Expression, ...]
    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """An expression that stands as a statement, as a call does."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Do:
    """A block of its own."""

    body: "Block"


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with their blocks, and the block for none of them."""

    branches: "tuple[tuple[Expression, Block], ...]"
    otherwise: "Block"


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop. ``values``: evaluated before it; ``until``: the condition stands at the end, as in ``repeat``."""

    names: tuple[str, ...]
    values: tuple[Expression, ...]
    condition: Expression | None
    body: "Block"
    until: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """``return values``."""

    values: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Jump:
    """``break`` or ``goto``."""

    word: str


Statement = Local | Assign | Run | Do | If | Loop | Return | Jump
Block = tuple[Statement, ...]

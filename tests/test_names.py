"""Names say the thing: ``row``, ``peer``, ``setting``, not ``one``, ``found``, ``told``.

The Python of the collector and of the benchmarks is read, every name that it binds: variables, parameters, attributes,
functions, classes.
"""

import ast
from collections.abc import Iterator

import pytest
from support.nginx import ROOT

COLLECTOR, BENCHMARKS = ROOT / "collector" / "resty_metrics", ROOT / "benchmarks"
SAY_NOTHING = {
    "anew", "asked", "both", "came", "each", "every", "found", "given", "heard", "here", "it", "its", "made",
    "mine", "neither", "one", "ones", "other", "others", "said", "seen", "some", "such", "taken", "theirs", "them",
    "there", "these", "thing", "things", "those", "told", "wanted", "well", "what", "who", "whom", "whose",
}  # fmt: skip
LABEL_VALUE = "OTHER"
CODE = {
    str(path.relative_to(base)): path.read_text()
    for folder, base in ((COLLECTOR, COLLECTOR), (BENCHMARKS, ROOT))
    for path in sorted(folder.rglob("*.py"))
}
LEAST_NAMES = 10_000  # bound in all modules; a reading that saw few would let everything pass


def bound(tree: ast.AST, operator: bool = False) -> Iterator[tuple[str, int]]:
    """Yield each name that the tree binds, and its line. ``operator``: inside a method such as ``__add__``.

    The second operand of an operator is ``other`` in every Python program.
    """
    for node in ast.iter_child_nodes(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.arg(arg="other") if operator:
                pass
            case (
                ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
                | ast.arg(arg=name)
                | ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.ExceptHandler(name=str(name))
                | ast.alias(asname=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                yield name, line
        inside = isinstance(node, ast.FunctionDef) and node.name.startswith("__") and node.name.endswith("__")
        yield from bound(node, operator or inside)


def empty_names(code: str) -> list[tuple[str, int]]:
    """Return the names that code binds and that say nothing, with their lines."""
    names = ((name, line) for name, line in bound(ast.parse(code)) if name != LABEL_VALUE)
    return [(name, line) for name, line in names if name.strip("_").lower() in SAY_NOTHING]


@pytest.mark.parametrize("module", CODE)
def test_every_name_says_the_thing(module: str) -> None:
    assert empty_names(CODE[module]) == []


def test_every_binding_is_seen() -> None:
    assert sum(len(list(bound(ast.parse(code)))) for code in CODE.values()) > LEAST_NAMES


EMPTY = [
    "one = 1",
    "one: int = 1",
    "one += 1",
    "(one := 1)",
    "first, (*others, last) = values",
    "for found in rows: pass",
    "rows = [other for other in values]",
    "rows = {key: them for key, them in values}",
    "lambda it: 1",
    "def f(*, wanted=None): pass",
    "def f(*some, **given): pass",
    "async def f(told): pass",
    "def told(): pass",
    "class Heard: pass",
    "class Beat:\n    seen: float",
    "self._said = 1",
    "with open(path) as it: pass",
    "try:\n    pass\nexcept ValueError as it:\n    pass",
    "import numpy as it",
    "match value:\n    case [it, *others]: pass",
    "match value:\n    case {'key': 1, **others}: pass",
    "def add(self, other): pass",
    "def __add__(self, other):\n    found = other",
]


@pytest.mark.parametrize("code", EMPTY)
def test_an_empty_name_is_found(code: str) -> None:
    assert empty_names(code)


TELLING = [
    "row = found",
    "rows.append(one)",
    "f(wanted=1)",
    "self.seen.add(row)",
    "def __eq__(self, other): return self.key == other.key",
    "def another(others_name): pass",
    "import itertools as tools",
    'OTHER = "other"',
]


@pytest.mark.parametrize("code", TELLING)
def test_a_use_of_a_name_is_not_a_binding(code: str) -> None:
    assert empty_names(code) == []

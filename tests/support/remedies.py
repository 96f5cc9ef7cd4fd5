"""The remedies that the project can print, read from its source: the texts in each place where a remedy stands.

Rules:
- A text keeps its holes as they are in the source: ``kill -CONT {running.pid}``.
- Names, dictionaries and functions are followed within their module; imported ones are read where they are defined.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.nginx import ROOT

PACKAGE = ROOT / "collector" / "resty_metrics"
DOCTOR = PACKAGE / "commands" / "doctor"
HEALTH = PACKAGE / "health"
_LEAST_WORDS = 2  # beside holes; fewer are a part of another text
_HOLE = re.compile(r"\{[^{}]*\}")
_LETTERS = re.compile(r"[A-Za-z]")
_CONSTANTS = ("START", "AGAIN", "PUT_BACK", "RELOAD")  # that other modules print
_RETURNING = frozenset({"start", "choice", "allow"})  # functions that return a remedy
_AT = {"warn": 2, "fail": 2, "not_known": 2, "Finding": 3, "Kind": 4, "_trouble": 2, "report": 2}
_NAMED = frozenset({"remedy", "allow", "do", "add", "absent"})  # variables and parameters that hold a remedy


class _Module:
    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text())
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        self.constants = dict(_assigned(self.tree.body))

    def remedies(self) -> Iterator[str]:
        """Yield the texts of each remedy of the module."""
        for scope in (self.tree, *self.functions.values()):
            names = dict(_assigned(ast.walk(scope))) if isinstance(scope, ast.FunctionDef) else {}
            for node in ast.walk(scope):
                for expression in _remedy_of(node):
                    yield from self.texts(expression, names, frozenset())
        for name in _CONSTANTS:
            yield from self.texts(ast.Name(name), {}, frozenset())
        for name in _RETURNING & self.functions.keys():
            yield from self._returned(self.functions[name], frozenset({name}))

    def texts(self, node: ast.expr, names: dict[str, list[ast.expr]], seen: frozenset[str]) -> Iterator[str]:
        """Yield the texts that an expression can be."""
        match node:
            case ast.Constant(value=str(text)):
                yield text
            case ast.JoinedStr(values=values):
                yield "".join(_shown(part) for part in values)
                for part in values:
                    if isinstance(part, ast.FormattedValue):
                        yield from self.texts(part.value, names, seen)
            case ast.Name(id=name) if name not in seen:
                for value in names.get(name) or self.constants.get(name, []):
                    yield from self.texts(value, names, seen | {name})
            case ast.Call(func=ast.Name(id=name)) if name in self.functions and name not in seen:
                yield from self._returned(self.functions[name], seen | {name})
            case ast.Subscript(value=value, slice=ast.Constant(value=int(at))):  # an element of each tuple
                found = [part for tree in self._trees(value, names) for part in ast.walk(tree)]
                tuples = [part for part in found if isinstance(part, ast.Tuple) and len(part.elts) > at]
                tuples = [part for part in tuples if not isinstance(part.elts[at], ast.Tuple)]
                for part in tuples:
                    yield from self.texts(part.elts[at], names, seen)
                if not tuples:
                    yield from self.texts(value, names, seen)
            case ast.ListComp(
                elt=ast.Name(id=name), generators=[ast.comprehension(target=ast.Tuple(elts=elts), iter=of)]
            ):
                at = [one.id for one in elts if isinstance(one, ast.Name)].index(name)
                yield from self.texts(ast.Subscript(of, ast.Constant(at), ast.Load()), names, seen)
            case ast.ListComp(generators=[generator]):
                yield from self.texts(generator.iter, names, seen)
            case _:
                for child in ast.iter_child_nodes(node):
                    if isinstance(child, ast.expr):
                        yield from self.texts(child, names, seen)

    def _trees(self, node: ast.expr, names: dict[str, list[ast.expr]]) -> list[ast.expr]:
        """Return what the names in an expression stand for."""
        used = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
        return [value for name in used for value in names.get(name) or self.constants.get(name, [])]

    def _returned(self, function: ast.FunctionDef, seen: frozenset[str]) -> Iterator[str]:
        names = dict(_assigned(ast.walk(function)))
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from self.texts(node.value, names, seen)


def _assigned(nodes: Iterator[ast.AST] | Sequence[ast.AST]) -> Iterator[tuple[str, list[ast.expr]]]:
    values: dict[str, list[ast.expr]] = {}
    for node in nodes:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is None:
            continue
        for target in targets:
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
            elif isinstance(target, ast.Tuple):
                for at, name in enumerate(target.elts):
                    if isinstance(name, ast.Name):
                        item = ast.Subscript(value, ast.Constant(at), ast.Load())
                        values.setdefault(name.id, []).append(item)
    yield from values.items()


def _remedy_of(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the remedies of a node: an argument, the value of a variable of such a name, a default."""
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in _AT:
            yield from node.args[_AT[name] : _AT[name] + 1]
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "remedy")
    elif isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id in _NAMED for one in node.targets):
        yield node.value
    elif isinstance(node, ast.FunctionDef):
        yield from node.args.defaults


def _shown(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"  # type: ignore[attr-defined]


def _all_texts(path: Path) -> Iterator[str]:
    """Yield each text of a module that has nothing but remedies, without its docstrings."""
    module = _Module(path)
    documented: list[ast.Module | ast.FunctionDef] = [module.tree, *module.functions.values()]
    documentation = {ast.get_docstring(node, clean=False) for node in documented}
    inner = {id(part) for node in ast.walk(module.tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in inner:
            yield from (text for text in module.texts(node, {}, frozenset()) if text not in documentation)


def printed() -> dict[str, set[str]]:
    """Return the texts of all remedies, by module."""
    paths = [*DOCTOR.glob("*.py"), *(DOCTOR / "observe").glob("*.py"), HEALTH / "judge.py", HEALTH / "troubles.py"]
    texts = {path.stem: set(_Module(path).remedies()) for path in paths}
    texts["observe/nginx"] = texts.pop("nginx")
    texts["remedies"] = set(_all_texts(HEALTH / "remedies.py"))
    return {name: {text for text in found if _is_whole(text)} for name, found in texts.items()}


def _is_whole(text: str) -> bool:
    return sum(bool(_LETTERS.search(word)) for word in _HOLE.sub("", text).split()) >= _LEAST_WORDS

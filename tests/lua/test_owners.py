"""Each field of a Lua module has one owner: no other file assigns it. Each constant stands in one file."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nginx import ROOT

LUA = ROOT / "lua"
FILES = sorted(path.relative_to(LUA) for path in LUA.rglob("*.lua"))
# Written once for each request, or where a row becomes dirty: there a function of the owner would cost a call.
# The head of requests.lua says so.
HOT = {
    ("resty/metrics.lua", "requests.ended"),
    ("resty/metrics/requests.lua", "family.ring"),
    ("resty/metrics/requests.lua", "family.tail"),
}
# These stand in for the module while none of its other files can be loaded, so they have their own constants.
STAND_ALONE = {Path("resty/metrics/load.lua")}

REQUIRED = re.compile(r'(\w+) = (?:\w+ or )?(?:require ?\(?|pcall\(require, )"resty\.metrics[.\w]*"')
AT_ONCE = re.compile(r'require ?\(?"resty\.metrics[.\w]*"\)?(?=\.)')  # require("resty.metrics.x").field
LOCAL_TABLE = re.compile(r"local (\w+) = (?:\{|ffi\.new)")
TARGET = r"[\w.\[\]]+"
STATEMENT = re.compile(rf"(?:^|\bthen\b|\bdo\b|\belse\b|;)\s*({TARGET}(?:, {TARGET})*) = ")
DEFINED = re.compile(r"function (\w+)[.:](\w+)")
CONSTANT = re.compile(r"(?m)^local ([A-Z][A-Z0-9_, ]+) = (.+)$")


def code_of(text: str) -> str:
    return "\n".join(line.partition("--")[0] for line in text.splitlines())


def without_indices(line: str) -> str:
    """Return a line with each ``[...]`` emptied, those in others too."""
    emptied = re.sub(r"\[[^\[\]]+\]", "[]", line)
    return emptied if emptied == line else without_indices(emptied.replace("[]", ""))


def assignments(code: str) -> Iterator[tuple[str, str]]:
    """Yield each object with its field that an assignment names: of ``a.b.c[i] = 1`` a with b, and b with c."""
    for line in AT_ONCE.sub("required", code).splitlines():
        for statement in STATEMENT.finditer(without_indices(line)):
            for target in statement[1].split(", "):
                names = target.replace("[]", "").split(".")
                yield from itertools.pairwise(names)


def constructed(code: str) -> set[str]:
    """Return the fields that a file makes: of ``_M``, of the objects in ``setmetatable({...}, mt)``, of ``self``."""
    initial = "".join(re.findall(r"(?:setmetatable\(|local _M = )\{(?!\})(.*?)\}(?:, mt\)|\n)", code, re.DOTALL))
    return set(re.findall(r"(\w+) = ", initial)) | {
        field for name, field in assignments(code) if name in {"self", "_M"}
    }


def writes(code: str, foreign: set[str]) -> list[str]:
    """Return what a file writes into other modules. foreign: the fields of their objects."""
    required = {"required", *REQUIRED.findall(code)}
    own_objects = {"self", "_M", "ngx", "package", *LOCAL_TABLE.findall(code)}
    own_fields = constructed(code) | set(re.findall(r"[{,]\s*(\w+) = ", code))
    assigned = [
        f"{name}.{field}"
        for name, field in assignments(code)
        if name in required or (name not in own_objects and field in foreign - own_fields)
    ]
    return assigned + [f"{name}.{field}" for name, field in DEFINED.findall(code) if name in required]


CODE = {path: code_of((LUA / path).read_text()) for path in FILES}
FIELDS = {path: constructed(code) for path, code in CODE.items()}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_module_writes_into_another(path: Path) -> None:
    foreign = set().union(*(fields for module, fields in FIELDS.items() if module != path))
    assert [write for write in writes(CODE[path], foreign) if (str(path), write) not in HOT] == []


def test_each_exception_is_needed() -> None:
    everything = set().union(*FIELDS.values())
    assert {(str(path), write) for path in FILES for write in writes(CODE[path], everything - FIELDS[path])} == HOT


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_require_is_seen(path: Path) -> None:
    """A reading that saw none would let everything pass."""
    for line in CODE[path].splitlines():
        if re.search(r'require.*"resty\.metrics', line):
            assert REQUIRED.search(line) or AT_ONCE.search(line), line


WRITES = [
    'local other = require "resty.metrics.other"\nother.field = 1',
    'local other = require("resty.metrics.other")\nother.field, x = 1, 2',
    'local other = require "resty.metrics.other"\nif x then other.list[1] = 2 end',
    'local other = require "resty.metrics.other"\nfunction other.field() end',
    'local other = require "resty.metrics.other"\n    x, other.field.deep = 1, 2',
    "local function f(object)\n    object.count = object.count + 1\nend",
    "    self.object.count = 1",
    'require("resty.metrics.other").field = 1',
    'local function load()\n    other = require "resty.metrics.other"\n    other.field = 1\nend',
    'local found, other = pcall(require, "resty.metrics.other")\nother.field = 1',
]


@pytest.mark.parametrize("code", WRITES)
def test_a_write_is_found(code: str) -> None:
    assert len(writes(code, {"count"})) == 1


PASSED = [
    'local other = require "resty.metrics.other"\nlocal x = other.field == 1',
    'local other = require "resty.metrics.other"\nlocal x = { y = other.field }',
    'local other = require "resty.metrics.other"\nif other.field then x = 1 end',
    "function _M.f(self)\n    self.count = 1\n    _M.count = 2\nend",
    "local own = { count = 0 }\nown.count = 1",
]


@pytest.mark.parametrize("code", PASSED)
def test_what_is_no_write_into_another_passes(code: str) -> None:
    assert writes(code, {"count"}) == []


def constants(code: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each constant of a file that is written out."""
    for names, values in CONSTANT.findall(code):
        for name, value in zip(names.split(", "), values.split(", "), strict=False):
            if not re.match(r"[a-z]\w*\.\w|.*\brequire\b", value):  # taken from the module that has it
                yield name, value.strip()


def test_each_constant_stands_once() -> None:
    places = defaultdict(list)
    for path in FILES:
        if path not in STAND_ALONE:
            for constant in constants(CODE[path]):
                places[constant].append(str(path))
    assert {constant: where for constant, where in places.items() if len(where) > 1} == {}

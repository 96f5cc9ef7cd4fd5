"""The rooms of the collector stand on floors, low to high: a module imports from its own room and from floors below.

docs/development.md has the picture.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nginx import ROOT

PACKAGE = "resty_metrics"
COLLECTOR = ROOT / "collector" / PACKAGE
# Rooms of one floor do not import each other.
FLOORS = (
    {"kernel"},
    {"process"},
    {"exposition", "health", "shapes"},
    {"wire"},
    {"table"},
    {"endpoint", "sources"},
    {"ingest"},
    {"journal"},
    {"config"},
    {"nginx_config"},
    {"page"},
    {"observer"},
    {"live"},
    {"web"},
    {"reload"},
    {"app"},
    {"commands"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path.relative_to(COLLECTOR) for path in COLLECTOR.rglob("*.py"))


def imports(code: str) -> Iterator[str]:
    """Yield the modules of ours that code imports, wherever the import stands: ``resty_metrics.room.module``."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == PACKAGE)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def climbs(module: Path, code: str) -> list[str]:
    """Return the imports of a module that lead to its own floor or higher, but not into its own room."""
    here = room(module)
    rooms = {target: target.split(".")[1] for target in imports(code) if "." in target}
    return [to for to, there in rooms.items() if there in FLOOR and there != here and FLOOR[there] >= FLOOR[here]]


def test_each_room_has_a_floor() -> None:
    assert {room(module) for module in MODULES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_import_climbs(module: Path) -> None:
    if module != Path("__init__.py"):
        assert climbs(module, (COLLECTOR / module).read_text()) == []


def test_every_import_is_seen() -> None:
    """As many as there are lines that name the package: a reading that saw none would let everything pass."""
    for module in MODULES:
        code = (COLLECTOR / module).read_text()
        named = set(re.findall(rf"(?m)^\s*(?:from|import) ({PACKAGE}[.\w]*)", code))
        seen = {name for target in imports(code) for name in (target, target.rpartition(".")[0])}
        assert named <= seen, module


CLIMBING = [
    ("table/table.py", "from resty_metrics.page import scrape"),
    ("table/table.py", "def f():\n    from resty_metrics.web.server import Server"),
    ("table/table.py", "import resty_metrics.app"),
    ("table/table.py", "from resty_metrics import app"),
    ("sources/fetch.py", "from resty_metrics.endpoint.guard import Guard"),
]


@pytest.mark.parametrize(("module", "code"), CLIMBING)
def test_a_climb_is_found(module: str, code: str) -> None:
    assert len(climbs(Path(module), code)) == 1


FALLING = [
    ("page/scrape.py", "from resty_metrics.table.table import Table"),
    ("page/scrape.py", "from resty_metrics.page.assemble import capture"),
    ("page/scrape.py", "from resty_metrics import __version__"),
]


@pytest.mark.parametrize(("module", "code"), FALLING)
def test_what_does_not_climb_passes(module: str, code: str) -> None:
    assert climbs(Path(module), code) == []

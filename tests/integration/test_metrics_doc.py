"""docs/metrics.md against the page of a collector that has all there is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.everything import everything
from support.nginx import ROOT
from support.wait import wait_until

pytestmark = pytest.mark.slow

DOC = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(
    r"\| `(?P<name>[a-z_0-9]+)` \| (?P<type>\w+) \| (?P<labels>[^|]*) \| (?P<meaning>.*) \| (?P<source>\w+) \|"
)
SOMETIMES = re.compile(r"\nThese [^\n]*:\n\n(?P<table>(?:\|[^\n]*\n)+)")
OF_AN_INSTANCE = "nginx"  # the name of the source that the page is made with


@dataclass(frozen=True)
class Described:
    type: str
    labels: frozenset[str]
    meaning: str


def documented(text: str) -> dict[str, Described]:
    rows = [match for match in map(ROW.fullmatch, text.splitlines()) if match]
    assert len(rows) == len(re.findall(r"^\| `", text, re.MULTILINE)), "a row of a table cannot be read"
    assert len({row["name"] for row in rows}) == len(rows), "a metric stands there twice"
    return {
        row["name"]: Described(row["type"], frozenset(row["labels"].split(", ")) - {"-"}, row["meaning"])
        for row in rows
    }


def described(page: str) -> Iterator[tuple[str, Described]]:
    """What a page says of its families, under the names that it has for them."""
    headers = dict(line.removeprefix("# TYPE ").split(" ") for line in page.split("\n") if line.startswith("# TYPE "))
    for family in text_string_to_metric_families(page):
        total = f"{family.name}_total"  # the parser takes that from a counter
        name = total if family.type == "counter" and total in headers else family.name
        (labels,) = {frozenset(sample.labels) - {"le", OF_AN_INSTANCE} for sample in family.samples}
        yield name, Described(headers[name], labels, family.documentation.strip())


def test_every_family_is_documented_as_it_is(socket_path: Path) -> None:
    doc = documented(DOC)
    sometimes = documented("".join(match["table"] for match in SOMETIMES.finditer(DOC)))
    always = doc.keys() - sometimes.keys()
    with everything(socket_path) as collector:
        shown: dict[str, Described] = {}

        def all_there() -> bool:
            shown.update(described(collector.page()))
            return always <= shown.keys()

        wait_until(all_there, message=f"all of {sorted(always)} on the page")
    assert shown == {name: doc[name] for name in shown}


def test_what_is_there_sometimes_is_in_the_code() -> None:
    code = "".join(path.read_text() for part in ("collector", "lua") for path in (ROOT / part).rglob("*.[pl][yu]*"))
    sometimes = documented("".join(match["table"] for match in SOMETIMES.finditer(DOC)))
    assert sometimes
    assert [name for name in sometimes if f'"{name}"' not in code] == []

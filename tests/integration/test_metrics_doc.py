"""docs/metrics.md against the page of a collector that has all there is, which is clean to promtool and OpenMetrics."""

import fnmatch
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from support.everything import everything
from support.nginx import ROOT, shared_directory
from support.wait import wait_until

pytestmark = pytest.mark.slow

DOC = (ROOT / "docs" / "metrics.md").read_text()
ROW = re.compile(
    r"\| `(?P<name>[a-z_0-9]+)` \| (?P<type>\w+) \| (?P<labels>[^|]*) \| (?P<meaning>.*) \| (?P<source>\w+) \|"
)
SOMETIMES = re.compile(r"\nThese [^\n]*:\n\n(?P<table>(?:\|[^\n]*\n)+)")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
# Labels that stand beside the documented ones: the source's name, the configuration's label and scope.
BESIDES = {"le", "nginx", "tenant", "scope"}
OF_THE_USER = {"shop_logins_total", "shop_open_jobs", "shop_basket_items", "shop_paths_total"}
CONFLICT, WITHHELD = "resty_metrics_family_conflict", "nginx_http_cache_requests_total"
# Not to be had here, with why.
ABSENT = {
    "resty_metrics_coverage_ratio": "needs 100 requests in five minutes",
    "resty_metrics_refused_user": "nobody was refused",
    "resty_metrics_refused_file": "no file was refused",
    "resty_metrics_worker_refused_batches_total": "nothing was refused",
    "resty_metrics_worker_lost_rows_total": "nothing was lost",
}


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
        (labels,) = {frozenset(sample.labels) - BESIDES for sample in family.samples}
        yield name, Described(headers[name], labels, family.documentation.strip())


@dataclass(frozen=True)
class Page:
    text: str
    openmetrics: str


@pytest.fixture(scope="module")
def pages() -> Iterator[list[Page]]:
    """With every family of the documentation that can be had; then with one of ours withheld for the user's own."""
    directory = shared_directory()
    wanted = documented(DOC).keys() - ABSENT.keys() | OF_THE_USER
    with everything(directory / "collector.sock") as made:

        def page() -> Page:
            return Page(made.collector.page(), made.collector.page(Accept=OPENMETRICS))

        wait_until(
            lambda: missing(made.collector.page(), wanted) <= {CONFLICT}, 60, f"all of {sorted(wanted)} on the page"
        )
        before = page()
        made.claim()
        yield [before, page()]
    shutil.rmtree(directory, ignore_errors=True)


def missing(page: str, wanted: set[str]) -> set[str]:
    return wanted - set(re.findall(r"^# TYPE (\S+) ", page, re.MULTILINE))


def test_every_family_is_documented_as_it_is(pages: list[Page]) -> None:
    doc = documented(DOC)
    before, after = (dict(described(page.text)) for page in pages)
    assert doc.keys() - ABSENT.keys() - before.keys() == {CONFLICT}
    assert CONFLICT in after
    assert after[WITHHELD].labels == {"page"}
    for shown in (before, {name: one for name, one in after.items() if name != WITHHELD}):
        ours = {name: one for name, one in shown.items() if name not in OF_THE_USER}
        assert ours == {name: doc[name] for name in ours}


def test_a_page_is_clean(pages: list[Page]) -> None:
    for page in pages:
        assert said(page.text) == {
            f'nginx_connections_{name} counter metrics should have "_total" suffix' for name in ("accepted", "handled")
        }
        list(parse_openmetrics(page.openmetrics))  # type: ignore[no-untyped-call]


def test_the_series_of_all_families_are_the_samples_of_the_page(pages: list[Page]) -> None:
    for page in pages:
        samples = [sample for family in text_string_to_metric_families(page.text) for sample in family.samples]
        said: Counter[str] = Counter()
        for one in samples:
            if one.name == "resty_metrics_series":
                said[one.labels["family"]] += int(one.value)
        assert said.total() == len(samples)
        assert said["stub_status"] == 2 * 8  # read by the workers, and fetched
        for name in ("shop_open_jobs", "nginx_http_responses_total", "shop_paths_total"):
            assert said[name] == sum(one.name == name for one in samples)
        for name in ("nginx_http_request_duration_seconds", "shop_basket_items"):
            assert said[name] == sum(one.name.startswith(f"{name}_") for one in samples)


def said(page: str) -> set[str]:
    words = ["promtool", "check", "metrics"]
    checked = subprocess.run(words, input=page, text=True, capture_output=True, check=False)
    return set((checked.stdout + checked.stderr).splitlines())


def test_what_is_there_sometimes_is_in_the_code() -> None:
    files = [*(ROOT / "collector").rglob("*.py"), *(ROOT / "lua").rglob("*.lua")]
    code = "".join(path.read_text() for path in files)
    sometimes = documented("".join(match["table"] for match in SOMETIMES.finditer(DOC)))
    assert sometimes
    assert [name for name in sometimes if f'"{name}"' not in code] == []


def expanded(name: str) -> Iterator[str]:
    """``a_{b,c}_d``, as a shell has it."""
    parts = re.split(r"\{(.*?)\}", name)
    yield from map("".join, product(*([part] if n % 2 == 0 else part.split(",") for n, part in enumerate(parts))))


def test_what_the_readme_names_is_documented() -> None:
    table = (ROOT / "README.md").read_text().split("## Metrics\n\n")[1].split("\n\n")[0]
    cells = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    named = {one for cell in cells for name in re.findall(r"`(.*?)`", cell) for one in expanded(name)}
    assert len(named) > len(cells)
    assert {name for name in named if not fnmatch.filter(documented(DOC), name)} == set()

"""The dashboards' files are what their code writes, and can be read."""

import json
import re
from typing import Any

import pytest
import yaml
from support.nginx import ROOT

from grafana.build import DASHBOARDS, build, path_of
from grafana.model import WIDTH, Dashboard, Panel
from grafana.promql import MARKS

PANELS = [(board, panel) for board in DASHBOARDS for panel in board.panels]
UNITS = {"reqps", "cps", "Bps", "bytes", "s", "percentunit", "short"}
EACH_BOARD = pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.name)


def written(board: Dashboard) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path_of(board).read_text())
    return document


@EACH_BOARD
def test_the_file_is_what_the_code_writes(board: Dashboard) -> None:
    assert path_of(board).read_text() == build(board), "run: python grafana/build.py"


def test_there_are_no_other_files() -> None:
    assert {path.name for path in (ROOT / "grafana").glob("*.json")} == {path_of(board).name for board in DASHBOARDS}


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=lambda one: one.title)
def test_each_panel_says_what_to_do_and_in_which_unit(board: Dashboard, panel: Panel) -> None:
    assert len(panel.description) > 20
    assert panel.unit in UNITS
    assert all(query.unit in {None, *UNITS} for query in panel.queries)
    for query in panel.queries:
        selectors = re.findall(r"\{(.*?)\}", query.expression)
        chosen = [selector for selector in selectors if "=" in selector]
        assert chosen
        assert all('job=~"$job", instance=~"$instance"' in selector for selector in chosen)
        named = set(re.findall(r"\$(\w+)", query.expression)) - {"__rate_interval", "__range"}
        assert named <= {choice.name for choice in board.choices}
        assert re.findall(r"\[(?!\$__rate_interval\]|\$__range\])", query.expression) == []


def test_no_metric_is_named_that_the_page_has_not() -> None:
    documented = set(re.findall(r"^\| `([a-z_0-9]+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    expressions = [query.expression for _, panel in PANELS for query in panel.queries]
    expressions += [choice.query for board in DASHBOARDS for choice in board.choices if choice.query is not None]
    expressions += [mark.expression for mark in MARKS]
    named = {name for text in expressions for name in re.findall(r"\b(?:nginx|resty_metrics|process)_\w+", text)}
    assert len(named) > 80
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in named} <= documented


@EACH_BOARD
def test_identities_are_unique_and_nothing_overlaps(board: Dashboard) -> None:
    panels = written(board)["panels"]
    assert len(panels) == len(board.panels) + len(board.rows)
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == WIDTH - 1
    assert len({panel.title for panel in board.panels}) == len(board.panels)


@EACH_BOARD
def test_each_leads_to_the_others_with_what_is_chosen(board: Dashboard) -> None:
    document = written(board)
    (link,) = document["links"]
    assert link["type"] == "dashboards"
    assert set(link["tags"]) <= set(document["tags"])
    assert (link["keepTime"], link["includeVars"]) == (True, True)
    assert {each["name"] for each in document["templating"]["list"]} >= {"datasource", "job", "instance", "nginx"}
    assert [each["name"] for each in document["annotations"]["list"]] == ["Reloads", "Rebinds"]


def test_a_panel_opens_a_dashboard_that_there_is() -> None:
    opened = {panel.opens for _, panel in PANELS if panel.opens is not None}
    assert opened
    assert opened <= {written(board)["uid"] for board in DASHBOARDS}
    assert len({board.uid for board in DASHBOARDS}) == len(DASHBOARDS)


def test_the_files_for_provisioning() -> None:
    directory = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((directory / "datasources" / "resty-metrics.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((directory / "dashboards" / "resty-metrics.yml").read_text())["providers"]
    (job,) = yaml.safe_load((ROOT / "prometheus" / "scrape.yml").read_text())["scrape_configs"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == job["scrape_interval"]
    assert (provider["type"], provider["options"]["path"]) == ("file", "/usr/share/resty-metrics/grafana")

"""The overview dashboard: what is committed is what the code writes, and every panel can be read."""

import json
from typing import Any

import pytest

from grafana.build import TARGET, build
from grafana.panels import ROWS, Panel

PANELS = [panel for row in ROWS for panel in row.panels]


def test_the_file_is_what_the_code_writes() -> None:
    assert TARGET.read_text() == build(), "run: python grafana/build.py"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_each_panel_says_what_to_do_and_in_which_unit(panel: Panel) -> None:
    assert len(panel.description) > 20
    assert panel.unit in {"reqps", "percentunit", "s", "short", "Bps", "cps"}
    for query in panel.queries:
        assert 'job=~"$job", instance=~"$instance"' in query.expression


def flat(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for panel in panels for one in (panel, *flat(panel.get("panels") or []))]


def test_identities_are_unique_and_nothing_overlaps() -> None:
    board = json.loads(TARGET.read_text())
    panels = flat(board["panels"])
    assert len({panel["id"] for panel in panels}) == len(panels) == len(PANELS) + len(ROWS)
    cells = [
        (x, y)
        for panel in board["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23

"""Writes ``grafana/overview.json`` from ``panels.py``, with Grafana's own SDK.

Run ``python grafana/build.py`` after a change; a test fails while the file is not what this writes.
"""

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

sys.path.insert(0, str(Path(__file__).parents[1]))

from grafana.panels import ROWS, Panel

TARGET = Path(__file__).with_name("overview.json")
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
HEIGHTS = {"timeseries": 8, "heatmap": 8, "stat": 4}
ROW_NUMBERS = 1000  # rows and panels have identities of one space
GREEN, RED = "green", "red"
LABELS = {
    "job": "label_values(resty_metrics_build_info, job)",
    "instance": 'label_values(resty_metrics_build_info{job=~"$job"}, instance)',
    "server": 'label_values(nginx_http_responses_total{job=~"$job", instance=~"$instance"}, server)',
}

AnyPanel = timeseries.Panel | heatmap.Panel | stat.Panel


def _new(panel: Panel) -> AnyPanel:
    match panel.kind:
        case "stat":
            last = common.ReduceDataOptions().calcs(["lastNotNull"])
            return stat.Panel().reduce_options(last).graph_mode(BigValueGraphMode.AREA).no_value("unknown")
        case "heatmap":
            return heatmap.Panel().show_legend()
        case "timeseries":
            legend = common.VizLegendOptions().show_legend(True)
            legend = legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
            return timeseries.Panel().min(0).fill_opacity(10).legend(legend)


def _targets(panel: Panel) -> list[prometheus.Dataquery]:
    targets = []
    for number, query in enumerate(panel.queries):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(query.expression)
        target = target.datasource(SOURCE).legend_format(query.legend)
        if panel.kind == "heatmap":
            target = target.format(PromQueryFormat.HEATMAP)
        targets.append(target)
    return targets


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig | None:
    if panel.bad is not None:
        steps = [Threshold(None, GREEN), Threshold(panel.bad, RED)]
    elif panel.below is not None:
        steps = [Threshold(None, RED), Threshold(panel.below, GREEN)]
    else:
        return None
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def build_panel(panel: Panel, number: int) -> AnyPanel:
    """One panel for the dashboard, not placed yet."""
    made = _new(panel)
    made.id(number).title(panel.title).description(panel.description).unit(panel.unit)
    made.datasource(SOURCE).targets(list(_targets(panel))).height(HEIGHTS[panel.kind]).span(panel.width)
    thresholds = _thresholds(panel)
    if thresholds is not None:
        made.thresholds(thresholds)
    return made


def _variables() -> list[dashboard.QueryVariable]:
    found = []
    for name, query in LABELS.items():
        variable = dashboard.QueryVariable(name).label(name).query(query).datasource(SOURCE)
        variable = variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        found.append(variable.multi(True).include_all(True).all_value(".*"))
    return found


def build() -> str:
    """The dashboard as JSON text."""
    board = (
        dashboard.Dashboard("resty-metrics / Overview").uid("resty-metrics-overview").tags(["nginx", "resty-metrics"])
    )
    board.time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR).editable()
    board.description("Requests of nginx, its connections, and the health of the pipeline that counts them.")
    board.with_variable(dashboard.DatasourceVariable("datasource").label("data source").type("prometheus"))
    for variable in _variables():
        board.with_variable(variable)
    number = 0
    for place, row in enumerate(ROWS):
        made = dashboard.Row(row.title).id(ROW_NUMBERS + place)
        panels = [build_panel(panel, identity) for identity, panel in enumerate(row.panels, number + 1)]
        number += len(panels)
        if row.collapsed:
            for panel in panels:
                made.with_panel(panel)
        board.with_row(made)
        if not row.collapsed:
            for panel in panels:
                board.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


if __name__ == "__main__":
    TARGET.write_text(build())

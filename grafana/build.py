"""The build of ``grafana/*.json`` from ``dashboards/``, with Grafana's own SDK.

Run ``python grafana/build.py`` after a change: a test fails if a file differs from the output.
"""

import sys
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.dashboard import (
    AnnotationQuery,
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from grafana.dashboards.overview import OVERVIEW
from grafana.dashboards.pipeline import PIPELINE
from grafana.dashboards.requests import REQUEST_DETAIL
from grafana.dashboards.upstreams import UPSTREAMS
from grafana.dashboards.vts import VTS
from grafana.model import Choice, Dashboard, Mark
from grafana.promql import MARKS
from grafana.sdk import SOURCE, panel

DASHBOARDS = (OVERVIEW, REQUEST_DETAIL, UPSTREAMS, VTS, PIPELINE)
DIRECTORY = Path(__file__).parent
TAG = "resty-metrics"  # the links between the dashboards select by it
SCHEMA = 39  # of Grafana 10.4; later versions migrate it
ROW_NUMBERS = 1000  # rows and panels share one space of ids
ALL = VariableOption(selected=True, text=["All"], value=["$__all"])


class PrometheusAnnotation(AnnotationQuery):
    """An annotation with the fields that Grafana's Prometheus plugin reads besides those of the SDK."""

    def __init__(self, mark: Mark) -> None:
        super().__init__(mark.name, SOURCE, icon_color=mark.color, expr=mark.expression)
        self._mark = mark

    def to_json(self) -> dict[str, object]:
        payload = super().to_json()
        payload |= {"titleFormat": self._mark.name, "textFormat": self._mark.text, "step": "60s"}
        return payload | {"tagKeys": "instance,nginx,reason", "useValueForTime": self._mark.is_time}


def _query_choice(choice: Choice, query: str) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(choice.name).label(choice.label).query(query).datasource(SOURCE)
    variable = variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    variable = variable.multi(True).include_all(True).current(ALL)
    return variable if choice.everything is None else variable.all_value(choice.everything)


def _typed_choice(choice: Choice, text: str) -> dashboard.TextBoxVariable:
    chosen = VariableOption(selected=True, text=text, value=text)
    return dashboard.TextBoxVariable(choice.name).label(choice.label).default_value(text).current(chosen)


def _frame(what: Dashboard) -> dashboard.Dashboard:
    """Begin a dashboard: everything but its panels."""
    board = dashboard.Dashboard(f"resty-metrics / {what.title}").uid(what.uid).tags(["nginx", TAG])
    board.time("now-1h", "now").refresh("30s").tooltip(DashboardCursorSync.CROSSHAIR).editable()
    board.description(what.description)
    links = dashboard.DashboardLink("resty-metrics").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    board.link(links.icon("external link").keep_time(True).include_vars(True))
    board.with_variable(dashboard.DatasourceVariable("datasource").label("data source").type("prometheus"))
    for choice in what.choices:
        if choice.query is not None:
            board.with_variable(_query_choice(choice, choice.query))
        elif choice.text is not None:
            board.with_variable(_typed_choice(choice, choice.text))
    return board


def _finished(board: dashboard.Dashboard) -> models.Dashboard:
    built = board.build()
    built.schema_version = SCHEMA
    built.annotations = models.AnnotationContainer([PrometheusAnnotation(mark) for mark in MARKS])
    return built


def build(what: Dashboard) -> str:
    """Return the dashboard as JSON text."""
    board = _frame(what)
    number = 0
    for place, row in enumerate(what.rows):
        board.with_row(dashboard.Row(row.title).id(ROW_NUMBERS + place))
        for one in row.panels:
            number += 1
            board.with_panel(panel(one, number))
    return JSONEncoder(sort_keys=True, indent=2).encode(_finished(board)) + "\n"


def path_of(what: Dashboard) -> Path:
    return DIRECTORY / f"{what.name}.json"


if __name__ == "__main__":
    for each in DASHBOARDS:
        path_of(each).write_text(build(each))

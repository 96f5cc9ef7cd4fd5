"""The translation of the model into Grafana's own SDK."""

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.model import Panel, Query

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHTS = {"timeseries": 8, "heatmap": 8, "state": 8, "top": 8, "table": 8, "stat": 4}
OF_NOW = ("stat", "table", "top")
HANDED_ON = ("datasource", "job", "instance", "nginx")  # variables that all dashboards have
GREEN, RED, BLUE, NEUTRAL = "green", "red", "blue", "text"

AnyPanel = bargauge.Panel | heatmap.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel


def panel(what: Panel, number: int) -> AnyPanel:
    """Build a panel for a dashboard, not placed yet. ``number`` is its id there."""
    made = _new(what)
    made.id(number).title(what.title).description(what.description).unit(what.unit)
    made.datasource(SOURCE).targets(list(_targets(what))).height(HEIGHTS[what.kind]).span(what.width)
    made.thresholds(_thresholds(what))
    if what.none is not None:
        made.no_value(what.none)
    if what.opens is not None:
        made.data_links([_opening(what)])
    return made


def _new(what: Panel) -> AnyPanel:
    match what.kind:
        case "stat":
            value = stat.Panel().reduce_options(_last()).graph_mode(BigValueGraphMode.NONE)
            return value.color_mode(BigValueColorMode.VALUE).no_value("unknown")
        case "heatmap":
            return _heatmap(what)
        case "timeseries":
            return _timeseries(what)
        case "state":
            return _state()
        case "top":
            bars = bargauge.Panel().reduce_options(_last()).orientation(VizOrientation.HORIZONTAL)
            return bars.display_mode(BarGaugeDisplayMode.BASIC).min(0)
        case "table":
            return _table(what)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _timeseries(what: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().show_legend(True)
    legend = legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    lines = timeseries.Panel().min(0).fill_opacity(10).legend(legend).tooltip(tooltip)
    lines = lines.show_points(VisibilityMode.AUTO)
    if what.stacked:
        lines = lines.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    if what.bad is not None:
        lines = lines.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.LINE))
    return lines


def _heatmap(what: Panel) -> heatmap.Panel:
    made = heatmap.Panel().show_legend().show_tooltip().y_axis(heatmap.YAxisConfig().unit(what.unit))
    # Cells without requests stay empty.
    return made.filter_values(heatmap.FilterValueRange().le(1e-9)).cell_values(heatmap.CellValues().unit("reqps"))


def _state() -> statetimeline.Panel:
    words = {"0": ValueMappingResult("ill", RED, index=0), "1": ValueMappingResult("well", GREEN, index=1)}
    color = dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)
    made = statetimeline.Panel().mappings([ValueMap(words)]).color_scheme(color).merge_values(True)
    return made.show_value(VisibilityMode.AUTO).legend(common.VizLegendOptions().show_legend(False))


def _table(what: Panel) -> table.Panel:
    names = {f"Value #{_letter(number)}": query.legend for number, query in enumerate(what.queries)}
    made = table.Panel().with_transformation(DataTransformerConfig("merge", options={}))
    made = made.with_transformation(
        DataTransformerConfig("organize", options={"excludeByName": {"Time": True}, "renameByName": names})
    )
    for query in what.queries:
        if query.unit is not None:
            made = made.override_by_name(query.legend, [DynamicConfigValue("unit", query.unit)])
    first = common.TableSortByFieldState().display_name(what.queries[0].legend).desc(True)
    return made.sort_by([first])


def _targets(what: Panel) -> list[prometheus.Dataquery]:
    return [_target(what, number, query) for number, query in enumerate(what.queries)]


def _target(what: Panel, number: int, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(_letter(number)).expr(query.expression).datasource(SOURCE)
    target = target.instant() if what.kind in OF_NOW else target.range()
    match what.kind:
        case "table":
            return target.format(PromQueryFormat.TABLE)
        case "heatmap":
            return target.legend_format(query.legend).format(PromQueryFormat.HEATMAP)
        case _:
            return target.legend_format(query.legend)


def _letter(number: int) -> str:
    return chr(ord("A") + number)


def _thresholds(what: Panel) -> dashboard.ThresholdsConfig:
    """Return the thresholds of a panel. There are always some: without any, Grafana's default turns red at 80."""
    if what.bad is not None:
        steps = [Threshold(None, GREEN), Threshold(what.bad, RED)]
    elif what.below is not None:
        steps = [Threshold(None, RED), Threshold(what.below, GREEN)]
    elif what.kind == "state":
        steps = [Threshold(None, RED), Threshold(1, GREEN)]
    else:
        steps = [Threshold(None, BLUE if what.kind == "top" else NEUTRAL)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _opening(what: Panel) -> dashboard.DashboardLink:
    """Return the link from a series to another dashboard, with the current values of the variables."""
    words = [f"${{{name}:queryparam}}" for name in HANDED_ON]
    if what.kind != "stat":
        value = "__data.fields" if what.kind == "table" else "__field.labels"
        words.append(f"var-{what.by}=${{{value}.{what.by}}}")
    url = f"/d/{what.opens}?{'&'.join(words)}&${{__url_time_range}}"
    title = "Open it" if what.kind == "stat" else f"Open this {what.by}"
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)

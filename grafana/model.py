"""The model of a dashboard as plain data: rows of panels, each with its queries.

Rules:
- Every metric is in docs/metrics.md, or is ``up``. Every rate is over ``$__rate_interval``, and every sum over the
  selected time is over ``$__range``.
- A description says what to do, or how to read the panel, when it looks wrong.
- Units are Grafana's names (``reqps``, ``s``, ``Bps``, ``percentunit``, ``short``).
- Panels that show the present (``stat``, ``table``, ``top``) use instant queries, so a value that is unknown now is
  absent instead of stale.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "heatmap", "state", "top", "table"]
WIDTH = 24  # columns of Grafana's grid


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series. In a table ``legend`` is the title of the column, and ``unit``
    its unit.
    """

    expression: str
    legend: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    ``kind``: ``state`` shows series over time that are 1 if all is well and else 0; ``top`` shows bars, the longest
    first. ``bad``: the value from which on the panel turns red; ``below``: the value below which it turns red instead.
    ``none``: the text without data. ``opens``: uid of the dashboard that a click on a series opens, for the series'
    label ``by``.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    bad: float | None = None
    below: float | None = None
    none: str | None = None
    stacked: bool = False
    opens: str | None = None
    by: str = "server"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a dashboard."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: a choice of a label's values (``query``; at first all), or a text to type (``text``: at first this).

    ``everything``: the regular expression for All. None: the list of all values, which leaves out series without the
    label.
    """

    name: str
    label: str
    query: str | None = None
    text: str | None = None
    everything: str | None = ".*"


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation. ``is_time``: the value is the time of the event in ms; else the event lasts while it exceeds 0."""

    name: str
    expression: str
    text: str
    color: str
    is_time: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard. Its file is ``NAME.json``, its uid ``resty-metrics-NAME``."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]

    @property
    def uid(self) -> str:
        return f"resty-metrics-{self.name}"

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for row in self.rows for panel in row.panels)

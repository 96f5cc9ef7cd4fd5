"""What a dashboard is, as plain data: rows of panels, each with its queries.

Rules:
- Every metric is one of docs/metrics.md, and ``up``; every rate is over ``$__rate_interval``, every sum over the
  time that is looked at is over ``$__range``.
- A description says what to do, or how to read the panel, when it looks wrong.
- Units are Grafana's names (``reqps``, ``s``, ``Bps``, ``percentunit``, ``short``).
- What shows the present (``stat``, ``table``, ``top``) asks for this moment alone: what is not known now is not shown
  as it last was.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["timeseries", "stat", "heatmap", "state", "top", "table"]
WIDTH = 24  # columns of Grafana's grid


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and the legend of its series; in a table the title of its column, with its own unit."""

    expression: str
    legend: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    ``state`` shows series over time that are 1 where all is well and else 0; ``top`` bars, the longest first.
    ``bad``: the value from which on it turns red; ``below``: red below that value instead. ``none``: what stands there
    without data. ``opens``: the uid of the dashboard that a click on a series leads to, with its label ``by``.
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
    """A row of the dashboard."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: values of a label (``query``), all of them at first, or words that are typed (``text``).

    ``everything``: what All stands for; None for the list of all values, which leaves out series without the label.
    """

    name: str
    label: str
    query: str | None = None
    text: str | None = None
    everything: str | None = ".*"


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation. ``is_time``: the value is the time of the event, in ms; otherwise it is there while above 0."""

    name: str
    expression: str
    text: str
    color: str
    is_time: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; its file is ``NAME.json``, its uid ``resty-metrics-NAME``."""

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

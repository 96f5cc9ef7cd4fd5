"""One page from everything: requests, nginx's own counters, sources, the workers, the pipeline, the user's own."""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from resty_metrics.exposition.text import MetricFamily, sample
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import conflicts, gauges, instances, requests, series, workers
from resty_metrics.page.blocks import Snapshot
from resty_metrics.page.gauges import Gauge
from resty_metrics.process.steps import Steps
from resty_metrics.sources import stub_status
from resty_metrics.table.table import Table


@dataclass(frozen=True, slots=True)
class Moment:
    """The state of the table at one moment. ``families``: to be rendered; ``instances``: their names.

    ``births``: by instance and name of each of the user's families, the birth of the youngest worker that sends it;
    ``gone``: the instances that no worker belongs to any more. ``oldest_ms``: gauges that were set before this time, in
    Unix milliseconds, have expired.
    """

    families: Sequence[Snapshot]
    instances: Sequence[str]
    births: Mapping[tuple[str, str], int]
    gone: frozenset[str]
    oldest_ms: float = -math.inf


def capture(
    table: Table,
    shown_before: int | None = None,
    known: Iterable[str] | None = None,
    oldest_ms: float = -math.inf,
) -> Moment:
    """Capture the table as it is now. Rows created from ``shown_before`` on will be shown at 0; None: all as they are.

    ``known``: the instances whose workers are remembered; the others are gone. None: no instance is gone.
    ``oldest_ms``: as of Moment.
    """
    births = {(key.instance, key.name): family.birth_ms for key, family in table.families.items() if key.custom}
    names = tuple(table.instances)
    gone = frozenset[str]() if known is None else frozenset(names).difference(known)
    return Moment(requests.capture(table, shown_before), names, births, gone, oldest_ms)


def _nginx_counters(beats: Sequence[LiveHeartbeat], fetched: Container[str]) -> list[MetricFamily]:
    """Return nginx's own counters as the workers read them, except for an nginx whose stub_status is fetched.

    Nothing is returned where no recent heartbeat has the counters.
    """
    families: list[MetricFamily] = []
    for instance, own_beats in instances.by_instance(beats).items():
        status = None if instance in fetched else workers.stub_status(own_beats)
        if status is not None:
            families += instances.mark(stub_status.families(status, instances.labels_of(instance)), instance)
    return families


def _coverage(coverage: Mapping[str, float]) -> list[MetricFamily]:
    name = "resty_metrics_coverage_ratio"
    text = (
        "Of the requests that nginx finished in the last minutes, the part whose log hook ran; below 1 a location's "
        "own log_by_lua replaces the hook. Absent under 100 requests."
    )
    return [
        MetricFamily(name, "gauge", text, [sample(name, instances.labels_of(instance), ratio)], instance=instance)
        for instance, ratio in coverage.items()
    ]


def _custom(
    rendered: Sequence[MetricFamily], user_gauges: Sequence[Gauge], births: Mapping[tuple[str, str], int]
) -> list[MetricFamily]:
    """Return the user's families, in the order in which they keep their names.

    If a counter became a gauge, or the reverse, the worker born last decides between the two.
    """
    younger: list[MetricFamily] = []
    older: list[MetricFamily] = []
    for gauge in user_gauges:
        born = births.get((gauge.family.instance or "", gauge.family.name), gauge.birth_ms)
        (younger if gauge.birth_ms > born else older).append(gauge.family)
    return [*younger, *rendered, *older]


def in_steps(
    moment: Moment,
    rendered: Sequence[MetricFamily],
    beats: Sequence[LiveHeartbeat],
    scraped: Sequence[MetricFamily],
    stub_status_fetched: Container[str],
    coverage: Mapping[str, float],
    own: Sequence[MetricFamily],
    report: Callable[[conflicts.Withheld], None] = lambda _: None,
) -> Steps[list[MetricFamily]]:
    """Return all families of a page, in its order.

    ``rendered``: those of the ``moment``; ``scraped``: of the fetched sources; ``stub_status_fetched``: the instances
    whose stub_status is among them; ``coverage``: by instance; ``own``: of the collector itself; ``report``
    is called with what was withheld.
    """
    user_gauges = yield from gauges.in_steps(beats, moment.oldest_ms)
    of_workers = yield from workers.in_steps(beats)
    built_in = [
        *(family for family in rendered if not family.custom),
        *_nginx_counters(beats, stub_status_fetched),
        *scraped,
        *of_workers,
        *_coverage(coverage),
        *own,
    ]
    yield
    custom = _custom([family for family in rendered if family.custom], user_gauges, moment.births)
    page = yield from conflicts.in_steps(custom, built_in, moment.instances, moment.gone, report)
    return (yield from series.in_steps(page))

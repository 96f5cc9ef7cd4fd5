"""One page from everything: requests, nginx's own counters, sources, the workers, the pipeline, the user's own."""

from collections.abc import Container, Sequence

from collector.ingest.streams import LiveHeartbeat
from collector.page import conflicts, instances, requests, workers
from collector.page.coverage import Coverage
from collector.page.exposition import MetricFamily, sample
from collector.page.gauges import Gauge, gauges
from collector.sources import stub_status
from collector.table.table import Table


def _nginx_counters(beats: list[LiveHeartbeat], fetched: Container[str]) -> list[MetricFamily]:
    """What the workers read of each nginx, unless it is fetched; absent where no worker says it."""
    found: list[MetricFamily] = []
    for instance, some in instances.by_instance(beats).items():
        status = None if instance in fetched else workers.stub_status(some)
        if status is not None:
            found += instances.mark(stub_status.families(status, instances.labels_of(instance)), instance)
    return found


def _coverage(coverage: Coverage) -> list[MetricFamily]:
    name = "resty_metrics_coverage_ratio"
    text = (
        "Of the requests that nginx finished in the last minutes, the part whose log hook ran; below 1 a location's "
        "own log_by_lua replaces the hook. Absent under 100 requests."
    )
    return [
        MetricFamily(name, "gauge", text, [sample(name, instances.labels_of(instance), ratio)], instance=instance)
        for instance, ratio in coverage.ratios().items()
    ]


def _custom(rendered: Sequence[MetricFamily], said: Sequence[Gauge], table: Table) -> list[MetricFamily]:
    """The user's families, in the order in which they keep their names.

    A counter that became a gauge, or the other way about, is what the worker born last says that it is.
    """
    births = {(key.instance, key.name): family.birth_ms for key, family in table.families.items() if key.custom}

    def is_younger(one: Gauge) -> bool:
        return one.birth_ms > births.get((one.family.instance or "", one.family.name), one.birth_ms)

    became = [one.family for one in said if is_younger(one)]
    return [*became, *rendered, *(one.family for one in said if one.family not in became)]


def families(
    table: Table,
    shown_before: int | None,
    beats: list[LiveHeartbeat],
    scraped: Sequence[MetricFamily],
    stub_status_fetched: Container[str],
    coverage: Coverage,
    own: Sequence[MetricFamily],
) -> list[MetricFamily]:
    """All families of a page, in its order. ``scraped``: of the fetched sources; ``stub_status_fetched``: the instances
    whose stub_status is among them; ``own``: of the collector itself.
    """
    rendered = requests.render(table, shown_before)
    built_in = [
        *(family for family in rendered if not family.custom),
        *_nginx_counters(beats, stub_status_fetched),
        *scraped,
        *workers.families(beats),
        *_coverage(coverage),
        *own,
    ]
    custom = [family for family in rendered if family.custom]
    return conflicts.resolve(_custom(custom, gauges(beats), table), built_in, table.instances)

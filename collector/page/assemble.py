"""One page from everything: requests, nginx's own counters, sources, the workers, the pipeline, the user's own."""

from collections.abc import Mapping, Sequence

from collector.ingest.streams import LiveHeartbeat
from collector.page import conflicts, workers
from collector.page.exposition import MetricFamily, sample
from collector.page.gauges import Gauge, gauges
from collector.sources import stub_status
from collector.table.table import Table


def _nginx_counters(beats: list[LiveHeartbeat], fetched: bool) -> list[MetricFamily]:
    """What the workers read of nginx, unless it is fetched; absent where no worker says it."""
    status = None if fetched else workers.stub_status(beats)
    return [] if status is None else stub_status.families(status, {})


def _coverage(ratio: float | None) -> list[MetricFamily]:
    if ratio is None:
        return []
    name = "resty_metrics_coverage_ratio"
    text = (
        "Of the requests that nginx finished in the last minutes, the part whose log hook ran; below 1 a location's "
        "own log_by_lua replaces the hook. Absent under 100 requests."
    )
    return [MetricFamily(name, "gauge", text, [sample(name, {}, ratio)])]


def births(table: Table) -> dict[str, int]:
    """When the youngest worker that says it was born, of each counter and histogram of the user's."""
    return {key.name: family.birth_ms for key, family in table.families.items() if key.custom}


def _custom(rendered: Sequence[MetricFamily], said: Sequence[Gauge], born: Mapping[str, int]) -> list[MetricFamily]:
    """The user's families, in the order in which they keep their names.

    A counter that became a gauge, or the other way about, is what the worker born last says that it is.
    """
    became = [one.family for one in said if one.birth_ms > born.get(one.family.name, one.birth_ms)]
    return [*became, *rendered, *(one.family for one in said if one.family not in became)]


def families(
    rendered: Sequence[MetricFamily],
    born: Mapping[str, int],
    beats: list[LiveHeartbeat],
    scraped: Sequence[MetricFamily],
    stub_status_fetched: bool,
    coverage: float | None,
    own: Sequence[MetricFamily],
) -> list[MetricFamily]:
    """All families of a page, in its order.

    ``rendered``: those of the table, ``born`` its ``births``; ``scraped``: of the fetched sources; ``own``: of the
    collector itself; ``coverage``: None where it is not known.
    """
    built_in = [
        *(family for family in rendered if not family.custom),
        *_nginx_counters(beats, stub_status_fetched),
        *scraped,
        *workers.families(beats),
        *_coverage(coverage),
        *own,
    ]
    custom = [family for family in rendered if family.custom]
    return conflicts.resolve(_custom(custom, gauges(beats), born), built_in)

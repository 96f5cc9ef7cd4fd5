"""Counts of the table so far, by server: the sums that the history is made of.

Each sample adds up all rows of requests again. That takes a few milliseconds at 10,000 rows, needs no memory of single
rows, and is right whatever happened to them: merged, moved to another shape, evicted into ``other``.

Rule: an upgraded connection (101) counts as a request, but not in latencies.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add

from resty_metrics.shapes.labels import ABSENT
from resty_metrics.shapes.quantile import Bounds
from resty_metrics.shapes.sums import Sums, reader, total
from resty_metrics.table.families import Family
from resty_metrics.table.table import Table

_UPGRADED = "101"
_ERROR = "5"


@dataclass(slots=True)
class Totals:
    """The totals of one server since counting began.

    ``errors``: answers with 5xx. ``buckets``: by bounds, not cumulative.
    """

    requests: float = 0
    errors: float = 0
    buckets: dict[Bounds, Sequence[float]] = field(default_factory=dict)

    def add(self, bounds: Bounds, counts: Sequence[float], status: str) -> None:
        """Add requests in buckets. ``status``: 101, or the first digit of their status."""
        count = sum(counts)
        self.requests += count
        self.errors += count if status == _ERROR else 0
        if status != _UPGRADED:
            before = self.buckets.get(bounds)
            self.buckets[bounds] = counts if before is None else [*map(add, before, counts)]


def request_families(table: Table) -> Iterator[Family]:
    """Return the families that count requests: one for each scope of each nginx."""
    return (family for family in tuple(table.families.values()) if family.shape.type == "requests")


def add_family(family: Family, totals: dict[str, Totals]) -> None:
    """Add the rows of a family of requests to the totals of their servers."""
    shape = family.shape
    bounds = tuple([bound / shape.scale for bound in shape.bounds or ()])
    for (server, status), rows in _groups(family).items():
        counts = [*reader(shape.width)(total(rows, shape.width))[: shape.buckets]]
        totals.setdefault(server_name(shape.instance, server), Totals()).add(bounds, counts, status)


def _groups(family: Family) -> Mapping[tuple[str, str], list[Sums]]:
    """Group the rows that are added up together."""
    names = family.shape.labels
    groups: defaultdict[tuple[str, str], list[Sums]] = defaultdict(list)
    if "server" not in names or "status" not in names:
        groups[ABSENT, ABSENT] = [row.sums for row in family.rows]
        return groups if family.rows else {}
    server, status = names.index("server"), names.index("status")
    for row in family.rows:
        value = row.labels[status]
        groups[row.labels[server], value if value == _UPGRADED else value[:1]].append(row.sums)
    return groups


def server_name(instance: str, server: str) -> str:
    """Return the name of a server on the page. It includes the name of its nginx, if that has one."""
    return f"{server} ({instance})" if instance else server


def totals_of(families: Iterable[Family]) -> dict[str, Totals]:
    """Return the totals of all families at once."""
    totals: dict[str, Totals] = {}
    for family in families:
        add_family(family, totals)
    return totals
